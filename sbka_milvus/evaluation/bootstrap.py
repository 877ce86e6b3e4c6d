"""How far a figure would move with other queries: percentile bootstrap.

Queries are drawn anew, as many as there are, with replacement, and the figure is computed from those drawn; the
interval holds the middle 95 % of the figures. Sketches of one category resemble one another, so drawing whole
categories (``over="categories"``) gives the wider interval that speaks of other *categories*, too. Where a protocol
averages over categories, drawing queries leaves the categories as they are, which makes its intervals narrow.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Field and Welsh (2007) on clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.protocols import Protocol
from sbka_milvus.evaluation.ranks import Float64Array
from sbka_milvus.types import IntArray

Over = Literal["queries", "categories"]

_WEIGHTS_PER_BLOCK = 2_000_000  # 16 MB of float64


@dataclass(frozen=True, slots=True)
class Resampling:
    """How to draw anew.

    Attributes:
        resamples: how often, at least 10.
        level: share of the figures that the interval holds, in (0, 1).
        seed: of the drawing. The same seed draws the same queries for every figure, which makes differences paired.
        over: what is drawn: "queries", or whole "categories" of them.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0
    over: Over = "queries"

    def __post_init__(self) -> None:
        if self.resamples < 10:
            raise InvalidValue(f"{self.resamples} resamples give no interval.", "Take at least 10; 1000 are usual.")
        if not 0.0 < self.level < 1.0:
            raise InvalidValue(f"The level of the intervals is {self.level}.", "It must be between 0 and 1.")
        if self.over not in ("queries", "categories"):
            raise InvalidValue(f"Nothing is drawn over {self.over!r}.", "Draw over 'queries' or 'categories'.")


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The difference of two figures of the same queries.

    Attributes:
        value: first minus second.
        low: lower end of the interval.
        high: upper end of the interval.
        share_above: share of the resamples in which the first is above the second.
    """

    value: float
    low: float
    high: float
    share_above: float


def resampled_means(values: Float64Array, labels: IntArray, protocol: Protocol, resampling: Resampling) -> Float64Array:
    """The protocol's averages of queries drawn anew.

    It takes 8 M bytes a resample, and 16 MB for a block of weights; never a matrix of all resamples and queries.

    Args:
        values: shape (Q, M), float64: M figures of each query.
        labels: shape (Q,), integer, at least 0: the category of each query.
        protocol: says how to average.
        resampling: how to draw.

    Returns:
        shape (resamples, M), float64. Where no query of a category was drawn, the mean over categories is over the
        others.

    Raises:
        InvalidValue: There is no query, or values and labels differ in number.

    >>> plain = Protocol("plain", interpolated=False, average="query", precision_over="k")
    >>> drawn = resampled_means(np.ones((3, 1)), np.array([0, 0, 1]), plain, Resampling(10))
    >>> drawn.shape, bool((drawn == 1).all())
    ((10, 1), True)
    """
    if values.ndim != 2 or len(values) == 0 or labels.shape != (len(values),):
        raise InvalidValue(
            f"values must be of shape (Q, M) and labels of shape (Q,), not {values.shape} and {labels.shape}.",
            "Pass at least one query.",
        )
    categories = np.unique(labels, return_inverse=True)[1]
    n_categories = int(categories.max()) + 1
    units = np.arange(len(values)) if resampling.over == "queries" else categories
    n_units = int(units.max()) + 1
    members = [np.flatnonzero(categories == category) for category in range(n_categories)]
    means = np.empty((resampling.resamples, values.shape[1]))
    rng = np.random.default_rng(resampling.seed)
    block = max(1, _WEIGHTS_PER_BLOCK // len(values))
    for start in range(0, resampling.resamples, block):
        part = means[start : start + block]
        # One resample draws from the generator at a time, so that the block size changes nothing.
        drawn = np.stack([np.bincount(rng.integers(0, n_units, n_units), minlength=n_units) for _ in part])
        weights = drawn[:, units].astype(np.float64)
        if protocol.average == "query":
            part[:] = (weights @ values) / weights.sum(axis=1, keepdims=True)
        else:
            shares = drawn.astype(np.float64) if resampling.over == "categories" else None
            part[:] = _category_means(values, weights, members, shares)
    return means


def percentile_interval(means: Float64Array, level: float) -> tuple[Float64Array, Float64Array]:
    """Lower and upper ends, each of shape (M,), of the middle ``level`` of ``means`` of shape (resamples, M).

    >>> low, high = percentile_interval(np.linspace(0, 1, 101)[:, None], 0.9)
    >>> round(float(low[0]), 2), round(float(high[0]), 2)
    (0.05, 0.95)
    """
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)


def paired_difference(
    first: Float64Array, second: Float64Array, labels: IntArray, protocol: Protocol, resampling: Resampling
) -> PairedDifference:
    """The difference of two methods' figures, from the same queries drawn for both.

    Args:
        first: shape (Q,), float64: the first method's figure of each query.
        second: shape (Q,), float64: the second one's.
        labels: shape (Q,), integer: the category of each query.
        protocol: says how to average.
        resampling: how to draw.

    Raises:
        InvalidValue: There is no query, or the three differ in number.

    >>> plain = Protocol("plain", interpolated=False, average="query", precision_over="k")
    >>> better = np.array([0.9, 0.8, 0.7])
    >>> found = paired_difference(better, better - 0.25, np.array([0, 0, 1]), plain, Resampling(50))
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2), found.share_above
    (0.25, 0.25, 0.25, 1.0)
    """
    return paired_differences(first[:, None], second[:, None], labels, protocol, resampling)[0]


def paired_differences(
    first: Float64Array, second: Float64Array, labels: IntArray, protocol: Protocol, resampling: Resampling
) -> list[PairedDifference]:
    """:func:`paired_difference` of M figures at once; ``first`` and ``second`` are of shape (Q, M).

    Raises:
        InvalidValue: As :func:`paired_difference`.
    """
    if first.shape != second.shape:
        raise InvalidValue(f"The methods scored {len(first)} and {len(second)} queries.", "Score the same queries.")
    differences = first - second
    means = resampled_means(differences, labels, protocol, resampling)
    low, high = percentile_interval(means, resampling.level)
    return [
        PairedDifference(
            protocol.mean(differences[:, figure], labels),
            float(low[figure]),
            float(high[figure]),
            float((means[:, figure] > 0).mean()),
        )
        for figure in range(differences.shape[1])
    ]


def _category_means(
    values: Float64Array, weights: Float64Array, members: list[IntArray], shares: Float64Array | None
) -> Float64Array:
    """Means over categories, each of which counts as often as ``shares`` says, or once where it was drawn at all."""
    total = np.zeros((len(weights), values.shape[1]))
    counted = np.zeros((len(weights), 1))
    for category, rows in enumerate(members):
        drawn = weights[:, rows].sum(axis=1, keepdims=True)
        mean = np.divide(weights[:, rows] @ values[rows], drawn, out=np.zeros_like(total), where=drawn > 0)
        times = (drawn > 0).astype(np.float64) if shares is None else shares[:, category : category + 1]
        total += times * mean
        counted += times
    return np.asarray(total / counted, dtype=np.float64)
