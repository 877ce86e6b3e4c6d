"""A score is told with its parts: cluster, photo, level."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import LiftedOptions, PhotoParts, ServedMatching, fit_lifted


def serve(world, weight: float, first_id: int = 100) -> tuple[ServedMatching, np.ndarray, np.ndarray]:
    """The matching, the photos' ids, their lifted rows."""
    lifted = fit_lifted(world.gallery, world.training, LiftedOptions(10, weight))
    photos = lifted.photos(world.gallery)
    ids = np.arange(first_id, first_id + len(world.gallery), dtype=np.int64)
    return ServedMatching(lifted, PhotoParts.of(ids, photos)), ids, photos.rows


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 0.95])
def test_the_parts_are_the_cosines_of_aligned_vectors(world, weight):
    matching, ids, rows = serve(world, weight)
    alignment = matching.lifted.alignment
    photos, sketches = alignment.photos(world.gallery), alignment.sketches(world.queries)
    queries = matching.queries(world.queries)
    for number in (0, 7):
        parts = matching.parts(queries[number], ids, rows @ queries[number])
        clusters = np.zeros(len(ids))
        for table in matching.lifted.tables:
            nearest = np.argmax(photos.astype(np.float64) @ table.astype(np.float64).T, axis=1)
            clusters += table[nearest] @ sketches[number] / 5
        tolerance = 2e-6 / (1 - weight)
        np.testing.assert_allclose(parts.cluster_scores, clusters, atol=2e-6)
        np.testing.assert_allclose(parts.member_scores, photos @ sketches[number], atol=tolerance)
        made = weight * parts.cluster_scores + (1 - weight) * parts.member_scores - parts.levels
        np.testing.assert_allclose(made, parts.scores, atol=2e-6)
        assert parts.cluster_weight == matching.cluster_weight == weight
        assert (parts.levels != 0).all()


def test_parts_come_in_the_order_of_the_ids(world):
    matching, ids, rows = serve(world, 0.8)
    query = matching.queries(world.queries[:1])[0]
    all_of_them = matching.parts(query, ids, rows @ query)
    some = np.array([40, 3, 17])
    few = matching.parts(query, ids[some], (rows @ query)[some])
    for name in ("scores", "cluster_scores", "member_scores", "levels"):
        np.testing.assert_array_equal(getattr(few, name), getattr(all_of_them, name)[some])


def test_of_a_photo_that_joined_later_the_score_alone_is_known(world):
    matching, ids, rows = serve(world, 0.8)
    query = matching.queries(world.queries[:1])[0]
    parts = matching.parts(query, np.array([1, ids[0]]), (rows @ query)[:2])
    assert parts.cluster_scores[0] == parts.member_scores[0] == parts.scores[0]
    assert parts.levels[0] == 0 != parts.levels[1]


def test_clusters_that_do_not_exist_are_refused(world):
    matching, ids, _ = serve(world, 0.8)
    n = len(ids)
    for clusters in (np.full((n, 5), 10), np.full((n, 5), -1), np.zeros((n, 4))):
        with pytest.raises(InvalidValue):
            ServedMatching(matching.lifted, PhotoParts(ids, clusters.astype(np.int32), np.zeros(n, np.float32)))


def test_its_name_is_that_of_what_lifts(world):
    matching, _, _ = serve(world, 0.8)
    assert matching.name == matching.lifted.name
