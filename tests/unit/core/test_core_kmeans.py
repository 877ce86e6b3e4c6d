"""k-means on the sphere and in the plain sense."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.types import normalise


def test_euclidean_centroids_are_the_means_of_the_groups():
    points = np.array([[0.0, 0], [0, 2], [10, 0], [10, 4]])
    centroids = fit_centroids(points, 2, spherical=False)
    assert sorted(centroids.tolist()) == [[0.0, 1.0], [10.0, 2.0]]


def test_spherical_centroids_are_unit_directions():
    points = normalise(np.array([[1.0, 0.1], [1, -0.1], [-0.1, 1], [0.1, 1]]))
    centroids = fit_centroids(points, 2)
    np.testing.assert_allclose(sorted(centroids.tolist()), [[0, 1], [1, 0]], atol=1e-6)
    assert centroids.dtype == np.float32


def test_seeds_and_single_starts_make_a_difference():
    points = normalise(np.random.default_rng(0).normal(size=(200, 8)))
    one, again, other = (fit_centroids(points, 20, seed=seed, n_restarts=1) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)

    def tightness(centroids: np.ndarray) -> float:
        return float((points @ centroids.T).max(axis=1).mean())

    assert tightness(fit_centroids(points, 20, seed=1)) >= tightness(one)


@pytest.mark.parametrize("wanted", [0, 4])
def test_as_many_clusters_as_vectors_at_most(wanted):
    with pytest.raises(InvalidValue, match=f"{wanted} clusters cannot be made"):
        fit_centroids(np.eye(3), wanted)


def test_vectors_must_be_a_matrix_and_starts_positive():
    with pytest.raises(InvalidValue, match="cannot be made of vectors of shape"):
        fit_centroids(np.ones(3), 1)
    with pytest.raises(InvalidValue, match="at least one start"):
        fit_centroids(np.eye(3), 1, n_restarts=0)


def test_large_sets_are_clustered_by_a_sample_and_always_the_same():
    """Above 100,000 vectors; five groups of very different sizes are found all the same."""
    rng = np.random.default_rng(0)
    centres = normalise(rng.normal(size=(5, 6)))
    of = rng.choice(5, size=100_500, p=[0.6, 0.3, 0.07, 0.02, 0.01])
    points = normalise(centres[of] + 0.02 * rng.normal(size=(len(of), 6)))
    one, again = (fit_centroids(points, 5, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert (points @ one.T).max(axis=1).min() > 0.7
