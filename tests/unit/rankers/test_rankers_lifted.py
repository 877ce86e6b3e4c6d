"""Lifted vectors are unit vectors, and their cosines rank as the linear ranker does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import (
    LiftedMatching,
    LiftedOptions,
    ModalityAlignment,
    fit_lifted,
    linear_system,
)
from sbka_milvus.types import normalise

PLANE = np.eye(2, dtype=np.float32)


def by_hand(weight: float = 0.5, level_weight: float = 0.5) -> LiftedMatching:
    """In the plane: no means, one clustering of one centroid along the first axis, one training sketch likewise."""
    alignment = ModalityAlignment(np.zeros(2), np.zeros(2))
    return LiftedMatching(alignment, (PLANE[:1],), weight, PLANE[:1], level_weight, 1.0)


def random_world(seed: int, photos: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shift = rng.normal(size=dim)
    gallery = normalise(rng.normal(size=(photos, dim)) + shift)
    return gallery, normalise(rng.normal(size=(7, dim))), normalise(rng.normal(size=(9, dim)) - shift)


def test_a_case_by_hand():
    # A photo along the second axis: v = (0.5, 0.5), level = 0.5, so -h level = -0.25; R^2 = 1.25.
    lifted = by_hand().photos(PLANE[1:])
    rest = math.sqrt(1.25 - 0.5 - 0.0625)
    np.testing.assert_allclose(lifted.rows, np.array([[0.5, 0.5, -0.25, rest]]) / math.sqrt(1.25), atol=1e-6)
    assert (lifted.clusters.tolist(), lifted.levels.tolist()) == ([[0]], [0.5])

    # A sketch half-way between the axes: q . v - h level = 0.7071 - 0.25.
    queries = by_hand().queries(normalise(np.array([[1.0, 1.0]])))
    np.testing.assert_allclose(queries, [[0.5, 0.5, math.sqrt(0.5), 0.0]], atol=1e-6)
    scores = by_hand().scores(queries @ lifted.rows.T)
    assert scores.item() == pytest.approx(math.sqrt(0.5) - 0.25, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    photos=st.integers(4, 60),
    dim=st.integers(3, 24),
    n_clusters=st.integers(1, 12),
    weight=st.sampled_from([0.3, 0.8, 0.95]),
)
def test_cosines_of_lifted_vectors_rank_as_the_linear_system(seed, photos, dim, n_clusters, weight):
    gallery, queries, training = random_world(seed, photos, dim)
    matching = fit_lifted(gallery, training, LiftedOptions(n_clusters, weight))
    rows, lifted = matching.photos(gallery).rows, matching.queries(queries)

    for vectors in (rows, lifted):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    scores = matching.scores(lifted @ rows.T)
    exact = linear_system(training, n_clusters, weight).scores(queries, gallery)
    np.testing.assert_allclose(scores, exact, atol=2e-6)
    for found, wanted in zip(scores, exact, strict=True):
        # Photos change places only with photos whose scores tie.
        order = np.argsort(-found, kind="stable")
        assert (np.diff(wanted[order]) <= 4e-6).all()


def test_no_photo_is_too_long_for_the_radius_also_one_that_joins_later():
    gallery, _, training = random_world(0, 50, 6)
    matching = fit_lifted(gallery, training, LiftedOptions(5, 0.0))
    # Its own training sketch is as near to the sketches as a photo can be.
    aligned = matching.sketches[:1].astype(np.float64)
    back = normalise(aligned @ matching.alignment.projection.T + matching.alignment.photo_mean)
    for joined in (back, random_world(1, 500, 6)[0]):
        rows = matching.photos(joined).rows
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    extreme = by_hand(0.5, 1.0).photos(PLANE[:1])  # |v| = level = 1: nothing is left for the last axis
    np.testing.assert_allclose(extreme.rows, [[math.sqrt(0.5), 0.0, -math.sqrt(0.5), 0.0]], atol=1e-6)


def test_a_photo_is_lifted_alone_as_among_many():
    gallery, _, training = random_world(3, 9000, 12)
    matching = fit_lifted(gallery, training, LiftedOptions(20))
    whole = matching.photos(gallery)
    for row in (0, 4095, 4096, 8999):
        alone = matching.photos(gallery[row : row + 1])
        np.testing.assert_allclose(alone.rows[0], whole.rows[row], atol=1e-6)
        np.testing.assert_array_equal(alone.clusters[0], whole.clusters[row])
    none = matching.photos(gallery[:0])
    assert (none.rows.shape, none.clusters.shape, none.levels.shape) == ((0, matching.dim), (0, 5), (0,))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weight": 1.0}, "cluster weight is 1.0"),
        ({"weight": -0.1}, "cluster weight is -0.1"),
        ({"weight": math.nan}, "cluster weight is nan"),
        ({"level_weight": 1.5}, "level_weight"),
        ({"share": -1.0}, "share"),
        ({"tables": ()}, "no clustering"),
        ({"tables": (np.eye(3, dtype=np.float32),)}, r"tables\[0\]"),
        ({"tables": (PLANE[:0],)}, r"tables\[0\]"),
        ({"tables": (2 * PLANE,)}, "unit"),
        ({"sketches": PLANE[:0]}, "sketches"),
        ({"sketches": np.eye(3, dtype=np.float32)}, "sketches"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, says):
    parts = {
        "alignment": ModalityAlignment(np.zeros(2), np.zeros(2)),
        "tables": (PLANE,),
        "weight": 0.8,
        "sketches": PLANE,
    }
    with pytest.raises(InvalidValue, match=says):
        LiftedMatching(**parts | change)


def test_vectors_of_another_length_are_refused():
    for use in (by_hand().queries, by_hand().photos):
        with pytest.raises(InvalidValue, match="3 dimensions"):
            use(np.eye(3, dtype=np.float32))


def test_it_tells_what_it_is_in_a_few_words():
    assert by_hand().name == "linear: 2 directions, 1 clusterings of 1, weight 0.5, levelled 0.5"
