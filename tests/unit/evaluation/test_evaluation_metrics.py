import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import average_precision_score

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import (
    average_precision,
    mean_average_precision,
    precision_at_k,
    rank_average_precision,
)

BY_HAND = [
    ([1, 1, 0, 0], 1.0),
    ([0, 0, 1, 1], (1 / 3 + 2 / 4) / 2),
    ([1, 0, 1, 0], (1 + 2 / 3) / 2),
    ([0, 1, 0, 1, 1], (1 / 2 + 2 / 4 + 3 / 5) / 3),
    ([0, 0, 0, 1], 1 / 4),
    ([1, 1, 1], 1.0),
]


def matrix(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=bool)


@pytest.mark.parametrize(("ranked", "expected"), BY_HAND)
def test_average_precision_of_cases_computed_by_hand(ranked, expected):
    assert average_precision(matrix(ranked)) == pytest.approx([expected])


def test_each_query_has_its_own_average_precision():
    ap = average_precision(matrix([1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]))
    assert ap == pytest.approx([5 / 6, 5 / 12, 1.0])
    assert ap.dtype == np.float64


def test_cut_off_divides_by_the_smaller_of_relevant_and_k():
    ranked = matrix([1, 0, 1, 0, 1, 1])
    assert average_precision(ranked, k=1) == pytest.approx([1.0])
    assert average_precision(ranked, k=3) == pytest.approx([(1 + 2 / 3) / 3])
    assert average_precision(ranked, k=5) == pytest.approx([(1 + 2 / 3 + 3 / 5) / 4])
    assert average_precision(ranked, k=99) == pytest.approx(average_precision(ranked))


def test_photos_that_were_never_found_count_against_a_short_ranking():
    found, nothing = [1, 0, 1], [0, 0, 0]
    assert average_precision(matrix(found, nothing), np.array([5, 2])) == pytest.approx([(1 + 2 / 3) / 5, 0.0])
    assert average_precision(matrix(found), np.array([5]), k=4) == pytest.approx([(1 + 2 / 3) / 4])


def test_a_ranking_of_no_photos_scores_zero():
    empty = np.zeros((2, 0), dtype=bool)
    assert average_precision(empty, np.array([1, 3])).tolist() == [0.0, 0.0]
    assert precision_at_k(empty, 5).tolist() == [0.0, 0.0]


def test_mean_average_precision_is_the_mean_over_queries():
    assert mean_average_precision(matrix([1, 0, 1, 0], [0, 0, 1, 1])) == pytest.approx((5 / 6 + 5 / 12) / 2)
    assert mean_average_precision(matrix([0, 1], [1, 0]), np.array([2, 2]), 1) == pytest.approx(0.5)


def test_precision_divides_by_k_also_where_fewer_photos_were_found():
    assert precision_at_k(matrix([1, 0, 1], [0, 0, 0]), 2).tolist() == [0.5, 0.0]
    assert precision_at_k(matrix([1, 0, 1]), 10) == pytest.approx([0.2])


def test_queries_without_a_relevant_photo_are_refused_by_number():
    with pytest.raises(InvalidValue, match="2 of 3 queries have no relevant photo"):
        average_precision(matrix([1, 0], [0, 0], [0, 0]))
    with pytest.raises(InvalidValue, match="1 of 1 queries"):
        average_precision(matrix([0, 0]), np.array([0]))


@pytest.mark.parametrize(
    ("relevant", "n_relevant", "k", "problem"),
    [
        (np.array([[1, 0]]), None, None, "must be bool"),
        (np.array([True, False]), None, None, r"shape \(Q, N\)"),
        (matrix([1, 0]), np.array([1, 1]), None, "n_relevant must be integer"),
        (matrix([1, 0]), np.array([1.0]), None, "n_relevant must be integer"),
        (matrix([1, 0], [1, 1]), np.array([1, 1]), None, "Query 1 found 2 relevant photos"),
        (matrix([1, 0]), None, 0, "cut-off k is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(relevant, n_relevant, k, problem):
    with pytest.raises(InvalidValue, match=problem):
        average_precision(relevant, n_relevant, k)


def test_precision_and_mean_refuse_what_they_cannot_use():
    with pytest.raises(InvalidValue, match="cut-off"):
        precision_at_k(matrix([1]), 0)
    with pytest.raises(InvalidValue, match="must be bool"):
        precision_at_k(np.array([[1]]), 1)
    with pytest.raises(InvalidValue, match="no query"):
        mean_average_precision(np.zeros((0, 4), dtype=bool))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=30)))
def test_average_precision_agrees_with_scikit_learn_where_no_scores_tie(relevant):
    relevant[:, -1] |= ~relevant.any(axis=1)
    scores = -np.arange(relevant.shape[1])
    expected = [average_precision_score(row, scores) for row in relevant]
    assert average_precision(relevant) == pytest.approx(expected)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(0, 5), st.integers(1, 15))
def test_cut_off_average_precision_agrees_with_the_definition(relevant, unfound, k):
    relevant[:, 0] = True
    n_relevant = relevant.sum(axis=1) + unfound
    for row, total, ap in zip(relevant, n_relevant, average_precision(relevant, n_relevant, k), strict=True):
        summed = sum(row[: i + 1].sum() / (i + 1) for i in range(min(k, len(row))) if row[i])
        assert ap == pytest.approx(summed / min(total, k))
        assert 0.0 <= ap <= 1.0


def test_interpolation_takes_the_best_precision_that_is_still_to_come():
    # Hits at 2, 3 and 8: 1/2, 2/3, 3/8; from the first on the best is 2/3.
    relevant = matrix([0, 1, 1, 0, 0, 0, 0, 1])
    assert average_precision(relevant, interpolated=True) == pytest.approx([(2 / 3 + 2 / 3 + 3 / 8) / 3])
    # Cut at 2, what comes later lifts nothing.
    assert average_precision(relevant, k=2, interpolated=True) == pytest.approx([1 / 2 / 2])


def test_the_lenient_form_divides_by_the_hits_that_it_found():
    relevant = matrix([1, 0, 1, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    assert average_precision(relevant, k=3, lenient=True) == pytest.approx([(1 + 2 / 3) / 2, 0.0])
    assert average_precision(relevant, k=3) == pytest.approx([(1 + 2 / 3) / 3, 0.0])
    with pytest.raises(InvalidValue, match="lenient average precision has no cut-off"):
        average_precision(relevant, lenient=True)


def test_ranks_alone_give_the_same():
    relevant = matrix([1, 0, 1, 0], [0, 0, 1, 1])
    from_ranks = rank_average_precision(np.array([[1, 3], [3, 4]]), np.array([2, 2]))
    assert from_ranks.tolist() == average_precision(relevant).tolist()


@settings(deadline=None, derandomize=True, max_examples=100)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20)), st.integers(0, 5), st.integers(1, 25))
def test_interpolation_and_lenience_never_lower_a_score(relevant, unfound, k):
    relevant[:, 0] = True
    counts = relevant.sum(axis=1) + unfound
    strict = average_precision(relevant, counts, k)
    assert (average_precision(relevant, counts, k, lenient=True) >= strict - 1e-12).all()
    assert (average_precision(relevant, counts, k, interpolated=True) >= strict - 1e-12).all()
    for lenient in (False, True):
        best = average_precision(relevant, counts, k, interpolated=True, lenient=lenient)
        assert ((best >= 0) & (best <= 1)).all()


@settings(deadline=None, derandomize=True, max_examples=100)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12)), st.data())
def test_moving_a_hit_up_never_lowers_a_score(relevant, data):
    relevant[:, -1] = True
    swap = data.draw(st.integers(0, relevant.shape[1] - 2))
    better = relevant.copy()
    better[:, [swap, -1]] = np.sort(better[:, [swap, -1]], axis=1)[:, ::-1]
    for options in ({}, {"interpolated": True}, {"k": 3}, {"k": 3, "interpolated": True}):
        assert (average_precision(better, **options) >= average_precision(relevant, **options) - 1e-12).all()
