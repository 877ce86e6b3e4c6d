from dataclasses import replace
from pathlib import Path

import pytest

from sbka_milvus.evaluation import (
    CategoryScores,
    EvaluationReport,
    MethodScores,
    SeenPhotos,
    comparable,
    published_table,
)
from sbka_milvus.evaluation.published import BENCHMARKS, PUBLISHED, benchmark_of
from sbka_milvus.images import Split

SMALL = EvaluationReport(
    data_set="sketchy-mini",
    split_name="sketchy_ext_25",
    split_digest="db978ad0031a",
    protocol="sake",
    n_queries=625,
    n_gallery=625,
    n_categories=25,
    n_clusters=31,
    cluster_weight=0.8,
    fingerprint="f00d",
    rows=(
        MethodScores("chance", {"mAP@all": 0.05, "P@100": 0.04}),
        MethodScores("mine", {"mAP@all": 0.5, "P@100": 0.1234}),
    ),
    categories=(CategoryScores("bat", 25, 25, {"mine": {"mAP@all": 0.5}}),),
)
FULL = replace(SMALL, n_queries=15_229, n_gallery=17_101)


def test_figures_from_a_subset_are_not_comparable_and_say_why():
    said = comparable(SMALL)
    assert said.startswith("Not comparable with published figures")
    for number in ("625 photos", "625 sketches", "17,101", "15,229"):
        assert number in said


def test_another_split_a_generalised_gallery_and_the_whole_are_told_apart():
    assert "none of the field's four" in comparable(replace(FULL, split_digest="0" * 12))
    assert "seen photos are in the gallery" in comparable(replace(FULL, seen=SeenPhotos(0.2, 0, 9, 3)))
    whole = comparable(FULL)
    assert not whole.startswith("Not comparable")
    assert "mix protocols" in whole
    assert "'sake'" in whole
    assert comparable(replace(FULL, n_gallery=17_100)).startswith("Not comparable")


def test_a_run_stands_in_the_column_of_its_benchmark():
    header, rows = published_table(SMALL)
    assert header[1] == "Sketchy-25\nmAP@all / P@100"
    assert header[2] == "Sketchy-21\nmAP@200 / P@200"
    assert rows[0] == ("SAKE", "54.7 / 69.2", "49.7 / 59.8", "47.5 / 59.9", "–")
    assert rows[-1] == ("this run, mine", "50.0 / 12.3", "–", "–", "–")
    assert all(len(row) == len(header) for row in rows)


def test_figures_that_were_not_measured_are_left_open():
    digest = BENCHMARKS[1].split_digest
    assert published_table(replace(SMALL, split_digest=digest))[1][-1] == ("this run, mine", "–", "– / –", "–", "–")


def test_a_run_on_another_split_stands_in_no_column():
    _, rows = published_table(replace(SMALL, split_digest="0" * 12))
    assert [row[0] for row in rows] == list(PUBLISHED)


def test_no_figure_of_sbka_is_quoted():
    assert "SBKA" not in PUBLISHED
    assert len(PUBLISHED) == 7


@pytest.mark.real_data
def test_benchmarks_are_known_by_their_classes(real_data: Path):
    files = ("sketchy_ext_25", "sketchy_ext_21", "tuberlin_ext_30", "quickdraw_ext_30")
    for name, known in zip(files, BENCHMARKS, strict=True):
        split = Split.load(real_data / "splits" / f"{name}.json")
        assert benchmark_of(replace(SMALL, split_digest=split.digest)) is known
