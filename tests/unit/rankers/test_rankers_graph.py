"""Neighbours in a gallery."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.graph import nearest_neighbours, neighbour_graph, reciprocal_means
from sbka_milvus.types import normalise


def circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return normalise(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def test_neighbours_by_hand():
    found, cosines = nearest_neighbours(circle(0, 10, 30, 180), 2)
    assert found.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    np.testing.assert_allclose(cosines[0], np.cos(np.radians([10, 30])), atol=1e-6)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 6), st.integers(1, 8))
def test_no_photo_is_its_own_neighbour_even_among_coinciding_ones(seed, distinct, copies, k):
    rows = normalise(np.tile(np.random.default_rng(seed).normal(size=(distinct, 3)), (copies, 1)))
    found, cosines = nearest_neighbours(rows, k)
    assert found.shape == cosines.shape == (len(rows), min(k, len(rows) - 1))
    assert (found != np.arange(len(rows))[:, None]).all()
    assert (np.diff(cosines, axis=1) <= 1e-6).all()
    for row, near in enumerate(found):
        assert len(set(near.tolist())) == len(near)
        exact = np.sort(np.delete(rows[row] @ rows.T, row))[::-1][: found.shape[1]]
        np.testing.assert_allclose(cosines[row], exact, atol=1e-5)


def test_the_graph_is_symmetric_sparse_and_without_negative_weights(world):
    graph = neighbour_graph(world.gallery, 5, 3.0)
    dense = graph.toarray()
    np.testing.assert_allclose(dense, dense.T)
    assert (dense >= 0).all()
    assert (dense.diagonal() == 0).all()
    assert graph.nnz <= 2 * 5 * len(world.gallery)


def test_weights_by_hand():
    dense = neighbour_graph(circle(0, 60, 100), 1, 2.0).toarray()
    side, other = np.cos(np.radians(60)) ** 2, np.cos(np.radians(40)) ** 2
    np.testing.assert_allclose(dense, [[0, side / 2, 0], [side / 2, 0, other], [0, other, 0]], atol=1e-6)


def test_reciprocal_neighbours_by_hand():
    """10 and 30 degrees have each other; 0 has 10, which does not have it; 180 has nobody."""
    means = reciprocal_means(circle(-25, 0, 10, 180), 1).toarray()
    np.testing.assert_allclose(means, [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]])


def test_one_photo_has_no_neighbour():
    assert nearest_neighbours(circle(0), 3)[0].shape == (1, 0)
    assert neighbour_graph(circle(0), 3).toarray().tolist() == [[0.0]]
    assert reciprocal_means(circle(0), 3).toarray().tolist() == [[1.0]]


def test_bad_numbers_are_refused(world):
    with pytest.raises(InvalidValue, match="k is 0"):
        nearest_neighbours(world.gallery, 0)
    with pytest.raises(InvalidValue, match="power is -1"):
        neighbour_graph(world.gallery, 3, -1.0)
