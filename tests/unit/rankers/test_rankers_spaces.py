"""A search's evidence is of the space that it was made in."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers import ModalityAlignment, mean_of
from sbka_milvus.rankers.spaces import FusedSpace, LinearSpace, search_evidence
from sbka_milvus.types import normalise

HITS, CLUSTERS = np.array([[0.9, 0.8]], np.float32), np.array([[1, 0]])


def test_as_encoded_scores_are_cosines():
    space = FusedSpace(np.eye(3, dtype=np.float32)[:2])
    query = normalise(np.array([[3.0, 4.0, 0.0]]))
    found = search_evidence(space, query, HITS, CLUSTERS, np.eye(3, dtype=np.float32)[1:])
    assert found.clusters == pytest.approx(np.array([[0.6, 0.8]]))
    assert found.cohort == pytest.approx(np.array([[0.8, 0.0]]))
    assert space.form == "fused"


def test_aligned_scores_are_those_of_aligned_vectors(world):
    alignment = ModalityAlignment.fit(world.gallery, mean_of(world.training))
    photos = alignment.photos(world.gallery)
    space = LinearSpace(alignment, fit_centroids(photos, 4))
    cohort = space.photos(world.cohort)
    found = search_evidence(space, world.queries[:1], HITS, CLUSTERS, cohort)
    moved = alignment.sketches(world.queries[:1])
    np.testing.assert_allclose(found.clusters, moved @ space.centroids.T, atol=1e-5)
    np.testing.assert_allclose(found.cohort, moved @ alignment.photos(world.cohort).T, atol=1e-5)
    assert space.form == "linear"
    assert alignment.dims < world.queries.shape[1]


def test_hits_beyond_the_tenth_are_left_out():
    space = FusedSpace(np.eye(2, dtype=np.float32))
    hits = np.linspace(0.9, 0.1, 15, dtype=np.float32)[np.newaxis]
    found = search_evidence(space, np.eye(1, 2, dtype=np.float32), hits, np.zeros((1, 15), int), space.centroids)
    assert found.hits.shape == (1, 10)
    assert found.hits[0, -1] == hits[0, 9]


def test_vectors_of_another_space_are_refused():
    space = FusedSpace(np.eye(3, dtype=np.float32))
    with pytest.raises(InvalidValue, match="2 dimensions"):
        search_evidence(space, np.eye(1, 2, dtype=np.float32), HITS, CLUSTERS, space.centroids)
    with pytest.raises(InvalidValue, match="3 dimensions"):
        search_evidence(space, np.eye(1, 3, dtype=np.float32), HITS, CLUSTERS, np.eye(2, dtype=np.float32))
