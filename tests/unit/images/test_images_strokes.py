"""Strokes become an image: dark on white, filling the square, whatever their unit."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import EmptySketch, ImageError, InvalidValue
from sbka_milvus.images import load_sketch, render_strokes, strokes_from_quickdraw

CROSS = [[(0, 0), (10, 10)], [(0, 10), (10, 0)]]


def ink_box(image: object) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(np.asarray(image)[:, :, 0] < 128)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_strokes_fill_the_square_inside_the_margin() -> None:
    image = render_strokes(CROSS, size=100, line_width=4, margin=0.1)
    assert (image.mode, image.size) == ("RGB", (100, 100))
    assert np.abs(np.subtract(ink_box(image), (10, 10, 89, 89))).max() <= 1
    assert image.getpixel((50, 50)) == (0, 0, 0)
    assert image.getpixel((50, 20)) == (255, 255, 255)


def test_lines_have_soft_edges_and_the_width_asked_for() -> None:
    levels = np.asarray(render_strokes([[(0, 0), (100, 31)]], size=200, line_width=6))[:, 100, 0]
    assert ((levels > 20) & (levels < 235)).any()
    vertical_extent = 6 / np.cos(np.arctan(0.31))
    assert (255 - levels.astype(float)).sum() / 255 == pytest.approx(vertical_extent, abs=0.5)


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0), (1e6, -1e7), (1, 12345)])
def test_units_and_places_do_not_matter(scale: float, shift: float) -> None:
    moved = [np.array(stroke) * scale + shift for stroke in CROSS]
    difference = np.abs(np.asarray(render_strokes(moved), int) - np.asarray(render_strokes(CROSS), int))
    assert difference.mean() < 0.5


def test_the_aspect_is_kept() -> None:
    left, top, right, bottom = ink_box(render_strokes([[(0, 0), (40, 0), (40, 10), (0, 10), (0, 0)]]))
    assert (right - left) / (bottom - top) == pytest.approx(4, rel=0.15)
    assert abs((top + bottom) / 2 - 111.5) <= 1


def test_a_dot_is_drawn() -> None:
    image = render_strokes([[(5, 5)]], size=64, line_width=8)
    assert ink_box(image) == (28, 28, 35, 35)


def test_quickdraw_rows_are_turned_into_points() -> None:
    strokes = strokes_from_quickdraw([[[0, 10], [0, 10]], [[0, 10], [10, 0], [0, 60]]])
    assert np.array_equal(np.asarray(render_strokes(strokes)), np.asarray(render_strokes(CROSS)))


def test_load_sketch_takes_strokes() -> None:
    expected = np.asarray(render_strokes(CROSS, 96, margin=0.2))
    assert np.array_equal(np.asarray(load_sketch(CROSS, size=96, margin=0.2)), expected)
    assert np.array_equal(np.asarray(load_sketch([np.array(s) for s in CROSS], size=96, margin=0.2)), expected)


@pytest.mark.parametrize("strokes", [[], [[]], [np.zeros((0, 2))], ()])
def test_no_points_are_an_empty_sketch(strokes: list[object]) -> None:
    for make in (render_strokes, load_sketch):
        with pytest.raises(EmptySketch, match="no points"):
            make(strokes)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("stroke", "reason"),
    [
        ([(0, 0), (np.nan, 1)], "Stroke 2 has a coordinate that is not a finite"),
        ([(0, 0), (np.inf, 1)], "not a finite"),
        ([(0, 0), (1e300, 1)], "not a finite"),
        ([(0, 0, 0), (1, 1, 1)], r"shape \(2, 3\)"),
        ([[0, 1, 2], [3, 4, 5]], r"strokes_from_quickdraw"),
        ([1, 2, 3], r"shape \(3,\)"),
        ([("a", "b")], "not made of numbers"),
        ([(1, 2), (3,)], "not made of numbers"),
        ([(1j, 2)], "not made of numbers"),
        ("text", "not made of numbers"),
        (None, "not made of numbers"),
        ([(10**400, 1)], "not made of numbers"),
    ],
)
def test_bad_strokes_are_named(stroke: object, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        render_strokes([CROSS[0], stroke])  # type: ignore[list-item]
    assert caught.value.remedy


def test_bad_quickdraw_rows_are_named() -> None:
    for rows in ([[0, 1]], [[0, 1], [0]], "ab", 7, [["a"], ["b"]], [[[0]], [[0]]]):
        with pytest.raises(ImageError, match="Stroke 1"):
            strokes_from_quickdraw([rows])  # type: ignore[list-item]


def test_bad_canvases_are_refused() -> None:
    for options in (
        {"size": 8},
        {"size": 5000},
        {"margin": 0.5},
        {"margin": -0.1},
        {"margin": np.nan},
        {"line_width": 0},
    ):
        with pytest.raises(InvalidValue, match=next(iter(options))):
            render_strokes(CROSS, **options)  # type: ignore[arg-type]
