import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.evaluation import pick_examples


def test_examples_of_a_case_computed_by_hand():
    values = np.array([0.9, 0.8, 0.1, 0.5, 0.2, 0.0])
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert pick_examples(values, labels, 2) == ([0, 3], [5, 2])


def test_a_query_is_not_both_best_and_worst():
    assert pick_examples(np.array([0.5]), np.array([0])) == ([0], [])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=20), st.integers(1, 5))
def test_each_kind_has_one_of_a_category_and_is_in_order(queries, n):
    values, labels = np.array([v for v, _ in queries]), np.array([c for _, c in queries])
    best, worst = pick_examples(values, labels, n)
    assert not set(best) & set(worst)
    for picked, sign in ((best, -1), (worst, 1)):
        assert len(picked) <= n
        assert len(set(labels[picked].tolist())) == len(picked)
        assert (np.diff(sign * values[picked]) >= 0).all()
    assert values[best[0]] == values.max()
