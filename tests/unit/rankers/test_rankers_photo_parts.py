"""The parts of photos are found by id."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import LiftedPhotos, PhotoParts


def parts(ids: list[int]) -> PhotoParts:
    n = len(ids)
    clusters = np.arange(2 * n, dtype=np.int64).reshape(n, 2)
    lifted = LiftedPhotos(np.zeros((n, 4), np.float32), clusters, np.arange(n) / 10)
    return PhotoParts.of(np.array(ids, dtype=np.int64), lifted)


def test_photos_are_found_whatever_their_order():
    made = parts([7, 3, 5])
    assert made.ids.tolist() == [3, 5, 7]
    rows, known = made.rows(np.array([7, 4, 3, 99, -1]))
    assert known.tolist() == [True, False, True, False, False]
    assert made.clusters[rows[known]].tolist() == [[0, 1], [2, 3]]
    np.testing.assert_allclose(made.levels[rows[known]], [0.0, 0.1])


def test_of_no_photos_none_is_known():
    rows, known = parts([]).rows(np.array([1, 2]))
    assert (rows.shape, known.tolist()) == ((2,), [False, False])


@pytest.mark.parametrize(
    ("ids", "clusters", "levels"),
    [
        ([1, 2], np.zeros((1, 2)), np.zeros(2)),
        ([1, 2], np.zeros(2), np.zeros(2)),
        ([1, 2], np.zeros((2, 2)), np.zeros(3)),
        ([2, 1], np.zeros((2, 2)), np.zeros(2)),
        ([1, 1], np.zeros((2, 2)), np.zeros(2)),
    ],
)
def test_parts_that_do_not_fit_are_refused(ids, clusters, levels):
    with pytest.raises(InvalidValue):
        PhotoParts(np.array(ids, np.int64), clusters.astype(np.int32), levels.astype(np.float32))
