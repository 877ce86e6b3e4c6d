"""Cluster scores and probes on cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search import score_clusters, select_probes
from sbka_milvus.types import normalise


def test_cluster_scores_are_cosines():
    queries = normalise(np.array([[1.0, 0], [3, 4]]))
    centroids = normalise(np.array([[1.0, 0], [0, 1], [-1, 0]]))
    scores = score_clusters(queries, centroids)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[1, 0, -1], [0.6, 0.8, -0.6]], atol=1e-6)


def test_no_queries_give_no_scores():
    assert score_clusters(np.empty((0, 3), np.float32), np.eye(3, dtype=np.float32)).shape == (0, 3)


@pytest.mark.parametrize(
    ("queries", "complaint"),
    [
        (np.eye(4, dtype=np.float32), "dimension 4 do not fit centroids of 3"),
        (np.ones(3, np.float32), r"must have the shape \(Q, D\), not \(3,\)"),
    ],
)
def test_queries_that_do_not_fit_are_refused(queries, complaint):
    with pytest.raises(InvalidValue, match=complaint):
        score_clusters(queries, np.eye(3, dtype=np.float32))


@pytest.mark.parametrize(
    ("n_probe", "expected"), [(1, [2]), (2, [2, 0]), (3, [2, 0, 3]), (4, [2, 0, 3, 1]), (9, [2, 0, 3, 1])]
)
def test_probes_are_the_best_clusters_best_first(n_probe, expected):
    probes = select_probes(np.float32([0.5, -0.1, 0.9, 0.4]), n_probe)
    assert probes.dtype == np.int64
    assert probes.tolist() == expected


def test_ties_of_probes_go_by_id():
    assert select_probes(np.float32([0.5, 0.9, 0.5, 0.9]), 3).tolist() == [1, 3, 0]


@pytest.mark.parametrize("n_probe", [0, -1])
def test_no_probes_are_refused(n_probe):
    with pytest.raises(InvalidValue, match=f"n_probe is {n_probe}"):
        select_probes(np.float32([0.5]), n_probe)
