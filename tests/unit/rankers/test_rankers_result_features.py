"""What a result says of itself, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.result_features import FEATURE_NAMES, result_features


def test_the_eight_numbers_by_hand():
    """Three photos, one query along the first axis; the cohort is one photo across."""
    query = np.eye(1, 3, dtype=np.float32)
    gallery = np.array([[0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], dtype=np.float32)
    centroids = np.array([[1, 0, 0], [0, 0, 1]], dtype=np.float32)
    cohort = np.array([[0, 1, 0]], dtype=np.float32)
    found = dict(
        zip(FEATURE_NAMES, result_features(query, gallery, query @ gallery.T, centroids, cohort)[0], strict=True)
    )
    nearest = np.array([0.96, 0.96, 0.0])
    assert found == pytest.approx(
        {
            "top_score": 0.8,
            "top_against_gallery": (0.8 - nearest.mean()) / nearest.std(),
            "against_cohort": (0.8 + 0.6 + 0.0) / 3 - 0.0,
            "odds": np.log((np.exp(8) + np.exp(6) + 1) / 3) - 0.0,
            "best_cluster": 1.0,
            "cluster_distinction": (1.0 - 0.5) / 0.5,
            "cluster_agreement": 2 / 3,
            "cohesion": 0.96 / 3,
        },
        abs=1e-5,
    )


def test_photos_that_are_all_the_same_give_finite_numbers():
    gallery = np.tile(np.eye(1, 3, dtype=np.float32), (4, 1))
    found = result_features(gallery[:2], gallery, np.ones((2, 4), np.float32), gallery[:1], gallery)
    assert np.isfinite(found).all()
    assert found[:, FEATURE_NAMES.index("cohesion")].tolist() == pytest.approx([1.0, 1.0])
    assert found[:, FEATURE_NAMES.index("cluster_agreement")].tolist() == [1.0, 1.0]


def test_no_query_gives_no_rows(world):
    scores = np.empty((0, len(world.gallery)), np.float32)
    found = result_features(world.queries[:0], world.gallery, scores, world.gallery[:3], world.cohort)
    assert found.shape == (0, 8)


def test_what_does_not_fit_is_refused(world):
    scores = world.queries @ world.gallery.T
    with pytest.raises(InvalidValue, match="Scores of shape"):
        result_features(world.queries, world.gallery, scores[:, :-1], world.gallery[:3], world.cohort)
    with pytest.raises(InvalidValue, match="at least 2"):
        result_features(world.queries, world.gallery[:1], scores[:, :1], world.gallery[:1], world.cohort)
    with pytest.raises(InvalidValue, match="holds no photo"):
        result_features(world.queries, world.gallery, scores, world.gallery[:3], world.cohort[:0])
