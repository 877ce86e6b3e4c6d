"""Some hundred of the benchmark's mutations, on drawn pictures; the same number is always the same damage."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COUNT = 400


@pytest.fixture(scope="module")
def mutations() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "benchmarks" / "mutations.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def seeds(mutations: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    found, real = mutations.seed_files(tmp_path_factory.mktemp("nothing"), 2)
    assert real == 0
    return found


def test_every_mutation_is_decoded_or_refused_for_a_reason(mutations: ModuleType, seeds: list[Any]) -> None:
    result = mutations.run(seeds, COUNT, seed=1, processes=2)
    outcomes = result["outcomes"]
    assert outcomes["decoded"] + outcomes["refused"] == COUNT, result["not decoded or refused"]
    assert outcomes["decoded"] > COUNT / 10 and outcomes["refused"] > COUNT / 3
    assert set(result["by change"]) == {name for name, _ in mutations.CHANGES}
    assert set(result["by form"]) == {seed.form for seed in seeds}
    assert result["processes started"] == 2 and result["processes that ended by themselves"] == 0
    assert result["peak memory of a decoding process in MiB"] < 600


def test_a_mutation_is_the_same_for_its_number_and_differs_from_its_file(
    mutations: ModuleType, seeds: list[Any]
) -> None:
    made = [mutations.mutate(seeds, 3, number) for number in range(100)]
    assert made == [mutations.mutate(seeds, 3, number) for number in range(100)]
    assert made != [mutations.mutate(seeds, 4, number) for number in range(100)]
    whole = {seed.data for seed in seeds}
    assert sum(one.data in whole for one in made) < 10


def test_lengths_and_parts_of_every_form_are_known(seeds: list[Any]) -> None:
    for seed in seeds:
        assert len(seed.fields) >= 2, seed.form
        assert seed.parts, seed.form
        assert all(at + size <= len(seed.data) for at, size in seed.fields)


def test_a_broken_decoder_is_told_and_not_taken_for_a_refusal(
    mutations: ModuleType, seeds: list[Any], tmp_path: Path
) -> None:
    """The benchmark can fail: with a process that crashes over everything, that is what it says."""
    from sbka_milvus.images import Decoders

    program = (
        "import os, sys\nfrom sbka_milvus.images.messages import write_message\n"
        "write_message(sys.stdout.buffer, {'ready': True})\nsys.stdin.buffer.read(16)\nos.abort()\n"
    )
    path = tmp_path / "a.png"
    path.write_bytes(seeds[0].data)
    with Decoders(mutations.LIMITS, 1, (sys.executable, "-c", program)) as broken:
        outcome, why = mutations.outcome_of(broken, path)
    assert outcome == "crashed" and "SIGABRT" in why


def test_the_published_run_is_whole() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "mutations.json").read_text())
    outcomes = report["outcomes"]
    assert report["count"] == sum(outcomes.values()) >= 20_000
    assert outcomes["decoded"] + outcomes["refused"] + outcomes["timed out"] == report["count"]
    assert len(report["by change"]) == 9 and len(report["by form"]) == 18
