"""Thin lines become strokes: every pixel once, straight on at crossings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sbka_milvus.images.traces import trace_lines


def mask(*rows: str) -> NDArray[np.bool_]:
    return np.array([[mark == "#" for mark in row] for row in rows])


def test_nothing_is_no_stroke() -> None:
    assert trace_lines(np.zeros((4, 5), dtype=np.bool_)) == []


def test_a_dot_is_a_stroke_of_one_point() -> None:
    assert [stroke.tolist() for stroke in trace_lines(mask("...", "..#"))] == [[[2.0, 1.0]]]


def test_points_are_x_and_y_from_one_end_to_the_other() -> None:
    (stroke,) = trace_lines(mask("#..", "#..", "##."))
    assert stroke.dtype == np.float64
    assert stroke.tolist() == [[0, 0], [0, 1], [0, 2], [1, 2]]


def test_strokes_go_straight_on_where_lines_cross() -> None:
    cross = np.zeros((21, 21), dtype=np.bool_)
    cross[10], cross[:, 10] = True, True
    strokes = trace_lines(cross)
    assert len(strokes[0]) == 21
    assert len(set(strokes[0][:, 0])) == 1 or len(set(strokes[0][:, 1])) == 1
    assert [len(stroke) for stroke in strokes[1:]] == [10, 10], "the crossing belongs to the first"


def test_a_ring_is_one_stroke() -> None:
    ring = np.zeros((12, 12), dtype=np.bool_)
    ring[2, 2:10], ring[9, 2:10], ring[2:10, 2], ring[2:10, 9] = True, True, True, True
    (stroke,) = trace_lines(ring)
    assert len(stroke) == ring.sum()
    assert np.abs(stroke[0] - stroke[-1]).max() <= 1


def test_a_stroke_ends_where_the_line_turns_back() -> None:
    spike = mask("#.......#", ".#.....#.", "..#...#..", "..#...#..", "...#.#...", "...#.#...", "...#.#...", "....#....")
    assert [len(stroke) for stroke in trace_lines(spike)] == [8, 7]


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_every_pixel_is_drawn_once_and_strokes_do_not_jump(drawn: NDArray[np.bool_]) -> None:
    strokes = trace_lines(drawn)
    points = [(int(y), int(x)) for stroke in strokes for x, y in stroke]
    assert sorted(points) == sorted(map(tuple, np.argwhere(drawn).tolist()))
    for stroke in strokes:
        assert len(stroke) == 1 or np.abs(np.diff(stroke, axis=0)).max() == 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_line_is_traced_alike(turns: int) -> None:
    line = np.zeros((15, 15), dtype=np.bool_)
    line[[3, 4, 5, 5, 6], [2, 3, 4, 5, 6]] = True
    assert [len(s) for s in trace_lines(np.rot90(line, turns))] == [len(s) for s in trace_lines(line)] == [5]
