"""Directions above noise."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.spectrum import noise_edge, participation_ratio, principal_directions, signal_dimensions


def test_directions_by_hand():
    points = np.array([[3.0, 1], [-3, 1], [0, 2], [0, 0]])
    directions, variances = principal_directions(points)
    np.testing.assert_allclose(variances, [4.5, 0.5])
    np.testing.assert_allclose(directions, [[1, 0], [0, 1]], atol=1e-12)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_tall_and_wide_data_agree_with_their_covariance(shape):
    points = np.random.default_rng(0).normal(size=shape)
    directions, variances = principal_directions(points)
    rank = min(shape[0] - 1, shape[1])
    assert directions.shape == (shape[1], rank)
    np.testing.assert_allclose(directions.T @ directions, np.eye(rank), atol=1e-9)
    covariance = np.cov(points.T, bias=True)
    np.testing.assert_allclose(directions.T @ covariance @ directions, np.diag(variances), atol=1e-9)
    assert (np.diff(variances) <= 1e-12).all()
    assert variances.sum() == pytest.approx(np.trace(covariance))


@pytest.mark.parametrize("n", [100, 600])
def test_planted_directions_are_counted(n):
    rng = np.random.default_rng(1)
    signal = 3.0 * rng.normal(size=(n, 5)) @ np.linalg.qr(rng.normal(size=(200, 5)))[0].T
    points = signal + 0.5 * rng.normal(size=(n, 200))
    _, variances = principal_directions(points)
    assert signal_dimensions(variances, noise_edge(points)) == 5


def test_pure_noise_has_no_more_than_the_one_that_is_always_kept():
    points = np.random.default_rng(2).normal(size=(300, 40))
    assert signal_dimensions(principal_directions(points)[1], noise_edge(points)) == 1


def test_shuffling_keeps_each_column_and_so_the_edge_of_independent_ones():
    points = np.random.default_rng(3).normal(size=(2000, 10)) * np.arange(1, 11)
    assert noise_edge(points) == pytest.approx(principal_directions(points)[1][0], rel=0.1)
    assert noise_edge(points, seed=1) == noise_edge(points, seed=1)


def test_participation_of_uneven_directions():
    assert participation_ratio(np.array([3.0, 1.0])) == pytest.approx(1.6)
    with pytest.raises(InvalidValue, match="all the same"):
        participation_ratio(np.zeros(3))


def test_one_photo_has_no_spread():
    with pytest.raises(InvalidValue, match="no spread"):
        principal_directions(np.ones((1, 3)))
