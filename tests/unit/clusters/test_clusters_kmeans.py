"""A clustering keeps its promises for any gallery: no empty cluster, true sizes and radii, nearest centroids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.clusters import assign_clusters, fit_clusters
from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import Clustering, Embeddings, FloatArray, normalise

ANGLE = 1e-3  # float32 cosines near 1 tell angles no better than to 5e-4 rad
COSINE = 1e-5


def embeddings(vectors: np.ndarray) -> Embeddings:
    return Embeddings(tuple(f"{number:05d}.jpg" for number in range(len(vectors))), normalise(vectors))


def blobs(n: int, k: int, dim: int, seed: int = 0, spread: float = 0.05) -> Embeddings:
    rng = np.random.default_rng(seed)
    centres = normalise(rng.normal(size=(k, dim)))
    return embeddings(centres[np.arange(n) % k] + spread * rng.normal(size=(n, dim)))


def angles(one: FloatArray, other: FloatArray) -> np.ndarray:
    """Of unit rows, from the length of the chord: exact for small ones."""
    return 2 * np.arcsin(np.clip(np.linalg.norm(one.astype(np.float64) - other, axis=-1) / 2, 0, 1))


def check(clustering: Clustering, gallery: Embeddings, wanted: int) -> None:
    table, assignments = clustering.table, clustering.assignments
    assert 1 <= len(table) <= wanted
    assert len(assignments) == len(gallery)
    assert assignments.dtype == table.sizes.dtype == np.int64
    assert table.centroids.dtype == table.radii.dtype == np.float32
    assert table.sizes.min() >= 1
    assert table.sizes.sum() == len(gallery)
    cosines = gallery.vectors @ table.centroids.T
    own = cosines[np.arange(len(gallery)), assignments]
    assert (cosines.max(axis=1) - own).max() < COSINE
    apart = angles(gallery.vectors, table.centroids[assignments])
    index = {uri: row for row, uri in enumerate(gallery.uris)}
    for cluster in range(len(table)):
        members = np.flatnonzero(assignments == cluster)
        assert table.sizes[cluster] == len(members)
        assert apart[members].max() == pytest.approx(table.radii[cluster], abs=ANGLE)
        rows = [index[uri] for uri in table.exemplars[cluster]]
        assert len(rows) == len(set(rows)) == min(4, len(members))
        assert set(rows) <= set(members.tolist())
        assert (np.diff(apart[rows]) > -ANGLE).all()
        others = np.setdiff1d(members, rows)
        assert len(others) == 0 or apart[others].min() > apart[rows].max() - ANGLE


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    n=st.integers(1, 60),
    dim=st.integers(2, 12),
    copies=st.integers(1, 5),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31 - 1),
)
def test_the_invariants_hold_for_any_gallery_with_coinciding_photos(n, dim, copies, share, seed):
    distinct = np.random.default_rng(seed).normal(size=(n, dim))
    gallery = embeddings(np.tile(distinct, (copies, 1)))
    wanted = max(1, round(share * len(gallery)))
    check(fit_clusters(gallery, wanted, seed=seed), gallery, wanted)


def test_well_separated_groups_are_found():
    gallery = blobs(120, 6, 16)
    clustering = fit_clusters(gallery, 6)
    check(clustering, gallery, 6)
    assert clustering.table.sizes.tolist() == [20] * 6
    groups = clustering.assignments.reshape(-1, 6)
    assert (groups == groups[0]).all()


def test_one_cluster_holds_all_around_their_mean():
    gallery = blobs(40, 1, 8)
    clustering = fit_clusters(gallery, 1)
    assert clustering.assignments.tolist() == [0] * 40
    np.testing.assert_allclose(clustering.table.centroids[0], normalise(gallery.vectors.mean(axis=0)), atol=1e-5)


def test_as_many_clusters_as_photos_give_each_its_own():
    gallery = embeddings(np.random.default_rng(1).normal(size=(30, 16)))
    clustering = fit_clusters(gallery, 30)
    assert clustering.table.sizes.tolist() == [1] * 30
    np.testing.assert_allclose(clustering.table.centroids[clustering.assignments], gallery.vectors, atol=1e-6)
    assert clustering.table.radii.max() < ANGLE
    assert sorted(uris[0] for uris in clustering.table.exemplars) == list(gallery.uris)


@pytest.mark.parametrize("wanted", [1, 3, 12])
def test_coinciding_photos_give_one_cluster_for_each_place(wanted):
    gallery = embeddings(np.repeat(np.eye(8)[:3], 4, axis=0))
    clustering = fit_clusters(gallery, wanted)
    check(clustering, gallery, wanted)
    assert len(clustering.table) <= 3


def test_opposite_photos_whose_mean_is_no_direction_still_make_a_cluster():
    gallery = embeddings(np.array([[1.0, 0], [-1, 0]]))
    clustering = fit_clusters(gallery, 1)
    check(clustering, gallery, 1)
    assert clustering.table.radii[0] == pytest.approx(np.pi, abs=ANGLE)


@pytest.mark.parametrize("wanted", [0, -1, 6])
def test_more_clusters_than_photos_and_fewer_than_one_are_refused(wanted):
    with pytest.raises(InvalidValue, match=f"{wanted} clusters cannot be made of 5 photos. Choose between 1 and 5"):
        fit_clusters(blobs(5, 2, 4), wanted)


def test_a_gallery_without_photos_is_refused():
    with pytest.raises(InvalidValue, match="of 0 photos"):
        fit_clusters(Embeddings((), np.empty((0, 4), np.float32)), 1)


def test_one_seed_gives_one_clustering_and_another_seed_another():
    gallery = embeddings(np.random.default_rng(2).normal(size=(200, 8)))
    first, again, other = (fit_clusters(gallery, 15, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.assignments, again.assignments)
    np.testing.assert_array_equal(first.table.centroids, again.table.centroids)
    assert first.table.exemplars == again.table.exemplars
    assert not np.array_equal(first.assignments, other.assignments)


@pytest.mark.parametrize(("n", "wanted"), [(60, 40), (40, 40), (2100, 2)], ids=["few", "all", "sub_sampled"])
def test_nothing_is_printed(capfd, n, wanted):
    fit_clusters(blobs(n, 5, 8), wanted)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


class TestAssign:
    def test_the_nearest_centroid_by_hand(self):
        centroids = normalise(np.array([[1.0, 0], [0, 1]]))
        vectors = normalise(np.array([[2.0, 1], [1, 2], [-1, 0.5], [-1, -0.5]]))
        assert assign_clusters(vectors, centroids).tolist() == [0, 1, 1, 1]

    def test_ties_go_to_the_lowest_id(self):
        centroids = np.eye(3, dtype=np.float32)[[0, 1, 0]]
        assert assign_clusters(np.eye(3, dtype=np.float32), centroids).tolist() == [0, 1, 0]

    def test_many_vectors_are_assigned_as_few_are(self):
        rng = np.random.default_rng(0)
        vectors, centroids = normalise(rng.normal(size=(70_000, 2))), normalise(rng.normal(size=(300, 2)))
        assigned = assign_clusters(vectors, centroids)
        assert assigned.shape == (70_000,)
        best = np.einsum("nd,nd->n", vectors, centroids[assigned])
        for rows in (slice(0, 500), slice(-500, None)):
            np.testing.assert_allclose((vectors[rows] @ centroids.T).max(axis=1), best[rows], atol=COSINE)

    def test_no_vectors_give_no_assignments(self):
        assigned = assign_clusters(np.empty((0, 3), np.float32), np.eye(3, dtype=np.float32))
        assert (assigned.shape, assigned.dtype) == ((0,), np.int64)

    @pytest.mark.parametrize(
        ("vectors", "centroids", "complaint"),
        [
            (np.eye(3, dtype=np.float32), np.eye(4, dtype=np.float32), "do not fit"),
            (np.eye(3, dtype=np.float32), np.empty((0, 3), np.float32), "do not fit"),
            (np.eye(3, dtype=np.float32) * 2, np.eye(3, dtype=np.float32), "vectors must have rows of unit"),
            (np.eye(3, dtype=np.float32), np.eye(3), "centroids must be float32"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, vectors, centroids, complaint):
        with pytest.raises(InvalidValue, match=complaint):
            assign_clusters(vectors, centroids)
