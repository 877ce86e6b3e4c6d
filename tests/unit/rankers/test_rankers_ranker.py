"""Scores into positions, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import rank_one_to_one
from sbka_milvus.rankers import Plain, rank_positions
from sbka_milvus.rankers.ranker import dot_scores, moved, require_at_least, require_share


def test_positions_are_those_of_an_evaluation(world):
    found = rank_positions(Plain().scores(world.queries, world.gallery))
    assert np.array_equal(found, rank_one_to_one(world.queries, world.gallery))


def test_equal_photos_tie_by_index_wherever_they_stand(world):
    gallery = np.tile(world.gallery[:3], (57, 1))
    order = rank_positions(Plain().scores(world.queries, gallery))
    for row in order:
        same = row[1:] % 3 == row[:-1] % 3
        assert same.sum() == 168
        assert (row[1:][same] > row[:-1][same]).all()


def test_no_rank_for_what_is_no_number():
    with pytest.raises(InvalidValue, match="not finite"):
        rank_positions(np.array([[0.0, np.nan]], dtype=np.float32))
    with pytest.raises(InvalidValue, match="float32 of shape"):
        rank_positions(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("queries", "gallery", "complaint"),
    [
        (np.eye(2, dtype=np.float32), np.eye(3, dtype=np.float32), "queries have 2 dimensions where the gallery has 3"),
        (np.eye(2, dtype=np.float32) * 2, np.eye(2, dtype=np.float32), "queries must have rows of unit"),
        (np.eye(2, dtype=np.float32), np.eye(2), "gallery must be float32"),
        (np.eye(2, dtype=np.float32), np.empty((0, 2), np.float32), "holds no photo"),
    ],
)
def test_what_does_not_fit_is_refused(queries, gallery, complaint):
    with pytest.raises(InvalidValue, match=complaint):
        Plain().scores(queries, gallery)


def test_no_query_gives_no_scores():
    assert Plain().scores(np.empty((0, 2), np.float32), np.eye(2, dtype=np.float32)).shape == (0, 2)


def test_dot_products_are_summed_in_double_precision():
    many = np.full((1, 4_000_000), 0.1, dtype=np.float32)
    exact = 4_000_000 * float(np.float32(0.1)) ** 2
    assert dot_scores(many, many)[0, 0] == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_lie_between_zero_and_one(value):
    with pytest.raises(InvalidValue, match="weight is"):
        require_share(value, "weight")


def test_a_number_that_is_none_is_not_at_least_anything():
    with pytest.raises(InvalidValue, match="k is nan"):
        require_at_least(float("nan"), 1, "k")


def test_a_ranker_without_sketches_stays_where_it_is():
    plain = Plain()
    assert moved(plain, lambda vectors: -vectors) is plain
