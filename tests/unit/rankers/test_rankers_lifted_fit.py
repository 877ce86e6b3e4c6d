"""What is fitted ranks as the linear system, and a large gallery needs no large sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import AlignmentOptions, LiftedOptions, fit_lifted, linear_system
from sbka_milvus.rankers.spectrum import STRICT_MARGIN
from sbka_milvus.types import normalise


def ranked(world, options: LiftedOptions) -> np.ndarray:
    matching = fit_lifted(world.gallery, world.training, options)
    return matching.scores(matching.queries(world.queries) @ matching.photos(world.gallery).rows.T)


@pytest.mark.parametrize(("n_clusters", "weight"), [(10, 0.8), (10, 0.3), (400, 0.95), (1, 0.8)])
def test_scores_are_those_of_the_linear_system(world, n_clusters, weight):
    exact = linear_system(world.training, n_clusters, weight).scores(world.queries, world.gallery)
    np.testing.assert_allclose(ranked(world, LiftedOptions(n_clusters, weight)), exact, atol=2e-6)


def test_plain_ranking_has_the_narrower_projection(world):
    strict = AlignmentOptions(margin=STRICT_MARGIN)
    exact = linear_system(world.training, 10, 0.0, strict).scores(world.queries, world.gallery)
    np.testing.assert_allclose(ranked(world, LiftedOptions(10, 0.0)), exact, atol=2e-6)


def test_it_beats_ranking_by_the_vectors_as_they_are(world):
    plain = world.average_precision(world.queries @ world.gallery.T)
    assert world.average_precision(ranked(world, LiftedOptions(10))) > plain + 0.1


def test_of_a_larger_gallery_the_projection_is_fitted_on_a_sample_and_the_mean_on_all(world):
    whole = fit_lifted(world.gallery, world.training, LiftedOptions(10))
    sampled = fit_lifted(world.gallery, world.training, LiftedOptions(10, most_sampled=100))
    np.testing.assert_array_equal(sampled.alignment.photo_mean, whole.alignment.photo_mean)
    assert sampled.alignment.projection.shape != whole.alignment.projection.shape or not np.allclose(
        sampled.alignment.projection, whole.alignment.projection
    )
    worth = world.average_precision(ranked(world, LiftedOptions(10, most_sampled=100)))
    assert worth > world.average_precision(ranked(world, LiftedOptions(10))) - 0.1


def test_the_same_gallery_and_seed_give_the_same_and_another_seed_another(world):
    one, same = (fit_lifted(world.gallery, world.training, LiftedOptions(10)) for _ in range(2))
    for table, other in zip(one.tables, same.tables, strict=True):
        np.testing.assert_array_equal(table, other)
    other = fit_lifted(world.gallery, world.training, replace(LiftedOptions(10), seed=9))
    assert not all(np.allclose(*pair) for pair in zip(one.tables, other.tables, strict=True))


def test_photos_that_coincide_can_be_matched():
    gallery = normalise(np.ones((5, 4)))
    matching = fit_lifted(gallery, gallery[:1], LiftedOptions(2))
    scores = matching.scores(matching.queries(gallery[:1]) @ matching.photos(gallery).rows.T)
    assert np.ptp(scores) < 1e-6


def test_what_cannot_be_fitted_is_refused(world):
    with pytest.raises(InvalidValue, match="1 photo"):
        fit_lifted(world.gallery[:1], world.training, LiftedOptions(1))
    with pytest.raises(InvalidValue, match="no vectors"):
        fit_lifted(world.gallery, world.training[:0], LiftedOptions(1))
    for wrong in ({"n_clusters": 0}, {"n_clusters": 2, "weight": 1.5}, {"n_clusters": 2, "most_sampled": 1}):
        with pytest.raises(InvalidValue):
            LiftedOptions(**wrong)
