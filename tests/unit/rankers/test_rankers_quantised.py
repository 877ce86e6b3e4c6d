"""The paper's form, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import Plain, Quantised, rank_positions

HALF = np.sqrt(0.5)
GALLERY = np.array([[0.6, 0, 0.8, 0], [0.6, 0, 0, 0.8], [0, 0.6, 0.8, 0], [0, 0.6, 0, 0.8]], dtype=np.float32)
QUERY = np.array([[HALF, 0, HALF, 0]], dtype=np.float32)


def test_two_subspaces_by_hand():
    """In each half there are two distinct sub-vectors, so K = 2 makes them the codewords."""
    near, far = (HALF - 0.6) ** 2, 0.5 + 0.36
    near2, far2 = (HALF - 0.8) ** 2, 0.5 + 0.64
    squared = np.array([near + near2, near + far2, far + near2, far + far2])
    found = Quantised(2, 2).scores(QUERY, GALLERY)
    np.testing.assert_allclose(found[0], -(0.8 * squared + 0.2 * np.sqrt(squared)), atol=1e-5)
    assert found.dtype == np.float32


def test_one_subspace_and_one_codeword_is_the_distance_to_the_mean():
    mean = GALLERY.mean(axis=0)
    found = Quantised(1, 1, weight=1.0).scores(QUERY, GALLERY)
    np.testing.assert_allclose(found, np.full((1, 4), -((QUERY - mean) ** 2).sum()), atol=1e-6)


def test_without_cluster_weight_the_order_is_that_of_cosines(world):
    found = Quantised(2, 9, weight=0.0).scores(world.queries, world.gallery)
    plain = Plain().scores(world.queries, world.gallery)
    assert np.array_equal(rank_positions(found)[:, :10], rank_positions(plain)[:, :10])


def test_a_width_that_cannot_be_cut_evenly_is_cut_nearly_so(world):
    assert Quantised(3, 4).scores(world.queries, world.gallery).shape == (len(world.queries), len(world.gallery))


def test_bad_numbers_are_refused():
    with pytest.raises(InvalidValue, match="4 dimensions cannot be cut into 5"):
        Quantised(5, 2).scores(QUERY, GALLERY)
    for bad in ((0, 1, 0.5), (1, 0, 0.5), (1, 1, 2.0)):
        with pytest.raises(InvalidValue):
            Quantised(*bad)
