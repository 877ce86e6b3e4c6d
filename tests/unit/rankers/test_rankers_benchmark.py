"""The benchmark runs on a file of features, and looks at unseen categories only when told to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/rankers.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def features(world, tmp_path_factory) -> Path:
    arrays = {}
    for part, first in (("seen", 0), ("val", 4)):
        asked, held = world.query_labels // 4 == first // 4, world.labels // 4 == first // 4
        arrays |= {f"{part}_s": world.queries[asked], f"{part}_sc": world.query_labels[asked].astype(str)}
        arrays |= {f"{part}_p": world.gallery[held], f"{part}_pc": world.labels[held].astype(str)}
    path = tmp_path_factory.mktemp("features") / "features.npz"
    np.savez(path, **arrays)
    return path


def test_it_writes_what_it_shows(features, tmp_path):
    out = tmp_path / "results" / "rankers.json"
    found = run(features, "-o", out)
    assert found.returncode == 0, found.stderr
    report = json.loads(out.read_text())
    assert "unseen" not in report
    val = report["val"]
    worth = {row["name"]: row["mAP@all"] for row in val["rankers"]}
    assert len(worth) == len(val["rankers"]) > 30
    assert val["chance"] < worth["one-to-one"] <= 1.0
    assert val["matching"]["mAP@all"]["oracle K"] == max(val["matching"]["oracle"].values())
    assert all(name in found.stdout for name in worth)


def test_a_part_that_is_missing_and_a_file_that_is_none_are_named(features, tmp_path):
    missing = run(features, "-o", tmp_path / "out.json", "--final")
    assert (missing.returncode, "encode the part 'unseen' first" in missing.stderr) == (1, True)
    nothing = run(tmp_path / "none.npz", "-o", tmp_path / "out.json")
    assert (nothing.returncode, "cannot be read" in nothing.stderr) == (1, True)
    assert "Traceback" not in missing.stderr + nothing.stderr
