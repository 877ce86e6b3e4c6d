"""No centroid is wasted while photos lie apart from theirs."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.clusters import assign_clusters, fit_clusters
from sbka_milvus.clusters.balance import reseed_empty
from sbka_milvus.types import Embeddings, normalise


def named(vectors: np.ndarray) -> Embeddings:
    return Embeddings(tuple(f"{number:05d}.jpg" for number in range(len(vectors))), normalise(vectors))


def heap_and_others(n: int, dim: int = 8) -> np.ndarray:
    """Half of the photos are one and the same; k-means puts many of its centroids on it."""
    vectors = np.random.default_rng(0).normal(size=(n, dim))
    vectors[: n // 2] = vectors[0]
    return normalise(vectors)


@pytest.mark.parametrize(("n", "wanted"), [(60, 40), (40, 40), (60, 25), (200, 100)])
def test_a_heap_of_copies_costs_no_clusters(n, wanted):
    vectors = heap_and_others(n)
    clustering = fit_clusters(named(vectors), wanted)
    distinct = n - n // 2 + 1
    assert len(clustering.table) == min(wanted, distinct)
    assert clustering.table.sizes.min() >= 1
    assert clustering.table.sizes.max() >= n // 2  # and the heap is in one


def test_without_empty_clusters_nothing_moves():
    vectors = heap_and_others(20)
    centroids = vectors[[0, 15]]
    assert reseed_empty(vectors, centroids, assign_clusters(vectors, centroids)) is centroids


def test_an_empty_one_goes_to_the_photo_that_lies_farthest():
    vectors = normalise(np.array([[1.0, 0, 0], [1, 0.1, 0], [0, 1, 0], [0.6, 0.6, 0]]))
    centroids = normalise(np.array([[1.0, 0, 0], [0, 0, -1]]))
    moved = reseed_empty(vectors, centroids, np.zeros(4, dtype=np.int64))
    np.testing.assert_array_equal(moved, np.stack([centroids[0], vectors[2]]))


def test_two_empty_ones_do_not_go_to_one_place():
    vectors = normalise(np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 1e-3], [0, 0, 1]]))
    moved = reseed_empty(vectors, vectors[[0, 0, 0]], np.zeros(4, dtype=np.int64))
    assert sorted(assign_clusters(vectors, moved).tolist()) in ([0, 1, 1, 2], [0, 1, 2, 2])


@pytest.mark.parametrize("n", [1, 2, 9])
def test_photos_that_are_all_alike_are_one_cluster(n):
    clustering = fit_clusters(named(np.ones((n, 5))), n)
    assert clustering.table.sizes.tolist() == [n]
    assert clustering.table.radii.tolist() == pytest.approx([0.0], abs=1e-3)


def test_two_photos_are_two_clusters_or_one():
    two = named(np.array([[1.0, 0], [0, 1]]))
    assert [fit_clusters(two, wanted).table.sizes.tolist() for wanted in (1, 2)] == [[2], [1, 1]]
