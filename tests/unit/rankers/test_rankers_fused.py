"""One-to-many over one clustering, several, and soft ones."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.clusters import assign_clusters
from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import rank_one_to_many
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers import Fused, Plain, rank_positions
from sbka_milvus.rankers.fused import memberships


def test_one_clustering_ranks_as_an_evaluation_does(world):
    centroids = fit_centroids(world.gallery, 8, seed=3)
    order = rank_one_to_many(world.queries, world.gallery, centroids, assign_clusters(world.gallery, centroids), 0.8)
    scores = Fused(8, seed=3).scores(world.queries, world.gallery)
    assert np.array_equal(rank_positions(scores), order)


def test_several_clusterings_are_averaged(world):
    expected = np.zeros((len(world.queries), len(world.gallery)))
    wide = world.queries.astype(np.float64)
    for seed in (5, 6):
        centroids = fit_centroids(world.gallery, 10, seed=seed, n_restarts=1)
        expected += 0.3 * (wide @ centroids.T)[:, assign_clusters(world.gallery, centroids)]
    expected += 0.4 * (wide @ world.gallery.T.astype(np.float64))
    found = Fused(10, 0.6, 2, seed=5).scores(world.queries, world.gallery)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weight_zero_is_plain(world):
    np.testing.assert_array_equal(
        Fused(5, 0.0).scores(world.queries, world.gallery), Plain().scores(world.queries, world.gallery)
    )


def test_clusters_help_one_or_several(world):
    worth = [
        world.average_precision(ranker.scores(world.queries, world.gallery))
        for ranker in (Plain(), Fused(12), Fused(12, n_clusterings=5))
    ]
    assert worth[0] < 0.95 * min(worth[1:])


def test_soft_membership_lies_between_the_nearest_centroid_and_the_mean_of_all():
    gallery, centroids = np.eye(1, 3, dtype=np.float32), np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(memberships(gallery, centroids, 1e-3), [[1, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(memberships(gallery, centroids, 1e6), [[1 / 3] * 3], atol=1e-6)
    e = np.e
    np.testing.assert_allclose(memberships(gallery, centroids, 1.0), [[e / (e + 2), 1 / (e + 2), 1 / (e + 2)]])


def test_more_clusters_than_photos_are_as_many_as_photos(world):
    few = world.gallery[:3]
    np.testing.assert_allclose(Fused(99).scores(world.queries, few), Plain().scores(world.queries, few), atol=1e-6)


@pytest.mark.parametrize("bad", [{"n_clusters": 0}, {"weight": 1.1}, {"n_clusterings": 0}, {"temperature": -1.0}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(InvalidValue, match=next(iter(bad))):
        Fused(**({"n_clusters": 4} | bad))


def test_the_name_tells_the_parameters():
    assert Fused(7).name == "one-to-many K=7 w=0.8"
    assert Fused(7, 0.5, 3, 0.1).name == "one-to-many K=7 x3 soft 0.1 w=0.5"
