"""``sbka sketches`` and the options of ``sbka train`` that go with it, as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

Sbka = Callable[..., Any]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for category in ("cat", "wine bottle"):
        folder = tmp_path / "photos" / category
        folder.mkdir(parents=True)
        for number in range(2):
            image = Image.new("RGB", (90, 90), "white")
            ImageDraw.Draw(image).ellipse((20, 20 + number, 70, 70), fill="navy")
            image.save(folder / f"{number}.jpg")
    return tmp_path / "photos"


def test_sketches_are_made_from_photos(sbka: Sbka, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "sketches"
    made = sbka("sketches", "make", photos, "-o", out, "--size", 64)
    assert made.code == 0
    assert "4 sketches made, 0 were there, 0 photos left out." in made.out
    assert f"sbka train --photos {photos} --sketches {out}" in made.out
    assert "Drawing photos: 4/4 photos" in made.err
    with Image.open(out / "wine bottle" / "1.jpg.png") as image:
        assert image.size == (64, 64)
    (photos / "cat" / "bad.jpg").write_bytes(b"no photo")
    again = sbka("sketches", "make", photos, "-o", out, "--size", 64, "--strict", "--json")
    assert again.code == 3
    report = again.json()
    assert (report["made"], report["kept"]) == (0, 4)
    assert report["left_out"] == [
        {"what": str(photos / "cat" / "bad.jpg"), "reason": f"{photos}/cat/bad.jpg is not an image of a known kind."}
    ]
    other = sbka("sketches", "make", photos, "-o", out, "--size", 128)
    assert other.code == 1
    assert "made with other options" in other.err


def test_what_cannot_be_made_is_one_line(sbka: Sbka, photos: Path, tmp_path: Path) -> None:
    for arguments, reason in (
        (("sketches", "make", tmp_path / "none", "-o", tmp_path / "s"), "does not exist"),
        (("sketches", "make", photos / "cat", "-o", tmp_path / "s"), "has no category folders"),
        (("sketches", "render", tmp_path / "none.ndjson", "-o", tmp_path / "s"), "does not exist"),
        (("train", "--photos", photos, "-o", tmp_path / "m"), "no sketches to train on. Give --sketches, or --pseudo"),
        (("train", "--photos", photos, "-o", tmp_path / "m", "--background"), "no sketches to train on"),
    ):
        ran = sbka(*arguments)
        assert ran.code == 1
        assert reason in ran.err
        assert ran.err.startswith("Error:")
        assert "Traceback" not in ran.err


def test_drawings_are_rendered(sbka: Sbka, tmp_path: Path) -> None:
    lines = [
        json.dumps({"word": "cat", "key_id": str(key), "recognized": key != 2, "drawing": [[[0, 9], [0, key]]]})
        for key in (1, 2, 3)
    ]
    path = tmp_path / "cat.ndjson"
    path.write_text("\n".join([lines[0], "broken", *lines[1:]]))
    out = tmp_path / "out"
    ran = sbka("sketches", "render", path, "-o", out, "--recognised-only", "--size", 64)
    assert ran.code == 0
    assert "2 sketches made, 0 were there, 1 lines left out, 1 drawings not recognised." in ran.out
    assert f"left out {path}, line 2 is not valid JSON." in ran.err
    assert sorted(item.name for item in (out / "cat").iterdir()) == ["1.png", "3.png"]
    strict = sbka("sketches", "render", tmp_path, "-o", out, "--limit", 3, "--size", 64, "--strict", "--json")
    assert strict.code == 3
    report = strict.json()
    assert (report["made"], report["kept"], report["passed_over"], len(report["left_out"])) == (1, 2, 0, 1)
