import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import rank_one_to_many, rank_one_to_one, ranking
from sbka_milvus.types import normalise


def vectors(seed: int, count: int, dim: int = 16) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(count, dim)))


def circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return normalise(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def test_one_to_one_ranks_by_angle():
    order = rank_one_to_one(circle(0, 90), circle(80, 10, 45, 200))
    assert order.tolist() == [[1, 2, 0, 3], [0, 2, 1, 3]]
    assert order.dtype == np.int64


@pytest.mark.parametrize("dim", [100, 333, 512])
def test_the_last_bit_of_a_matrix_product_does_not_part_equal_photos(dim):
    gallery = np.repeat(vectors(1, 1, dim), 171, axis=0)
    queries = vectors(2, 5, dim)
    order = np.concatenate([rank_one_to_one(queries, gallery), rank_one_to_one(queries[:1], gallery)])
    assert (order == np.arange(171)).all()


def test_equal_photos_keep_their_order_wherever_they_stand():
    gallery = np.repeat(vectors(1, 3, 333), 57, axis=0)[np.random.default_rng(2).permutation(171)]
    queries = vectors(3, 5, 333)
    order = rank_one_to_one(queries, gallery)
    for row in order:
        same = (gallery[row[1:]] == gallery[row[:-1]]).all(axis=1)
        assert same.sum() == 168
        assert (row[1:][same] > row[:-1][same]).all()


def test_a_cluster_lifts_its_members():
    query, gallery = circle(0), circle(20, 10, 25)
    assignments, centroids = np.array([0, 1, 0]), circle(5, 90)
    assert rank_one_to_many(query, gallery, centroids, assignments, 0.0).tolist() == [[1, 0, 2]]
    assert rank_one_to_many(query, gallery, centroids, assignments, 0.8).tolist() == [[0, 2, 1]]


def test_the_cluster_score_alone_leaves_members_in_order_of_index():
    order = rank_one_to_many(circle(0), circle(60, 50, 40, 30), circle(70, 20), np.array([1, 0, 1, 0]), 1.0)
    assert order.tolist() == [[0, 2, 1, 3]]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 30), st.floats(0, 1))
def test_one_to_many_orders_by_the_formula(seed, n_clusters, n_photos, weight):
    queries, gallery, centroids = vectors(seed, 4), vectors(seed + 1, n_photos), vectors(seed + 2, n_clusters)
    assignments = np.random.default_rng(seed).integers(0, n_clusters, n_photos)
    order = rank_one_to_many(queries, gallery, centroids, assignments, weight)
    wide = queries.astype(np.float64)
    scores = weight * (wide @ centroids.T)[:, assignments] + (1 - weight) * (wide @ gallery.T)
    ranked = np.take_along_axis(scores, order, axis=1)
    assert (np.diff(ranked, axis=1) <= 1e-6).all()
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(n_photos), (4, 1)))


def test_weight_zero_is_one_to_one():
    queries, gallery = vectors(1, 6), vectors(2, 40)
    fused = rank_one_to_many(queries, gallery, vectors(3, 4), np.arange(40) % 4, 0.0)
    assert np.array_equal(fused, rank_one_to_one(queries, gallery))


def test_blocks_of_queries_do_not_change_a_ranking(monkeypatch):
    queries, gallery = vectors(4, 11), vectors(5, 30)
    whole = rank_one_to_one(queries, gallery)
    monkeypatch.setattr(ranking, "_SCORES_PER_BLOCK", 100)
    assert np.array_equal(rank_one_to_one(queries, gallery), whole)


@pytest.mark.parametrize(("n_queries", "n_photos"), [(0, 3), (3, 0)])
def test_nothing_to_rank_gives_an_empty_ranking(n_queries, n_photos):
    queries, gallery = vectors(1, 5)[:n_queries], vectors(2, 5)[:n_photos]
    assert rank_one_to_one(queries, gallery).shape == (n_queries, n_photos)
    assignments = np.zeros(n_photos, dtype=np.int64)
    assert rank_one_to_many(queries, gallery, vectors(3, 1), assignments, 0.5).shape == (n_queries, n_photos)


@pytest.mark.parametrize(
    ("queries", "gallery", "problem"),
    [
        (vectors(1, 2) * 2, vectors(2, 3), "queries must have rows of unit"),
        (vectors(1, 2), vectors(2, 3) * 2, "gallery must have rows of unit"),
        (vectors(1, 2).astype(np.float64), vectors(2, 3), "queries must be float32"),
        (vectors(1, 2), vectors(2, 3, 8), "gallery have 8 dimensions where queries have 16"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(queries, gallery, problem):
    with pytest.raises(InvalidValue, match=problem):
        rank_one_to_one(queries, gallery)


@pytest.mark.parametrize(
    ("assignments", "weight", "problem"),
    [
        (np.array([0, 1]), 0.5, "assignments must be integer of shape"),
        (np.array([0.0, 1.0, 0.0]), 0.5, "assignments must be integer of shape"),
        (np.array([0, 1, 2]), 0.5, "not one of the 2"),
        (np.array([0, -1, 1]), 0.5, "not one of the 2"),
        (np.array([0, 1, 0]), 1.5, "cluster_weight is 1.5"),
        (np.array([0, 1, 0]), float("nan"), "cluster_weight is nan"),
    ],
)
def test_clusters_and_weights_that_do_not_fit_are_refused(assignments, weight, problem):
    with pytest.raises(InvalidValue, match=problem):
        rank_one_to_many(vectors(1, 2), vectors(2, 3), vectors(3, 2), assignments, weight)
