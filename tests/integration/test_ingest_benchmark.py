"""The benchmark of ingests runs, and tells of a second run that it embedded nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FILES = 30


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A few photos in the form of the real ones."""
    folder = tmp_path / "data" / "sketchy-mini" / "photos" / "cat"
    folder.mkdir(parents=True)
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((120, 100)).save(folder / f"{number}.jpg")
    return tmp_path / "data"


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / program), *map(str, arguments)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=env)


def test_a_second_run_embeds_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "ingest.json"
    found = run("ingest.py", "--data", data, "--parts", "again", "--files", FILES, "--rounds", 1, "--out", out)
    assert found.returncode == 0, found.stderr
    report = json.loads(out.read_text())
    again = report["again"]
    assert again["embedded in the second run"] == 0
    assert [one["embed"]["embedded"] for one in again["runs"]] == [FILES, 0]
    assert again["first over second"] == pytest.approx(again["first s"] / again["second s"])
    assert "ingest.py" in again["command"]


def test_pictures_that_are_not_there_are_named(tmp_path: Path) -> None:
    found = run("ingest.py", "--data", tmp_path, "--out", tmp_path / "out.json")
    assert found.returncode == 1
    assert f"There are no photos in {tmp_path}" in found.stderr


def test_the_plain_loop_makes_unit_vectors(data: Path, tmp_path: Path) -> None:
    import open_clip
    import torch

    name = "ViT-S-32-alt"
    torch.save(open_clip.create_model(name).state_dict(), tmp_path / "w.pt")
    photos, out = data / "sketchy-mini" / "photos", tmp_path / "v.npz"
    found = run(
        "ingest_peers.py", "loop", photos, "--model", name, "--weights", tmp_path / "w.pt", "--out", out, "--batch", 4
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["photos"] == 6
    with np.load(out) as kept:
        np.testing.assert_allclose(np.linalg.norm(kept["vectors"], axis=1), 1, atol=1e-4)
        assert [Path(str(name)).name for name in kept["names"]] == [f"{number}.jpg" for number in range(6)]
