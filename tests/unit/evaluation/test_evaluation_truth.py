import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import Truth

# Photos: ant 0, ant 1 (a double of 0), bee 2, cow 3. Queries: ant drawn from 0, cat (no photo), bee of no known photo.
TRUTH = Truth(
    names=("ant", "bee", "cow", "cat"),
    query_labels=np.array([0, 3, 1]),
    photo_labels=np.array([0, 0, 1, 2]),
    drawn=np.array([0, -1, -1]),
    numbers=np.array([0, 0, 1, 2]),
    counted=np.ones(4, dtype=bool),
)


def test_counts_of_a_case_computed_by_hand():
    assert TRUTH.photo_counts.tolist() == [2, 1, 1, 0]
    assert TRUTH.usable.tolist() == [True, False, True]
    assert TRUTH.labels.tolist() == [0, 1]
    assert TRUTH.n_relevant.tolist() == [2, 1]
    assert TRUTH.n_drawn.tolist() == [2, 0]
    assert TRUTH.n_gallery == 4


def test_without_its_doubles_the_gallery_counts_less():
    once = TRUTH.without(np.array([False, True, False, False]))
    assert once.photo_counts.tolist() == [1, 1, 1, 0]
    assert once.n_relevant.tolist() == [1, 1]
    assert once.n_drawn.tolist() == [1, 0]
    assert once.n_gallery == 3
    assert TRUTH.n_gallery == 4


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("drawn", np.array([0]), "1 photos were drawn by 3 queries"),
        ("numbers", np.array([0]), "Not each of the 4 photos"),
        ("counted", np.ones(3, dtype=bool), "Not each of the 4 photos"),
        ("names", ("ant", "ant", "cow", "cat"), "Two categories have one name"),
    ],
)
def test_labels_that_do_not_fit_are_refused(field, value, problem):
    fields = {name: getattr(TRUTH, name) for name in Truth.__dataclass_fields__}
    with pytest.raises(InvalidValue, match=problem):
        Truth(**{**fields, field: value})
