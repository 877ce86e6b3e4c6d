import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import hit_ranks
from sbka_milvus.evaluation.ranks import hit_precisions, hits_within

MATRICES = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12))


def test_ranks_of_a_case_computed_by_hand():
    ranks = hit_ranks(np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool))
    assert ranks.tolist() == [[2, 4, 0], [0, 0, 0], [1, 2, 3]]
    assert ranks.dtype == np.int64
    assert hits_within(ranks, None).tolist() == [2, 0, 3]
    assert hits_within(ranks, 2).tolist() == [1, 0, 2]


def test_precisions_of_a_case_computed_by_hand():
    ranks = np.array([[2, 3, 8], [1, 0, 0]])
    assert hit_precisions(ranks) == pytest.approx(np.array([[1 / 2, 2 / 3, 3 / 8], [1, 0, 0]]))
    assert hit_precisions(ranks, interpolated=True) == pytest.approx(np.array([[2 / 3, 2 / 3, 3 / 8], [1, 0, 0]]))
    assert hit_precisions(ranks, 2, interpolated=True) == pytest.approx(np.array([[1 / 2, 0, 0], [1, 0, 0]]))


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_nothing_has_no_hits(shape):
    ranks = hit_ranks(np.zeros(shape, dtype=bool))
    assert ranks.shape == (shape[0], 0)
    assert hit_precisions(ranks, interpolated=True).shape == (shape[0], 0)
    assert hits_within(ranks, 3).tolist() == [0] * shape[0]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(MATRICES)
def test_ranks_hold_all_of_a_relevance_matrix(relevant):
    ranks = hit_ranks(relevant)
    back = np.zeros_like(relevant)
    rows, columns = np.nonzero(ranks)
    back[rows, ranks[rows, columns] - 1] = True
    assert np.array_equal(back, relevant)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(MATRICES, st.one_of(st.none(), st.integers(1, 15)))
def test_interpolated_precision_falls_along_a_row_and_is_no_lower(relevant, k):
    ranks = hit_ranks(relevant)
    plain, best = hit_precisions(ranks, k), hit_precisions(ranks, k, interpolated=True)
    assert (best >= plain).all()
    assert (np.diff(best, axis=1) <= 0).all()


@pytest.mark.parametrize(
    ("relevant", "problem"),
    [(np.array([[1, 0]]), "must be bool"), (np.array([True]), r"shape \(Q, N\)")],
)
def test_what_is_no_relevance_matrix_is_refused(relevant, problem):
    with pytest.raises(InvalidValue, match=problem):
        hit_ranks(relevant)


def test_a_cut_off_below_one_is_refused():
    with pytest.raises(InvalidValue, match="cut-off k is 0"):
        hits_within(np.array([[1]]), 0)
