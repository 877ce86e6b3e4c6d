"""The benchmark of the confidence: who has no answer, and what the figures are."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sbka_milvus.rankers import Evidence, Labelled
from sbka_milvus.rankers.served_simulation import ServedSearch

PATH = Path(__file__).parents[3] / "benchmarks" / "confidence.py"


@pytest.fixture(scope="module")
def benchmark_module() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("confidence_benchmark", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As when it runs as a program: its neighbours are found beside it.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PATH.parent)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def parts(world):
    return (
        Labelled(world.queries, [f"c{label}" for label in world.query_labels]),
        Labelled(world.gallery, [f"c{label}" for label in world.labels]),
        world.cohort,
    )


def test_one_by_one_each_sketch_is_searched_for_with_and_without_its_category(world, parts, benchmark_module):
    n, sizes = len(world.queries), []

    def n_clusters(n_photos):
        sizes.append(n_photos)
        return 8

    found = benchmark_module.one_by_one(ServedSearch("fused", n_clusters, world.training), *parts)
    assert found.features.shape == (2 * n, 7)
    assert found.present.tolist() == [True] * n + [False] * n
    assert not found.correct[n:].any()
    assert found.correct[:n].mean() > 0.4
    assert sizes == [len(world.gallery), *[len(world.gallery) * 7 // 8] * 8]


def test_halves_are_complementary(world, parts, benchmark_module):
    found = benchmark_module.halves(ServedSearch("fused", lambda n: 8, world.training), *parts)
    present = found.present.reshape(-1, len(world.queries))
    assert len(present) == 10
    assert (present[::2] != present[1::2]).all()


def test_the_figures_by_hand(benchmark_module):
    features = np.zeros((4, 7))
    features[:, 0] = [0.1, 0.9, 0.2, 0.3]
    present = np.array([True, True, False, False])
    evidence = Evidence(features, present, np.array([True, False, False, False]))
    judged = benchmark_module.judge(np.array([0.9, 0.6, 0.4, 0.1]), evidence, 0.5)
    assert judged["AUROC"] == {"confidence": 1.0, "top score": 0.5}
    assert judged["AURC"]["confidence"] == pytest.approx((0 + 1 / 2 + 2 / 3 + 3 / 4) / 4)
    assert judged["AURC"]["random"] == 0.75
    assert judged["calibration error"] == pytest.approx((0.1 + 0.4 + 0.4 + 0.1) / 4)
    at = judged["at the threshold"]
    assert at["answered where the category is there"] == at["no good match where it is not"] == 1.0
    assert at["right first hits answered"] == 1.0


def test_means_go_number_by_number_and_a_plot_is_drawn(benchmark_module, tmp_path):
    rng = np.random.default_rng(0)
    models = []
    for _ in range(2):
        features, present = rng.random((40, 7)), rng.random(40) < 0.5
        evidence = Evidence(features, present, present)
        models.append({"results": {"fused, halves": benchmark_module.judge(rng.random(40), evidence, 0.5)}})
    mean = benchmark_module.mean_of_all([model["results"] for model in models])
    row, both = mean["fused, halves"], [model["results"]["fused, halves"] for model in models]
    assert row["AUROC"]["confidence"] == pytest.approx(np.mean([one["AUROC"]["confidence"] for one in both]), abs=1e-4)
    assert len(row["curves"]["top score"]) == 100
    assert "reliability" not in row
    benchmark_module.draw({"models": models, "mean": mean}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
