from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import average_precision_score

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import (
    average_precision,
    expected_random_average_precision,
    expected_random_precision_at_k,
    mean_average_precision,
    precision_at_k,
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


@pytest.mark.parametrize("n_gallery", [1, 2, 5, 7])
@pytest.mark.parametrize("k", [None, 1, 3, 9])
def test_chance_is_the_mean_over_every_ranking_there_is(n_gallery, k):
    for n_relevant in range(1, n_gallery + 1):
        places = list(combinations(range(n_gallery), n_relevant))
        rankings = np.zeros((len(places), n_gallery), dtype=bool)
        for ranking, place in zip(rankings, places, strict=True):
            ranking[list(place)] = True
        expected = expected_random_average_precision(n_relevant, n_gallery, k)
        assert float(expected) == pytest.approx(average_precision(rankings, k=k).mean())
        if k is not None:
            at_k = expected_random_precision_at_k(n_relevant, n_gallery, k)
            assert float(at_k) == pytest.approx(precision_at_k(rankings, k).mean())


def test_chance_agrees_with_a_simulation_of_the_benchmark_of_625_photos():
    rng = np.random.default_rng(7)
    ranking = np.zeros((2000, 625), dtype=bool)
    ranking[:, :25] = True
    simulated = average_precision(rng.permuted(ranking, axis=1))
    expected = float(expected_random_average_precision(25, 625))
    assert expected == pytest.approx(simulated.mean(), abs=4 * simulated.std() / np.sqrt(len(simulated)))
    assert expected == pytest.approx(((625 - 7.0157) * 24 / 624 + 7.0157) / 625, rel=1e-5)


def test_chance_keeps_the_shape_of_the_counts():
    counts = np.array([1, 2, 4])
    assert expected_random_average_precision(counts, 4)[-1] == pytest.approx(1.0)
    assert expected_random_precision_at_k(counts, 4, 2) == pytest.approx([0.25, 0.5, 1.0])
    assert expected_random_precision_at_k(counts, 4, 8) == pytest.approx([0.125, 0.25, 0.5])


@pytest.mark.parametrize("n_relevant", [0, 5, np.array([1, 0]), np.array([1.0])])
def test_chance_refuses_counts_out_of_range(n_relevant):
    with pytest.raises(InvalidValue, match="n_gallery, which is 4"):
        expected_random_average_precision(n_relevant, 4)
    with pytest.raises(InvalidValue, match="n_gallery, which is 4"):
        expected_random_precision_at_k(n_relevant, 4, 1)
