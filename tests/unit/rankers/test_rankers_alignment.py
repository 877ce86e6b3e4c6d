"""Means removed, noise left out, scales flattened."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import AlignedRanker, AlignmentOptions, ModalityAlignment, Plain, mean_of
from sbka_milvus.rankers.spectrum import principal_directions
from sbka_milvus.types import normalise


def test_none_changes_nothing(world):
    alignment = ModalityAlignment.fit(world.gallery, mean_of(world.training), AlignmentOptions("none"))
    np.testing.assert_allclose(alignment.photos(world.gallery), world.gallery, atol=1e-7)
    np.testing.assert_allclose(alignment.sketches(world.queries), world.queries, atol=1e-7)
    assert alignment.dims == 256


def test_each_modality_loses_its_own_mean(world):
    mean = mean_of(world.training)
    alignment = ModalityAlignment.fit(world.gallery, mean, AlignmentOptions("means"))
    np.testing.assert_allclose(
        alignment.photos(world.gallery), normalise(world.gallery - world.gallery.mean(0)), atol=1e-5
    )
    np.testing.assert_allclose(alignment.sketches(world.queries), normalise(world.queries - mean), atol=1e-5)


@pytest.mark.parametrize(("power", "expected"), [(0.0, 1.0), (0.25, 0.5), (0.5, 0.0)])
def test_power_flattens_the_variances(world, power, expected):
    """Log of the variances along the kept directions shrinks by 1 - 2 power."""
    fitted = ModalityAlignment.fit(world.gallery, mean_of(world.training), AlignmentOptions("projected", 6, power))
    moved = (world.gallery - fitted.photo_mean) @ fitted.projection
    before = principal_directions(world.gallery)[1][:6]
    np.testing.assert_allclose(np.log(moved.var(axis=0)), expected * np.log(before), atol=1e-6)


def test_dims_by_themselves_are_about_the_number_of_planted_directions(world):
    strict = AlignmentOptions(margin=1.25)
    assert 5 <= ModalityAlignment.fit(world.gallery, mean_of(world.training), strict).dims <= 12


def test_more_dims_than_the_gallery_has_are_cut_and_rows_stay_unit(world):
    few = world.gallery[:4]
    alignment = ModalityAlignment.fit(few, mean_of(world.training), AlignmentOptions("projected", 50, 0.5))
    assert alignment.dims == 3
    np.testing.assert_allclose(np.linalg.norm(alignment.sketches(world.queries), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("form", ["means", "projected"])
def test_photos_that_are_all_the_same_still_have_a_direction(form):
    gallery = np.tile(np.eye(1, 5, dtype=np.float32), (6, 1))
    aligned = ModalityAlignment.fit(gallery, np.zeros(5), AlignmentOptions(form)).photos(gallery)
    np.testing.assert_allclose(np.linalg.norm(aligned, axis=1), 1, atol=1e-6)
    assert (aligned == aligned[0]).all()


def test_alignment_helps_where_modalities_lie_apart(world):
    scores = {}
    for form in ("none", "projected"):
        ranker = AlignedRanker(Plain(), AlignmentOptions(form), mean_of(world.training))
        scores[form] = world.average_precision(ranker.scores(world.queries, world.gallery))
    assert scores["none"] < scores["projected"]


def test_transductive_takes_the_mean_of_the_queries_and_says_so(world):
    ranker = AlignedRanker(Plain(), AlignmentOptions("means"))
    given = AlignedRanker(Plain(), AlignmentOptions("means"), mean_of(world.queries))
    assert ranker.name == "means transductive | one-to-one"
    assert given.name == "means | one-to-one"
    np.testing.assert_array_equal(
        ranker.scores(world.queries, world.gallery), given.scores(world.queries, world.gallery)
    )


def test_bad_values_are_refused(world):
    for bad in ({"form": "all"}, {"dims": 0}, {"power": 2.0}, {"margin": -1.0}):
        with pytest.raises(InvalidValue):
            AlignmentOptions(**bad)
    with pytest.raises(InvalidValue, match="does not fit 256 dimensions"):
        ModalityAlignment.fit(world.gallery, np.zeros(3))
    with pytest.raises(InvalidValue, match="holds no photo"):
        ModalityAlignment.fit(world.gallery[:0], np.zeros(256))
    with pytest.raises(InvalidValue, match="do not fit an alignment of 256"):
        ModalityAlignment.fit(world.gallery, np.zeros(256)).photos(np.eye(3, dtype=np.float32))
    with pytest.raises(InvalidValue, match="does not fit a sketch mean"):
        ModalityAlignment(np.zeros(3), np.zeros(2))
    with pytest.raises(InvalidValue, match="projection of shape"):
        ModalityAlignment(np.zeros(3), np.zeros(3), np.zeros((2, 1)))
    with pytest.raises(InvalidValue, match="mean of no vectors"):
        mean_of(world.gallery[:0])
