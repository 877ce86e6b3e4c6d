"""Clusters in groups: balanced by their photos, near ones together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.store.groups import MOST_OVER_MEAN, group_clusters
from sbka_milvus.types import normalise


def centroids(n: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, dim)))


def held(groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.bincount(groups, weights=sizes)


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(
    n=st.integers(2, 120),
    seed=st.integers(0, 5),
    shape=st.sampled_from(["even", "empty", "pareto", "one giant", "alike", "few places"]),
    data=st.data(),
)
def test_no_group_of_several_clusters_holds_more_than_twice_the_mean(n, seed, shape, data):
    n_groups = data.draw(st.integers(1, n - 1))
    rng = np.random.default_rng(seed)
    places = centroids(n, seed=seed)
    if shape == "alike":
        places = np.repeat(places[:1], n, axis=0)
    elif shape == "few places":
        places = places[rng.integers(min(3, n), size=n)]
    sizes = np.full(n, 7, dtype=np.int64)
    if shape == "empty":
        sizes[:] = 0
    elif shape == "pareto":
        sizes = (rng.pareto(1.0, size=n) * 20).astype(np.int64)
    elif shape == "one giant":
        sizes[int(rng.integers(n))] = 10_000

    groups = group_clusters(places, sizes, n_groups)
    assert groups.shape == (n,)
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    assert groups.max() + 1 <= n_groups
    weights = sizes + 1.0
    most = MOST_OVER_MEAN * weights.sum() / n_groups
    for number in range(groups.max() + 1):
        members = np.flatnonzero(groups == number)
        assert len(members) == 1 or weights[members].sum() <= most * (1 + 1e-6)
    np.testing.assert_array_equal(groups, group_clusters(places, sizes, n_groups))


def test_all_groups_are_used_where_clusters_differ():
    groups = group_clusters(centroids(400), np.full(400, 3, dtype=np.int64), 64)
    assert groups.max() + 1 == 64


def test_near_ones_are_together():
    """A search of sixteen neighbours names few groups, and chance would name nearly sixteen of sixty-four."""
    tops = centroids(60, dim=16, seed=3)
    rng = np.random.default_rng(4)
    places = normalise(np.repeat(tops, 20, axis=0) + 0.1 * rng.normal(size=(1200, 16)))
    groups = group_clusters(places, np.full(1200, 5, dtype=np.int64), 64)
    near = np.argsort(-(places[::37] @ places.T), axis=1)[:, :16]
    assert np.mean([len(set(groups[row].tolist())) for row in near]) < 3


@pytest.mark.parametrize("n", [1_000, 10_000, 100_000])
def test_a_hundred_thousand_clusters_with_empty_and_giant_ones_are_balanced(n):
    rng = np.random.default_rng(0)
    sizes = (rng.pareto(1.3, size=n) * 30).astype(np.int64)
    sizes[rng.integers(n, size=n // 10)] = 0
    sizes = np.minimum(sizes, sizes.sum() // 512)
    groups = group_clusters(centroids(n, dim=8), sizes, 256)
    rows = held(groups, sizes)
    assert len(rows) == 256
    assert rows.max() <= 2.1 * rows.mean() and rows.min() > 0
