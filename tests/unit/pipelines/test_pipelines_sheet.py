"""Rows of a contact sheet: photos with their scores and marks, and grey where a photo is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.pipelines.sheet import THUMBNAIL, sheet_row, thumbnail
from sbka_milvus.types import Hit


def hit(rank: int, path: Path, score: float = 0.5) -> Hit:
    return Hit(rank, score, str(path), rank, 0, 0.5, 0.5, 0.8)


@pytest.fixture
def sketch() -> Image.Image:
    return Image.new("RGB", (64, 64), "white")


def test_hits_stand_in_order_with_their_scores(draw, tmp_path, sketch):
    paths = [draw(tmp_path / "ant" / f"{number}.png", number) for number in range(3)]
    row = sheet_row(sketch, "my sketch", [hit(n, path, 1 - n / 8) for n, path in enumerate(paths, start=1)])

    assert row.sketch is sketch
    assert row.label == "my sketch"
    assert [one.caption for one in row.hits] == ["0.875", "0.750", "0.625"]
    for one, path in zip(row.hits, paths, strict=True):
        assert one.correct is None
        np.testing.assert_array_equal(one.image, Image.open(path))
    assert row.verdict() == ""


def test_hits_are_marked_by_the_name_of_their_folder(draw, tmp_path, sketch):
    paths = [draw(tmp_path / folder / "1.png", 1) for folder in ("ant", "bee", "Ant", "ant_hill")]
    row = sheet_row(sketch, "ant", [hit(1, path) for path in paths], "ant")
    assert [one.correct for one in row.hits] == [True, False, True, False]
    assert row.verdict() == "2 of 4 right"


def test_a_folder_may_be_spelt_otherwise(draw, tmp_path, sketch):
    path = draw(tmp_path / "hot-air_balloon" / "1.png", 1)
    assert sheet_row(sketch, "x", [hit(1, path)], "hot air balloon").hits[0].correct


def test_no_hits_make_an_empty_row(sketch):
    assert sheet_row(sketch, "ant", [], "ant").hits == ()


@pytest.mark.parametrize("broken", [False, True])
def test_a_photo_that_is_gone_or_broken_becomes_grey(tmp_path, sketch, broken):
    path = tmp_path / "ant" / "gone.png"
    if broken:
        path.parent.mkdir()
        path.write_text("no picture")
    one = sheet_row(sketch, "ant", [hit(1, path)], "ant").hits[0]
    assert one.correct is True
    assert one.image.size == (THUMBNAIL, THUMBNAIL)
    assert one.image.getcolors() == [(THUMBNAIL * THUMBNAIL, (225, 225, 225))]


@pytest.mark.parametrize(
    ("size", "expected"), [((1600, 800), (256, 128)), ((300, 900), (85, 256)), ((48, 32), (48, 32))]
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_thumbnails_fit_and_are_never_enlarged(draw, tmp_path, size, expected, suffix):
    assert thumbnail(str(draw(tmp_path / f"a.{suffix}", 1, size))).size == expected
