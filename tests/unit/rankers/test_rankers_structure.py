"""Silhouette and Rand index against scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.structure import adjusted_rand, silhouette
from sbka_milvus.types import normalise


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 2**31), st.integers(5, 40), st.integers(2, 4))
def test_silhouette_is_that_of_scikit_learn(seed, n, k):
    rng = np.random.default_rng(seed)
    rows = normalise(rng.normal(size=(n, 6)))
    clusters = rng.integers(0, k, n)
    clusters[:2] = 0, 1
    expected = silhouette_score(rows.astype(np.float64), clusters, metric="cosine")
    assert silhouette(rows, clusters) == pytest.approx(expected, abs=1e-5)


def test_two_far_groups_have_a_silhouette_near_one():
    rows = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    assert silhouette(rows, np.arange(8) // 4) == pytest.approx(1.0)
    assert silhouette(rows, np.arange(8) % 2) < 0


def test_photos_alone_count_nothing():
    assert silhouette(np.eye(3, dtype=np.float32), np.arange(3)) == 0.0


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 60), st.integers(1, 6))
def test_rand_index_is_that_of_scikit_learn(seed, n, k):
    one, other = np.random.default_rng(seed).integers(0, k, (2, n))
    assert adjusted_rand(one, other) == pytest.approx(adjusted_rand_score(one, other))


def test_what_does_not_fit_is_refused():
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(InvalidValue, match="do not fit 3 photos"):
        silhouette(rows, np.zeros(2, dtype=np.int64))
    with pytest.raises(InvalidValue, match="One cluster alone"):
        silhouette(rows, np.zeros(3, dtype=np.int64))
    with pytest.raises(InvalidValue, match="cannot be compared"):
        adjusted_rand(np.zeros(2, dtype=np.int64), np.zeros(3, dtype=np.int64))
