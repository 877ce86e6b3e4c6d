"""Logistic regression against scikit-learn, and its stored form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.logistic import Logistic


def examples(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3)) * [1.0, 20.0, 0.1] + [0.0, 5.0, -3.0]
    logits = features[:, 0] - 0.05 * features[:, 1] + 0.3
    return features, rng.random(n) < 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_it_is_that_of_scikit_learn(ridge):
    features, true = examples()
    found = Logistic.fit(features, true, ridge)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    reference = LogisticRegression(C=1 / ridge, tol=1e-8, max_iter=1000).fit(standard, true)
    np.testing.assert_allclose(found.weights, reference.coef_[0], atol=1e-4)
    np.testing.assert_allclose(found.probability(features), reference.predict_proba(standard)[:, 1], atol=1e-4)


def test_probabilities_by_hand():
    one = Logistic((1.0,), (2.0,), (3.0,), 0.5)
    assert one.probability(np.array([[1.0], [3.0]])).tolist() == pytest.approx(
        [1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-3.5))]
    )


def test_outcomes_that_are_perfectly_told_apart_still_have_a_solution():
    features = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    found = Logistic.fit(features, features[:, 0] > 0, ridge=0.01)
    assert np.isfinite(found.weights).all()
    assert (found.probability(features) > 0.5).tolist() == [False, False, True, True]


def test_a_feature_that_never_varies_says_nothing():
    features, true = examples()
    with_constant = np.hstack([features, np.full((len(features), 1), 7.0)])
    found = Logistic.fit(with_constant, true)
    assert found.weights[3] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(found.probability(with_constant), Logistic.fit(features, true).probability(features))


def test_extreme_features_give_certainty_without_a_warning():
    found = Logistic((0.0,), (1.0,), (1.0,), 0.0).probability(np.array([[-1e6], [1e6]]))
    assert found.tolist() == [0.0, 1.0]


def test_it_survives_json():
    features, true = examples()
    found = Logistic.fit(features, true)
    assert Logistic.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"centre": [0], "scale": [1], "weights": [1]},
        {"centre": [0], "scale": [1], "weights": ["x"], "bias": 0},
        {"centre": [0], "scale": [0], "weights": [1], "bias": 0},
        {"centre": [0, 1], "scale": [1], "weights": [1], "bias": 0},
        {"centre": [0], "scale": [1], "weights": [float("nan")], "bias": 0},
        {"centre": 3, "scale": [1], "weights": [1], "bias": 0},
    ],
)
def test_damaged_values_are_refused(values):
    with pytest.raises(InvalidValue):
        Logistic.from_dict(values)


def test_what_cannot_be_fitted_is_refused():
    features, true = examples()
    with pytest.raises(InvalidValue, match="Only one outcome"):
        Logistic.fit(features, np.ones(len(features), dtype=bool))
    with pytest.raises(InvalidValue, match="Outcomes must be bool"):
        Logistic.fit(features, true[:-1])
    with pytest.raises(InvalidValue, match="finite floats"):
        Logistic.fit(np.full((2, 1), np.nan), np.array([True, False]))
    with pytest.raises(InvalidValue, match="ridge is -1"):
        Logistic.fit(features, true, -1.0)
    with pytest.raises(InvalidValue, match="2 features do not fit a regression of 3"):
        Logistic.fit(features, true).probability(features[:, :2])
