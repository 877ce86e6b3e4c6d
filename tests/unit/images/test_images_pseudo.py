"""Pseudo-sketches: line drawings in the form of sketches, the same for the same seed, and of what the photo shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sbka_milvus.errors import EmptySketch, ImageError, InvalidValue
from sbka_milvus.images import load_photo, load_sketch, photo_strokes, pseudo_sketch
from sbka_milvus.images.pseudo import WORKING_SIDE


def photo(size: tuple[int, int] = (300, 200), scale: float = 1.0) -> Image.Image:
    """A house on a lawn."""
    image = Image.new("RGB", size, (150, 190, 230))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 150, 300, 200), (90, 140, 70))
    pen.rectangle((90, 80, 210, 160), (200, 60, 50))
    pen.polygon([(80, 80), (150, 30), (220, 80)], (70, 50, 50))
    pen.rectangle((130, 110, 160, 160), (60, 40, 30))
    return image if scale == 1 else image.resize((round(size[0] * scale), round(size[1] * scale)))


def test_strokes_lie_in_the_photo_and_the_longest_come_first() -> None:
    strokes = photo_strokes(photo())
    assert 3 <= len(strokes) <= 25
    points = np.concatenate(strokes)
    assert points.dtype == np.float64
    assert points.min() >= 0
    assert points[:, 0].max() < WORKING_SIDE
    assert points[:, 1].max() < WORKING_SIDE * 2 / 3
    assert all(len(stroke) >= 0.05 * WORKING_SIDE for stroke in strokes), "no specks"
    assert sum(len(stroke) for stroke in strokes) <= 8 * WORKING_SIDE
    assert len(strokes[0]) > np.median([len(stroke) for stroke in strokes])


def test_the_house_is_drawn_where_it_stands() -> None:
    points = np.concatenate(photo_strokes(photo())) * 300 / WORKING_SIDE
    corner = np.abs(points - (150, 30)).max(axis=1).min()
    door = np.abs(points - (130, 130)).max(axis=1).min()
    sky = ((points[:, 1] < 25) | ((points[:, 0] < 60) & (points[:, 1] < 140))).mean()
    assert corner < 6
    assert door < 4
    assert sky < 0.02


def test_large_and_small_photos_give_alike_drawings() -> None:
    small, large = (np.concatenate(photo_strokes(photo(scale=scale))).mean(axis=0) for scale in (0.8, 3.0))
    assert np.abs(small - large).max() < 8


def test_a_pseudo_sketch_has_the_form_of_a_sketch() -> None:
    sketch = pseudo_sketch(photo(), size=96)
    assert (sketch.mode, sketch.size) == ("RGB", (96, 96))
    ink = 255 - np.asarray(sketch.convert("L"))
    assert 0.02 < (ink > 128).mean() < 0.2
    rows, columns = np.nonzero(ink > 40)
    assert columns.min() == pytest.approx(0.08 * 96, abs=2.5)
    assert columns.max() == pytest.approx(0.92 * 96, abs=2.5)
    assert rows.min() >= 0.08 * 96 - 2.5
    again = np.asarray(load_sketch(sketch, size=96)).astype(np.int64)
    assert np.abs(again - np.asarray(sketch)).mean() < 12, "normalising it changes next to nothing"


def test_seed_and_wobble_decide_the_hand() -> None:
    def drawn(seed: int = 0, wobble: float = 1.0) -> np.ndarray:
        return np.asarray(pseudo_sketch(photo(), size=64, seed=seed, wobble=wobble))

    assert np.array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))
    assert np.array_equal(drawn(1, 0.0), drawn(2, 0.0))
    straight = drawn(wobble=0.0).astype(float)
    assert np.abs(drawn(wobble=4.0) - straight).mean() > np.abs(drawn(wobble=0.5) - straight).mean()


def test_what_cannot_be_drawn_is_said() -> None:
    for bad, error, reason in (
        (Image.new("RGB", (200, 100), "grey"), EmptySketch, "shows no lines"),
        (Image.new("RGB", (8, 8)), ImageError, "8 x 8 pixels is too small"),
        (Image.new("RGB", (4000, 20)), ImageError, "4000 x 20 pixels is too small"),
    ):
        with pytest.raises(error, match=reason) as caught:
            pseudo_sketch(bad)
        assert caught.value.remedy
    with pytest.raises(InvalidValue, match="wobble"):
        pseudo_sketch(photo(), wobble=-1)
    with pytest.raises(InvalidValue, match="size"):
        pseudo_sketch(photo(), size=8)


@pytest.mark.real_data
def test_real_photos_become_drawings_with_as_much_ink_as_sketches(real_data: Path) -> None:
    def ink(sketch: Image.Image) -> float:
        return float((np.asarray(sketch.convert("L")) < 128).mean())

    made, drawn = [], []
    for category in ("airplane", "cat", "pineapple", "teapot", "zebra"):
        folders = [real_data / "sketchy-mini" / kind / category for kind in ("photos", "sketches")]
        photos, sketches = (sorted(folder.iterdir())[:5] for folder in folders)
        made += [ink(pseudo_sketch(load_photo(path), size=128)) for path in photos]
        drawn += [ink(load_sketch(path, size=128)) for path in sketches]
    assert 0.5 < np.median(made) / np.median(drawn) < 2
    assert min(made) > 0.01
    assert max(made) < 0.2
