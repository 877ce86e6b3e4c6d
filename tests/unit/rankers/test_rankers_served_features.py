"""The seven numbers a search says of itself, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.served_features import SERVED_FEATURES, SearchEvidence, served_features


def evidence(**changes) -> SearchEvidence:
    one = SearchEvidence(
        clusters=np.array([[0.9, 0.1, 0.2]], dtype=np.float32),
        hits=np.array([[0.8, 0.6, 0.4]], dtype=np.float32),
        hit_clusters=np.array([[0, 2, 0]]),
        cohort=np.array([[0.1, 0.3]], dtype=np.float32),
    )
    return replace(one, **changes)


def test_each_number_by_hand():
    found = dict(zip(SERVED_FEATURES, served_features(evidence())[0].tolist(), strict=True))
    assert found["top_score"] == pytest.approx(0.8)
    assert found["mean_of_first"] == pytest.approx(0.6)
    assert found["top_against_cohort"] == pytest.approx((0.8 - 0.2) / 0.1, rel=1e-5)
    hits, cohort = (sum(math.exp(score * 10) for score in row) / len(row) for row in ((0.8, 0.6, 0.4), (0.1, 0.3)))
    assert found["odds"] == pytest.approx(math.log(hits / cohort), rel=1e-5)
    mean, deviation = 0.4, math.sqrt((0.5**2 + 0.3**2 + 0.2**2) / 3)
    assert found["cluster_distinction"] == pytest.approx((0.9 - mean) / deviation, rel=1e-5)
    assert found["cluster_agreement"] == pytest.approx(2 / 3)
    assert found["spread"] == pytest.approx(0.4)


def test_where_there_is_no_deviation_a_number_stays_a_number():
    lone = evidence(clusters=np.ones((1, 1), np.float32), cohort=np.full((1, 1), 0.1, np.float32))
    found = dict(zip(SERVED_FEATURES, served_features(lone)[0].tolist(), strict=True))
    assert found["cluster_distinction"] == 0.0
    assert found["top_against_cohort"] == 20.0


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            *(arrays(np.float64, (n, wide), elements=st.floats(-1, 1)) for wide in (4, 10, 6)),
            arrays(np.int64, (n, 10), elements=st.integers(0, 3)),
        )
    )
)
def test_any_scores_make_finite_numbers_row_by_row(parts):
    clusters, hits, cohort, ids = parts
    whole = SearchEvidence(clusters, -np.sort(-hits, axis=1), ids, cohort)
    found = served_features(whole)
    assert np.isfinite(found).all()
    for row in range(len(clusters)):
        part = slice(row, row + 1)
        alone = SearchEvidence(clusters[part], whole.hits[part], ids[part], cohort[part])
        np.testing.assert_allclose(served_features(alone)[0], found[row])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hits": np.array([[0.1, 0.6, 0.4]])}, "highest score first"),
        ({"hits": np.array([[0.8, 0.6]])}, "do not fit"),
        ({"hits": np.zeros((1, 11)), "hit_clusters": np.zeros((1, 11), int)}, "over 10"),
        ({"hits": np.zeros((1, 0)), "hit_clusters": np.zeros((1, 0), int)}, "not those of the same searches"),
        ({"cohort": np.zeros((2, 3))}, "not those of the same searches"),
        ({"cohort": np.zeros((1, 0))}, "not those of the same searches"),
        ({"clusters": np.array([[np.nan]])}, "not finite"),
        ({"clusters": np.zeros(3)}, "not those of the same searches"),
    ],
)
def test_scores_that_do_not_fit_are_refused(changes, match):
    with pytest.raises(InvalidValue, match=match):
        evidence(**changes)
