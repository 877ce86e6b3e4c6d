"""Photos judged with those that resemble them."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import NeighbourReranker, Plain
from sbka_milvus.types import normalise


def test_scores_by_hand():
    """Two photos are reciprocal neighbours, a third is alone: each mixes its own score with the mean of its group."""
    gallery = normalise(np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0, 1]]))
    query = np.eye(1, 3, dtype=np.float32)
    own = (query @ gallery.T)[0]
    mean = (own[0] + own[1]) / 2
    expected = [[0.25 * own[0] + 0.75 * mean, 0.25 * own[1] + 0.75 * mean, own[2]]]
    np.testing.assert_allclose(NeighbourReranker(1, 0.75).scores(query, gallery), expected, atol=1e-6)


def test_it_is_linear_in_the_query(world):
    ranker = NeighbourReranker(5)
    np.testing.assert_allclose(
        ranker.scores(world.queries, world.gallery), world.queries @ ranker.context(world.gallery).T, atol=1e-6
    )


def test_neighbours_help(world):
    plain, helped = (
        world.average_precision(ranker.scores(world.queries, world.gallery))
        for ranker in (Plain(), NeighbourReranker(10))
    )
    assert helped > 1.03 * plain


def test_without_weight_it_is_plain(world):
    np.testing.assert_array_equal(
        NeighbourReranker(5, 0.0).scores(world.queries, world.gallery), Plain().scores(world.queries, world.gallery)
    )


def test_bad_numbers_are_refused():
    with pytest.raises(InvalidValue, match="k is 0"):
        NeighbourReranker(0)
    with pytest.raises(InvalidValue, match="weight is 2"):
        NeighbourReranker(5, 2.0)
