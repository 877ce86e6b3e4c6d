"""The ladder judges kept trainings, and says what to do where there are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/ladder.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def keep(folder: Path, world, arm: str, seed: int, noise: float) -> None:
    """What a training leaves: vectors of trained and of unseen categories."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for part, first in (("seen", 0), ("unseen", 4)):
        asked, held = world.query_labels // 4 == first // 4, world.labels // 4 == first // 4
        queries = world.queries[asked] + noise * rng.standard_normal(world.queries[asked].shape).astype(np.float32)
        arrays |= {
            f"{part}_s": queries / np.linalg.norm(queries, axis=1, keepdims=True),
            f"{part}_sc": world.query_labels[asked].astype(str),
            f"{part}_sn": np.array([f"{label}_0-1.png" for label in world.query_labels[asked]]),
            f"{part}_p": world.gallery[held],
            f"{part}_pc": world.labels[held].astype(str),
            f"{part}_pn": np.array([f"{label}_{number}.jpg" for number, label in enumerate(world.labels[held])]),
        }
    folder.mkdir(parents=True)
    np.savez(folder / "vectors.npz", **arrays)
    (folder / "run.json").write_text(json.dumps({"split": "sketchy_ext_25", "arm": arm, "seed": seed}))


@pytest.fixture(scope="module")
def report(world, tmp_path_factory) -> tuple[dict, str, Path]:
    work = tmp_path_factory.mktemp("ladder")
    keep(work / "sketchy_ext_25-ce-0", world, "ce", 0, 0.5)
    for seed in (0, 1):
        keep(work / f"sketchy_ext_25-one_way-{seed}", world, "one_way", seed, 0.01)
    out = work / "results" / "ladder.json"
    found = run("--work", work, "--out", out)
    assert found.returncode == 0, found.stderr
    return json.loads(out.read_text()), found.stdout, out


def test_arms_are_compared_over_their_seeds(report):
    split = report[0]["splits"]["sketchy_ext_25"]
    plain = {arm: one["unseen"]["one-to-one"]["mAP@all"] for arm, one in split["arms"].items()}
    assert plain["one_way"]["seeds"] == 2
    assert plain["one_way"]["min"] <= plain["one_way"]["mean"] <= plain["one_way"]["max"]
    gain = split["between arms"]["one_way over ce"]["one-to-one"]
    alone = [run for run in report[0]["runs"] if run["seed"] == 0]
    of = {run["arm"]: run["parts"]["unseen"]["rows"]["one-to-one"]["mAP@all"] for run in alone}
    assert gain["seeds"] == 1
    assert gain["mean"] == pytest.approx(of["one_way"] - of["ce"])
    assert gain["mean"] > 0, "the other sketches were spoilt"
    low, high = gain["bootstrap over categories"]
    assert low <= gain["mean"] <= high


def test_the_choice_is_held_against_the_best_that_labels_would_have_found(report):
    for one in report[0]["splits"]["sketchy_ext_25"]["arms"].values():
        assert all(0 < figure["min"] <= figure["max"] <= 1 for figure in one["choice over oracle"].values())


def test_it_draws_and_shows(report):
    _, shown, out = report
    assert "one_way over ce (seeds [0])" in shown
    assert "| full system | " in shown
    for name in ("rows", "arms"):
        assert out.with_name(f"ladder-sketchy_ext_25-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_trainings_is_named(tmp_path):
    found = run("--work", tmp_path)
    assert found.returncode == 1
    assert str(tmp_path) in found.stderr
    assert "ladder_train.py" in found.stderr
