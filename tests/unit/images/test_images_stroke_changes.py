"""Strokes dropped, bent and swayed: how much, which, and that one seed gives one drawing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.images import render_strokes
from sbka_milvus.images.stroke_changes import bend, drop_strokes, sway, vary

Strokes = list[NDArray[np.float64]]
EMPTY = np.zeros((0, 2))


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lines(*lengths: float) -> Strokes:
    return [np.array([[0.0, row], [length, row]]) for row, length in enumerate(lengths)]


def test_the_share_says_how_many_strokes_go_and_one_always_stays() -> None:
    drawing = lines(*[5.0] * 10)
    assert [len(drop_strokes(drawing, share, chance())) for share in (0, 0.04, 0.3, 0.96, 1)] == [10, 10, 7, 1, 1]
    assert drop_strokes([], 0.5, chance()) == []
    assert len(drop_strokes(drawing[:1], 1.0, chance())) == 1
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidValue, match="share must be from 0 to 1"):
            drop_strokes(drawing, share, chance())


def test_what_stays_is_unchanged_and_in_order() -> None:
    drawing = lines(1, 9, 3, 4, 2)
    kept = [
        next(n for n, one in enumerate(drawing) if one is stroke) for stroke in drop_strokes(drawing, 0.4, chance())
    ]
    assert len(kept) == 3
    assert kept == sorted(kept)


def gone_of(drawing: Strokes, times: int = 2000) -> Counter[int]:
    found: Counter[int] = Counter()
    random = chance(1)
    for _ in range(times):
        kept = {id(stroke) for stroke in drop_strokes(drawing, 1 / len(drawing), random)}
        found.update(number for number, stroke in enumerate(drawing) if id(stroke) not in kept)
    return found


def test_short_strokes_go_first() -> None:
    gone = gone_of(lines(10, 5, 10, 10, 10))
    assert gone[1] > 2 * max(gone[0], gone[2])


def test_late_strokes_go_first() -> None:
    gone = gone_of(lines(*[10] * 4))
    assert gone[0] < gone[1] < gone[2] < gone[3]
    # Of equal strokes, the odds of the last against the first are exp(2).
    assert gone[3] / gone[0] == pytest.approx(np.exp(2), rel=0.25)


def test_the_odds_of_a_stroke_of_no_length_are_exp_four() -> None:
    # The short one comes first, so exp(4) for its length stands against exp(2) for the other's place.
    gone = gone_of([np.array([[5.0, 9.0]]), *lines(10)])
    assert gone[0] / gone[1] == pytest.approx(np.exp(4 - 2), rel=0.25)


def test_bending_keeps_strokes_together_that_touch() -> None:
    drawing = [np.array([[0.0, 0.0], [50.0, 40.0]]), np.array([[50.0, 40.0], [100.0, 0.0]]), EMPTY]
    bent = bend(drawing, 0.05, chance())
    assert np.array_equal(bent[0][1], bent[1][0])
    assert not np.allclose(bent[0], drawing[0])
    assert bent[2].shape == (0, 2)


def test_bending_is_smooth_and_as_strong_as_asked() -> None:
    path = [np.stack([np.linspace(0, 200, 401), np.full(401, 70.0)], axis=1), np.array([[0.0, 0.0], [200.0, 200.0]])]
    shifts = np.stack([bend(path, 0.02, chance(seed))[0] - path[0] for seed in range(200)])
    assert shifts.std(axis=(0, 2)) == pytest.approx(np.full(401, 0.02 * 200), rel=0.2), "alike all along the path"
    assert np.abs(np.diff(shifts, axis=1)).max() < 0.5, "neighbours move together"


def test_swaying_moves_each_stroke_as_a_whole() -> None:
    drawing = [np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 30.0]]), np.array([[60.0, 60.0], [100.0, 100.0]]), EMPTY]
    first, second, nothing = sway(drawing, 0.02, chance())
    assert nothing.shape == (0, 2)
    sides, before = (np.linalg.norm(np.diff(one, axis=0), axis=1) for one in (first, drawing[0]))
    assert sides[0] / before[0] == pytest.approx(sides[1] / before[1]), "one scale"
    one, two = np.diff(first, axis=0)
    assert one @ two == pytest.approx(0, abs=1e-9), "a right angle stays one"
    middle = [(s.min(axis=0) + s.max(axis=0)) / 2 for s in (second, drawing[1])]
    assert 0 < np.abs(middle[0] - middle[1]).max() < 10


@pytest.mark.parametrize("change", [bend, sway])
def test_no_amount_changes_nothing_and_empty_drawings_stay_empty(change: object) -> None:
    drawing = lines(3, 8)
    for before, after in zip(drawing, change(drawing, 0.0, chance()), strict=True):  # type: ignore[operator]
        assert np.allclose(before, after)
    assert change([], 0.1, chance()) == []  # type: ignore[operator]
    (alone,) = change([EMPTY], 0.1, chance())  # type: ignore[operator]
    assert alone.shape == (0, 2)
    (dot,) = change([np.array([[4.0, 4.0]])], 0.1, chance())  # type: ignore[operator]
    assert np.abs(dot - 4).max() < 1e-6, "a drawing of no size has nothing to move within"


def test_one_seed_gives_one_drawing_that_can_be_rendered() -> None:
    drawing = [np.cumsum(chance(9).normal(size=(12, 2)), axis=0) for _ in range(7)]
    first, again, other = (np.asarray(render_strokes(vary(drawing, chance(seed)), 64)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert all(5 <= len(vary(drawing, chance(seed))) <= 7 for seed in range(20))
