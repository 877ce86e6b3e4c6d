"""Kin, by hand and whatever the order of the photos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.kin import kin_means, kin_pairs, kin_shares, near_pairs
from sbka_milvus.types import FloatArray, normalise


def circle(*degrees: float) -> FloatArray:
    angles = np.deg2rad(degrees)
    return normalise(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def near(vectors: FloatArray, k: int) -> list[tuple[int, int]]:
    rows, columns = near_pairs(vectors, k)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def test_nearest_by_hand():
    # 0 is nearer to 10 than 25 is; 180 has nothing near and still has nearest ones.
    assert near(circle(0, 10, 25, 180), 1) == [(0, 1), (1, 0), (2, 1), (3, 2)]
    assert near(circle(0, 10, 25, 180), 2) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (3, 1), (3, 2)]


def test_ties_are_all_near():
    assert near(circle(0, 0, 0, 90), 1) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]


def test_no_more_are_near_than_there_are():
    assert near(circle(0, 10), 9) == [(0, 1), (1, 0)]
    assert near(circle(0), 3) == []
    assert near(np.empty((0, 2), np.float32), 3) == []


def test_kin_are_near_one_another_and_themselves():
    rows, columns = kin_pairs(np.array([0, 1, 2, 3]), np.array([1, 0, 1, 2]), 4)
    assert rows.tolist() == [0, 0, 1, 1, 2, 3]
    assert columns.tolist() == [0, 1, 0, 1, 2, 3]
    assert kin_shares(rows, 4).tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]


def test_means_by_hand():
    found = kin_means(np.float32([4, 2, 9, 7]), circle(0, 10, 25, 180), 1)
    assert found.tolist() == [3.0, 3.0, 9.0, 7.0]
    assert kin_means(np.empty(0, np.float32), np.empty((0, 2), np.float32), 2).tolist() == []


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    vectors = normalise(np.random.default_rng(1).normal(size=(50, 6)))
    whole = near(vectors, 5)
    monkeypatch.setattr("sbka_milvus.kin._BLOCK", 7)
    assert near(vectors, 5) == whole


@settings(derandomize=True, deadline=None, max_examples=60)
@given(n=st.integers(1, 60), k=st.integers(1, 12), seed=st.integers(0, 2**31 - 1), copied=st.booleans())
def test_the_order_of_the_photos_does_not_matter(n, k, seed, copied):
    rng = np.random.default_rng(seed)
    vectors = normalise(rng.normal(size=(n, 5)))
    if copied:
        vectors = vectors[rng.integers(n, size=n)]
    values = rng.normal(size=n).astype(np.float32)
    order = rng.permutation(n)
    means = kin_means(values, vectors, k)
    np.testing.assert_allclose(kin_means(values[order], vectors[order], k), means[order], atol=1e-12)
    assert means.min() >= values.min() - 1e-6
    assert means.max() <= values.max() + 1e-6
