"""What a confidence is worth: risk against coverage, and whether its probabilities come true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Answer only the queries one is surest of: how many of those answers are wrong?

    Attributes:
        coverage: shape (C,), float64, rising to 1: share of the queries that are answered.
        risk: shape (C,), float64: share of wrong answers among them.
        area: AURC, the mean over all coverages 1/n .. 1 of the risk; lower is better.
        random: the same of a confidence that knows nothing: the share of wrong answers in all.
        best: the same of one that knows all.
    """

    coverage: Float64Array
    risk: Float64Array
    area: float
    random: float
    best: float


def risk_coverage(confidence: Float64Array, correct: BoolArray) -> RiskCoverage:
    """The curve of risk against coverage (El-Yaniv and Wiener 2010; AURC: Geifman, Uziel and El-Yaniv 2019).

    Queries of equal confidence come in together, as no threshold parts them; within such a group the risk at each
    coverage is its expectation over random orders.

    Args:
        confidence: shape (n,), float, higher is surer.
        correct: shape (n,), bool, n at least 1.

    Raises:
        InvalidValue: The shapes do not fit, there is no query, or a confidence is not a number.

    >>> curve = risk_coverage(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))
    >>> curve.risk.round(3).tolist(), round(curve.area, 3)
    ([0.0, 0.5, 0.333], 0.278)
    """
    _require(confidence, correct)
    levels, group = np.unique(-confidence, return_inverse=True)
    sizes = np.bincount(group, minlength=len(levels))
    wrong = np.bincount(group, weights=~correct, minlength=len(levels))
    expected = np.repeat(wrong / sizes, sizes)
    counts = np.arange(1, len(correct) + 1)
    risks = np.cumsum(expected) / counts
    last = np.cumsum(sizes)
    n_right = int(correct.sum())
    return RiskCoverage(
        coverage=last / len(correct),
        risk=risks[last - 1],
        area=float(risks.mean()),
        random=float(1.0 - correct.mean()),
        best=float((np.maximum(counts - n_right, 0) / counts).mean()),
    )


@dataclass(frozen=True, slots=True)
class Reliability:
    """Do things happen as often as was said?

    Attributes:
        stated: shape (B,), float64: mean probability in each bin that is not empty.
        observed: shape (B,), float64: how often it came true there.
        counts: shape (B,), int64.
        error: expected calibration error: mean of |stated - observed| over the queries.
    """

    stated: Float64Array
    observed: Float64Array
    counts: NDArray[np.int64]
    error: float


def reliability(probability: Float64Array, true: BoolArray, n_bins: int = 10) -> Reliability:
    """Bins of equal width over [0, 1], and the expected calibration error (Naeini et al. 2015).

    Args:
        probability: shape (n,), float, in [0, 1].
        true: shape (n,), bool, n at least 1.
        n_bins: at least 1.

    Raises:
        InvalidValue: The shapes do not fit, there is no query, a probability is outside [0, 1], or there is no bin.

    >>> reliability(np.array([0.9, 0.9, 0.1]), np.array([True, False, False])).error
    0.3
    """
    _require(probability, true)
    if n_bins < 1 or probability.min() < 0.0 or probability.max() > 1.0:
        raise InvalidValue("Probabilities must lie in [0, 1], and there must be a bin.")
    bins = np.minimum((probability * n_bins).astype(np.int64), n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    used = counts > 0
    stated = np.bincount(bins, weights=probability, minlength=n_bins)[used] / counts[used]
    observed = np.bincount(bins, weights=true, minlength=n_bins)[used] / counts[used]
    error = float((counts[used] * np.abs(stated - observed)).sum() / len(true))
    return Reliability(stated, observed, counts[used].astype(np.int64), round(error, 12))


def area_under_roc(score: Float64Array, positive: BoolArray) -> float:
    """How likely a positive has a higher score than a negative, ties counted half (Mann-Whitney).

    Args:
        score: shape (n,), float.
        positive: shape (n,), bool, with both.

    Raises:
        InvalidValue: The shapes do not fit, or one of the two is missing.

    >>> area_under_roc(np.array([0.1, 0.5, 0.5]), np.array([False, False, True]))
    0.75
    """
    _require(score, positive)
    n_positive = int(positive.sum())
    if n_positive in (0, len(positive)):
        raise InvalidValue("Both positives and negatives are needed.", "Pass examples of both.")
    from scipy.stats import rankdata

    ranks = float(rankdata(score)[positive].sum())
    return (ranks - n_positive * (n_positive + 1) / 2.0) / (n_positive * (len(positive) - n_positive))


def _require(values: Float64Array, outcomes: BoolArray) -> None:
    if values.ndim != 1 or outcomes.shape != values.shape or outcomes.dtype != np.bool_ or len(values) == 0:
        raise InvalidValue(
            f"Values of shape {values.shape} do not fit {outcomes.dtype} outcomes of shape {outcomes.shape}.",
            "Pass one bool a value, and at least one.",
        )
    if np.isnan(values).any():
        raise InvalidValue("A confidence is not a number.")
