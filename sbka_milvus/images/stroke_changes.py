"""Random changes of a drawing's strokes: other drawings of the same thing, as other hands would draw them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue

Drawn = Sequence[NDArray[np.float64]]

_ORDER_WEIGHT, _LENGTH_WEIGHT = 2.0, 4.0
_CELLS = 4  # knots of the bending field along each side


def drop_strokes(strokes: Drawn, share: float, chance: np.random.Generator) -> list[NDArray[np.float64]]:
    """A drawing without some of its strokes: late and short ones, the details, go first.

    The probability that a stroke goes is proportional to exp(2 o) / exp(4 l), its place o in the order of drawing and
    its length l both scaled to [0, 1] (the form of Yu et al., "Sketch-a-Net: a Deep Neural Network that Beats Humans",
    2017). At least one stroke stays.

    Args:
        strokes: in the order of drawing, each of shape (n, 2).
        share: of the strokes to drop, rounded to a number of strokes.
        chance: source of chance.

    Raises:
        InvalidValue: ``share`` is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise InvalidValue(f"share must be from 0 to 1, not {share}.")
    count = min(round(share * len(strokes)), len(strokes) - 1)
    if count < 1:
        return list(strokes)
    lengths = np.array([_length(stroke) for stroke in strokes])
    order = np.linspace(0, 1, len(strokes))
    leaning = _ORDER_WEIGHT * order - _LENGTH_WEIGHT * lengths / max(lengths.max(), 1e-12)
    # The largest sums of a log-probability and Gumbel noise are a draw without replacement.
    gone = set(np.argsort(leaning + chance.gumbel(size=len(strokes)))[-count:].tolist())
    return [stroke for number, stroke in enumerate(strokes) if number not in gone]


def bend(strokes: Drawn, amount: float, chance: np.random.Generator) -> list[NDArray[np.float64]]:
    """Moves points by a smooth random field, so that strokes which touch still do.

    Args:
        strokes: each of shape (n, 2).
        amount: standard deviation of each point's shift along x and y, as a share of the drawing's longer side.
        chance: source of chance.
    """
    box = _box(strokes)
    if box is None:
        return list(strokes)
    low, side = box
    knots = chance.normal(scale=amount * side, size=(2, _CELLS, _CELLS))
    bent = []
    for stroke in strokes:
        place = np.clip((stroke - low) / side, 0, 1)
        across, down = _weights(place[:, 0]), _weights(place[:, 1])
        bent.append(stroke + np.einsum("kij,ni,nj->nk", knots, across, down))
    return bent


def sway(strokes: Drawn, amount: float, chance: np.random.Generator) -> list[NDArray[np.float64]]:
    """Turns, scales and shifts each stroke by itself, about its own middle.

    Args:
        strokes: each of shape (n, 2).
        amount: standard deviation of the shift as a share of the drawing's longer side, of the logarithm of the scale
            (twice it), and of the angle in radians (twice it).
        chance: source of chance.
    """
    box = _box(strokes)
    if box is None:
        return list(strokes)
    _, side = box
    moved = []
    for stroke in strokes:
        angle, grown = 2 * amount * chance.normal(size=2)
        shift = amount * side * chance.normal(size=2)
        if not len(stroke):
            moved.append(stroke)
            continue
        middle = (stroke.min(axis=0) + stroke.max(axis=0)) / 2
        turn = np.exp(grown) * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        moved.append((stroke - middle) @ turn + middle + shift)
    return moved


def vary(strokes: Drawn, chance: np.random.Generator, *, most_dropped: float = 0.3) -> list[NDArray[np.float64]]:
    """Another drawing of the same thing: some strokes dropped, the others swayed and bent.

    Args:
        strokes: in the order of drawing, each of shape (n, 2).
        chance: source of chance.
        most_dropped: the largest share of strokes that may go.
    """
    kept = drop_strokes(strokes, chance.uniform(0, most_dropped), chance)
    return bend(sway(kept, 0.01, chance), 0.015, chance)


def _length(stroke: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(stroke, axis=0), axis=1).sum()) if len(stroke) else 0.0


def _box(strokes: Drawn) -> tuple[NDArray[np.float64], float] | None:
    drawn = [stroke for stroke in strokes if len(stroke)]
    if not drawn:
        return None
    points = np.concatenate(drawn)
    low = points.min(axis=0)
    return low, max(float((points.max(axis=0) - low).max()), 1e-12)


def _weights(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """shape (n, knots): of each knot at each place in [0, 1]; bells, so that the field is smooth, of unit L2 norm, so
    that it is as strong between knots as at them.
    """
    knots = np.linspace(0, 1, _CELLS)
    bells = np.exp(-(((place[:, None] - knots) * (_CELLS - 1)) ** 2))
    return np.asarray(bells / np.linalg.norm(bells, axis=1, keepdims=True))
