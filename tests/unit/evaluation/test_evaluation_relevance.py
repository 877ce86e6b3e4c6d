import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import (
    answerable,
    count_labels,
    label_rankings,
    relevance_blocks,
    relevance_matrix,
    relevant_counts,
)


def test_categories_without_a_photo_are_counted_as_zero():
    counts = count_labels(np.array([0, 2, 2, 0, 2]), 4)
    assert counts.tolist() == [2, 0, 3, 0]
    assert counts.dtype == np.int64
    assert count_labels(np.array([], dtype=np.int64), 2).tolist() == [0, 0]


def test_queries_of_an_absent_category_are_not_answerable():
    counts = np.array([2, 0, 3])
    assert relevant_counts(np.array([2, 1, 0, 2]), counts).tolist() == [3, 0, 2, 3]
    assert answerable(np.array([2, 1, 0, 2]), counts).tolist() == [True, False, True, True]


@pytest.mark.parametrize("labels", [np.array([0, 4]), np.array([-1])])
def test_labels_outside_the_categories_are_refused(labels):
    with pytest.raises(InvalidValue, match="labels run from"):
        count_labels(labels, 4)
    with pytest.raises(InvalidValue, match="query_labels run from"):
        relevant_counts(labels, np.zeros(4, dtype=np.int64))


def test_labels_that_are_no_row_of_whole_numbers_are_refused():
    with pytest.raises(InvalidValue, match="labels must be integer of one dimension, not float64"):
        count_labels(np.array([0.0]), 4)
    with pytest.raises(InvalidValue, match="gallery_label_counts"):
        relevant_counts(np.array([0]), np.array([[1]]))


def test_ranked_positions_become_labels_and_padding_stays_padding():
    labels = np.array([5, 6, 7], dtype=np.int8)
    ranked = label_rankings(np.array([[2, 0, 1], [1, -1, -1]]), labels)
    assert ranked.tolist() == [[7, 5, 6], [6, -1, -1]]
    assert ranked.dtype == np.int8


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2, 3)])
def test_rankings_that_found_nothing_have_no_labels(shape):
    ranked = label_rankings(np.full(shape, -1), np.array([], dtype=np.int64))
    assert ranked.shape == shape
    assert (ranked == -1).all()


def test_unsigned_labels_have_room_for_the_padding():
    assert label_rankings(np.array([[0, -1]]), np.array([255], dtype=np.uint8)).tolist() == [[255, -1]]


@pytest.mark.parametrize("position", [-2, 3])
def test_positions_outside_the_gallery_are_refused(position):
    with pytest.raises(InvalidValue, match="in a gallery of 3 photos"):
        label_rankings(np.array([[0, position]]), np.array([5, 6, 7]))


def test_a_photo_is_relevant_where_its_category_is_the_querys():
    relevant = relevance_matrix(np.array([[0, 1, 0], [0, 1, -1]]), np.array([0, 1]))
    assert relevant.tolist() == [[True, False, True], [False, True, False]]
    assert relevant.dtype == np.bool_


def test_ragged_rankings_are_padded_with_what_is_not_relevant():
    relevant = relevance_matrix([[0, 0, 1], [], np.array([2], dtype=np.int32)], np.array([0, 1, 2]))
    assert relevant.tolist() == [[True, True, False], [False, False, False], [True, False, False]]


@pytest.mark.parametrize("ragged", [False, True])
def test_blocks_make_up_the_whole_matrix(ragged):
    rng = np.random.default_rng(3)
    ranked, queries = rng.integers(0, 4, (7, 9)), rng.integers(0, 4, 7)
    source = list(ranked) if ragged else ranked
    blocks = list(relevance_blocks(source, queries, block=3))
    assert [(part.start, part.stop) for part, _ in blocks] == [(0, 3), (3, 6), (6, 7)]
    assert np.array_equal(np.concatenate([relevant for _, relevant in blocks]), relevance_matrix(ranked, queries))


@pytest.mark.parametrize(
    ("ranked", "queries", "problem"),
    [
        (np.array([[0], [1]]), np.array([0]), "2 rankings for 1 queries"),
        (np.array([[0]]), np.array([-1]), "query_labels hold -1"),
        (np.array([[0.0]]), np.array([0]), "ranked_labels must be integer"),
        (np.array([0]), np.array([0]), "ranked_labels must be integer"),
        ([[0.5]], np.array([0]), "a row of ranked_labels must be integer"),
    ],
)
def test_rankings_that_do_not_fit_are_refused(ranked, queries, problem):
    with pytest.raises(InvalidValue, match=problem):
        relevance_matrix(ranked, queries)
