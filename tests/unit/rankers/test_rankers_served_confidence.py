"""The served confidence: weights from trained categories, scale from pseudo-unseen ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import Labelled, area_under_roc, reliability
from sbka_milvus.rankers.confidence import Evidence
from sbka_milvus.rankers.logistic import Logistic
from sbka_milvus.rankers.served_confidence import ServedConfidence
from sbka_milvus.rankers.served_features import SERVED_FEATURES
from sbka_milvus.rankers.served_simulation import ServedSearch, joined, simulate_served

N = len(SERVED_FEATURES)


def drawn(distinct: float, count: int = 4000, seed: int = 0) -> Evidence:
    """One feature tells, by ``distinct`` standard deviations; the others are noise."""
    rng = np.random.default_rng(seed)
    present = rng.random(count) < 0.5
    features = rng.normal(size=(count, N))
    features[:, 0] += distinct * present
    return Evidence(features, present, present)


def test_trained_categories_alone_are_too_sure_and_others_mend_it():
    trained, held, judged = drawn(3.0), drawn(1.0, seed=1), drawn(1.0, seed=2)
    alone, scaled = ServedConfidence.fit(trained), ServedConfidence.fit(trained, held)
    said, mended = (one.probability(judged.features) for one in (alone, scaled))
    assert reliability(said, judged.present).error > 0.15
    assert reliability(mended, judged.present).error < 0.05
    # The scale changes no order.
    assert (np.argsort(said, kind="stable") == np.argsort(mended, kind="stable")).mean() > 0.99
    assert area_under_roc(said, judged.present) == pytest.approx(area_under_roc(mended, judged.present), abs=1e-3)


def test_a_scale_that_would_turn_the_order_round_is_not_taken():
    held = drawn(1.0, seed=1)
    turned = Evidence(held.features, ~held.present, ~held.correct)
    assert ServedConfidence.fit(drawn(1.0), turned).scaling is None


def test_the_probabilities_by_hand():
    regression = Logistic((0.0,) * N, (1.0,) * N, (2.0, *[0.0] * (N - 1)), -1.0)
    features = np.zeros((1, N))
    features[0, 0] = 1.0
    assert ServedConfidence(regression).probability(features) == pytest.approx(1 / (1 + np.exp(-1)))
    scaled = ServedConfidence(regression, Logistic((0.0,), (1.0,), (0.5,), 0.25))
    assert scaled.probability(features) == pytest.approx(1 / (1 + np.exp(-0.75)))


@pytest.mark.parametrize("form", ["fused", "linear"])
def test_it_tells_present_from_absent_on_other_categories(world, form):
    search = ServedSearch(form, lambda n: max(1, n // 20), world.training)
    backdrop = Labelled(world.cohort, [f"other{number % 8}" for number in range(len(world.cohort))])

    def evidence(categories, seed):
        asked, held = np.isin(world.query_labels, categories), np.isin(world.labels, categories)
        sketches = Labelled(world.queries[asked], [f"c{label}" for label in world.query_labels[asked]])
        photos = Labelled(world.gallery[held], [f"c{label}" for label in world.labels[held]])
        return joined(list(simulate_served(sketches, photos, backdrop, search, seed=seed)))

    judged = evidence(range(4, 8), 1)
    stated = ServedConfidence.fit(evidence(range(4), 0)).probability(judged.features)
    assert area_under_roc(stated, judged.present) > 0.7


def test_it_survives_json():
    for held in (None, drawn(1.0, seed=1)):
        fitted = ServedConfidence.fit(drawn(2.0), held)
        again = ServedConfidence.from_dict(json.loads(json.dumps(fitted.to_dict())))
        features = drawn(1.0, 50).features
        np.testing.assert_array_equal(again.probability(features), fitted.probability(features))


@pytest.mark.parametrize(
    "change",
    [
        {"form": 0},
        {"features": ["top_score"]},
        {"regression": None},
        {"regression": {}},
        {"scaling": 3},
        {"scaling": {}},
    ],
)
def test_other_forms_are_refused(change):
    with pytest.raises(InvalidValue):
        ServedConfidence.from_dict(ServedConfidence.fit(drawn(1.0)).to_dict() | change)


def test_what_is_no_confidence_is_refused():
    with pytest.raises(InvalidValue, match="another form"):
        ServedConfidence.from_dict([])
    with pytest.raises(InvalidValue, match="7 weights, not 1"):
        ServedConfidence(Logistic((0.0,), (1.0,), (1.0,), 0.0))
    regression = ServedConfidence.fit(drawn(1.0)).regression
    with pytest.raises(InvalidValue, match="1 weight, not 7"):
        ServedConfidence(regression, regression)
    always = Evidence(np.zeros((3, N)), np.ones(3, dtype=bool), np.ones(3, dtype=bool))
    with pytest.raises(InvalidValue, match="Only one outcome"):
        ServedConfidence.fit(always)
