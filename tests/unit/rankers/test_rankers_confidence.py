"""How sure a result is: fitted by simulation, judged on other categories."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import (
    Confidence,
    Labelled,
    Search,
    area_under_roc,
    full_system,
    reliability,
    risk_coverage,
    simulate_searches,
)
from sbka_milvus.rankers.logistic import Logistic


def pictures(world, categories) -> tuple[Labelled, Labelled]:
    asked, held = np.isin(world.query_labels, categories), np.isin(world.labels, categories)
    return (
        Labelled(world.queries[asked], [f"c{label}" for label in world.query_labels[asked]]),
        Labelled(world.gallery[held], [f"c{label}" for label in world.labels[held]]),
    )


@pytest.fixture(scope="module")
def search(world):
    return Search(full_system(world.training, 5), world.cohort, 5)


@pytest.fixture(scope="module")
def fitted(world, search):
    return Confidence.fit(simulate_searches(*pictures(world, range(4)), search, n_rounds=6))


def test_it_tells_present_from_absent_on_other_categories(world, search, fitted):
    judged = simulate_searches(*pictures(world, range(4, 8)), search, n_rounds=6, seed=1)
    stated = fitted.probability(judged.features)
    assert area_under_roc(stated, judged.present) > 0.8
    assert reliability(stated, judged.present).error < 0.25
    curve = risk_coverage(stated, judged.present)
    assert curve.area < 0.6 * curve.random


def test_a_sketch_is_as_often_with_an_answer_as_without(world, search):
    found = simulate_searches(*pictures(world, range(8)), search, n_rounds=4)
    assert found.features.shape == (4 * len(world.queries), 8)
    present = found.present.reshape(4, -1)
    assert (present[0] != present[1]).all()
    assert (present[2] != present[3]).all()
    assert not (present[0] == present[2]).all()
    # Nothing right can be found of what is not there.
    assert not (found.correct & ~found.present).any()
    assert found.correct[found.present].mean() > 0.5


def test_the_same_seed_gives_the_same_evidence(world, search):
    one, again = (simulate_searches(*pictures(world, range(4)), search, n_rounds=2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.features, again.features)
    np.testing.assert_array_equal(one.present, again.present)


def test_it_survives_json(world, search, fitted):
    again = Confidence.from_dict(json.loads(json.dumps(fitted.to_dict())))
    features, scores = search.features(world.queries, world.gallery)
    assert scores.shape == (len(world.queries), len(world.gallery))
    np.testing.assert_array_equal(again.probability(features), fitted.probability(features))


@pytest.mark.parametrize("change", [{"form": 0}, {"features": ["top_score"]}, {"regression": None}, {"regression": {}}])
def test_other_forms_are_refused(fitted, change):
    with pytest.raises(InvalidValue):
        Confidence.from_dict(fitted.to_dict() | change)


def test_a_transductive_ranker_takes_the_mean_of_the_queries(world, search):
    from dataclasses import replace

    loose = replace(search, ranker=replace(search.ranker, sketch_mean=None))
    mean = world.queries.mean(axis=0, dtype=np.float64)
    tight = replace(search, ranker=replace(search.ranker, sketch_mean=mean))
    np.testing.assert_allclose(
        loose.features(world.queries, world.gallery)[0], tight.features(world.queries, world.gallery)[0]
    )


def test_what_does_not_fit_is_refused(world, search):
    queries, gallery = pictures(world, range(1))
    with pytest.raises(InvalidValue, match="one category alone"):
        simulate_searches(queries, gallery, search)
    with pytest.raises(InvalidValue, match="n_rounds is 0"):
        simulate_searches(*pictures(world, range(2)), search, n_rounds=0)
    with pytest.raises(InvalidValue, match="do not fit 1 categories"):
        Labelled(world.queries, ["a"])
    with pytest.raises(InvalidValue, match="n_clusters is 0"):
        Search(search.ranker, world.cohort, 0)
    with pytest.raises(InvalidValue, match="8 weights, not 1"):
        Confidence(Logistic((0.0,), (1.0,), (1.0,), 0.0))
