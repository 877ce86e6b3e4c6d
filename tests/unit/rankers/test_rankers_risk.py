"""Risk, coverage and calibration on cases computed by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import area_under_roc, reliability, risk_coverage


def test_a_curve_by_hand():
    """Right, wrong, right, wrong in order of confidence: risks 0, 1/2, 1/3, 1/2."""
    curve = risk_coverage(np.array([0.1, 0.9, 0.5, 0.7]), np.array([False, True, True, False]))
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.area == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.random == 0.5
    assert curve.best == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)


def test_a_confidence_that_is_all_the_same_is_worth_nothing():
    curve = risk_coverage(np.full(4, 0.5), np.array([True, False, True, True]))
    assert (curve.coverage.tolist(), curve.risk.tolist()) == ([1.0], [0.25])
    assert curve.area == pytest.approx(curve.random) == pytest.approx(0.25)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40))
def test_any_curve_lies_above_the_best_and_ends_at_chance(pairs):
    confidence, correct = np.array([one for one, _ in pairs], dtype=float), np.array([two for _, two in pairs])
    curve = risk_coverage(confidence, correct)
    assert curve.risk[-1] == pytest.approx(curve.random)
    assert curve.best - 1e-12 <= curve.area <= 1.0
    assert (np.diff(curve.coverage) > 0).all()
    for coverage, risk in zip(curve.coverage, curve.risk, strict=True):
        kept = np.argsort(-confidence, kind="stable")[: round(coverage * len(correct))]
        assert risk == pytest.approx(1 - correct[kept].mean())


def test_knowing_all_is_the_best():
    correct = np.array([True, False, False, True, True])
    curve = risk_coverage(correct.astype(float), correct)
    # Within a tie of wrong answers any order is the same, so nothing is lost by it.
    assert curve.area == pytest.approx(curve.best)


def test_reliability_by_hand():
    found = reliability(np.array([0.05, 0.15, 0.15, 1.0]), np.array([False, True, False, True]), 10)
    assert found.stated.tolist() == pytest.approx([0.05, 0.15, 1.0])
    assert found.observed.tolist() == [0.0, 0.5, 1.0]
    assert found.counts.tolist() == [1, 2, 1]
    assert found.error == pytest.approx((0.05 + 2 * 0.35 + 0) / 4)


def test_probabilities_that_come_true_have_no_error():
    rng = np.random.default_rng(0)
    stated = rng.random(200_000)
    assert reliability(stated, rng.random(200_000) < stated).error < 0.01
    assert reliability(stated, rng.random(200_000) < stated**2).error > 0.1


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_area_under_roc_is_that_of_scikit_learn(pairs):
    scores, positive = np.array([one for one, _ in pairs], dtype=float), np.array([two for _, two in pairs])
    if positive.all() or not positive.any():
        with pytest.raises(InvalidValue, match="Both positives and negatives"):
            area_under_roc(scores, positive)
    else:
        assert area_under_roc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_what_does_not_fit_is_refused():
    for function in (risk_coverage, reliability, area_under_roc):
        with pytest.raises(InvalidValue, match="do not fit"):
            function(np.array([0.5]), np.array([True, False]))
        with pytest.raises(InvalidValue, match="do not fit"):
            function(np.array([]), np.array([], dtype=bool))
        with pytest.raises(InvalidValue, match="not a number"):
            function(np.array([np.nan]), np.array([True]))
    with pytest.raises(InvalidValue, match=r"lie in \[0, 1\]"):
        reliability(np.array([1.5]), np.array([True]))
    with pytest.raises(InvalidValue, match="must be a bin"):
        reliability(np.array([0.5]), np.array([True]), 0)
