"""The protocols on cases computed by hand, against their definition written out, and against two libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import average_precision_score
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate, retrieval_precision

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import PROTOCOLS, hit_ranks, protocol_named
from sbka_milvus.evaluation.ranks import hits_within

PLAIN, SAKE, ZSE = (PROTOCOLS[name] for name in ("plain", "sake", "zse"))
MATRICES = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=15))
CUTS = st.integers(1, 20)


def ranks_of(*rows: list[int]) -> np.ndarray:
    return hit_ranks(np.array(rows, dtype=bool))


def voc(row: np.ndarray, n_relevant: int, k: int | None, lenient: bool) -> float:
    """The area under the precision-recall curve whose precision is the largest at that recall or any higher one."""
    cut = row[:k]
    hits = np.cumsum(cut)
    divisor = n_relevant if k is None else max(1, hits[-1]) if lenient else min(k, n_relevant)
    precision = hits / np.arange(1, len(cut) + 1)
    recall = hits / divisor
    area, before = 0.0, 0.0
    for rank in range(len(cut)):
        if recall[rank] > before:
            area += (recall[rank] - before) * max(precision[rank:])
            before = recall[rank]
    return area


class TestByHand:
    # Relevant at 1, 4, 5 of 6: precisions 1, 1/2, 3/5; interpolated 1, 3/5, 3/5.
    RANKS, RELEVANT = ranks_of([1, 0, 0, 1, 1, 0]), np.array([3])

    def test_average_precision_over_all_ranks(self):
        assert PLAIN.average_precision(self.RANKS, self.RELEVANT) == pytest.approx([(1 + 1 / 2 + 3 / 5) / 3])
        for protocol in (SAKE, ZSE):
            assert protocol.average_precision(self.RANKS, self.RELEVANT) == pytest.approx([(1 + 3 / 5 + 3 / 5) / 3])

    def test_strict_and_lenient_at_four(self):
        # Cut at 4 the hit at 5 is gone: precisions 1, 1/2 in both forms.
        for protocol in PROTOCOLS.values():
            strict = protocol.average_precision(self.RANKS, self.RELEVANT, 4)
            lenient = protocol.average_precision(self.RANKS, self.RELEVANT, 4, lenient=True)
            assert strict == pytest.approx([(1 + 1 / 2) / 3])
            assert lenient == pytest.approx([(1 + 1 / 2) / 2])

    def test_strict_at_two_divides_by_two(self):
        for protocol in PROTOCOLS.values():
            assert protocol.average_precision(self.RANKS, self.RELEVANT, 2) == pytest.approx([1 / 2])

    @pytest.mark.parametrize(
        ("k", "plain", "sake", "zse"), [(2, 1 / 2, 1 / 2, 1 / 2), (5, 3 / 5, 3 / 5, 1), (9, 3 / 9, 3 / 6, 1)]
    )
    def test_precision_divides_by_what_the_protocol_says(self, k, plain, sake, zse):
        for protocol, expected in ((PLAIN, plain), (SAKE, sake), (ZSE, zse)):
            assert protocol.precision(self.RANKS, k, self.RELEVANT, 6) == pytest.approx([expected])

    def test_averages_over_queries_and_over_categories(self):
        values, labels = np.array([0.9, 0.3, 0.6, 0.0]), np.array([2, 0, 0, 0])
        for protocol in (PLAIN, ZSE):
            assert protocol.mean(values, labels) == pytest.approx(1.8 / 4)
        assert SAKE.mean(values, labels) == pytest.approx((0.9 + 0.3) / 2)

    def test_they_are_described_as_the_papers_have_them(self):
        assert PLAIN.describe() == "AP not interpolated, mean over queries, P@K = hits / K"
        assert "then over categories, P@K = hits / min(K, gallery)" in SAKE.describe()
        assert ZSE.describe() == "AP interpolated as in VOC, mean over queries, P@K = hits / min(K, relevant)"


@settings(deadline=None, derandomize=True, max_examples=150)
@given(MATRICES, st.integers(0, 4), st.one_of(st.none(), CUTS), st.booleans())
def test_interpolated_average_precision_is_the_area_of_its_definition(relevant, unfound, k, lenient):
    relevant[:, -1] = True
    counts = relevant.sum(axis=1) + unfound
    lenient = lenient and k is not None
    found = ZSE.average_precision(hit_ranks(relevant), counts, k, lenient=lenient)
    assert found == pytest.approx([voc(row, n, k, lenient) for row, n in zip(relevant, counts, strict=True)])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(MATRICES)
def test_average_precision_agrees_with_scikit_learn_and_torchmetrics(relevant):
    relevant[:, -1] = True
    scores = np.arange(relevant.shape[1], 0, -1, dtype=np.float32)
    found = PLAIN.average_precision(hit_ranks(relevant), relevant.sum(axis=1))
    assert found == pytest.approx([average_precision_score(row, scores) for row in relevant])
    by_torch = [float(retrieval_average_precision(torch.tensor(scores), torch.tensor(row))) for row in relevant]
    assert found == pytest.approx(by_torch, abs=1e-6)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(MATRICES, CUTS)
def test_lenient_average_precision_at_k_is_that_of_torchmetrics(relevant, k):
    relevant[:, -1] = True
    scores = torch.arange(relevant.shape[1], 0, -1, dtype=torch.float32)
    found = PLAIN.average_precision(hit_ranks(relevant), relevant.sum(axis=1), k, lenient=True)
    by_torch = [float(retrieval_average_precision(scores, torch.tensor(row), top_k=k)) for row in relevant]
    assert found == pytest.approx(by_torch, abs=1e-6)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(MATRICES, CUTS)
def test_precision_is_that_of_torchmetrics_with_and_without_a_limit_at_the_gallery(relevant, k):
    relevant[:, -1] = True
    n_photos = relevant.shape[1]
    ranks, counts = hit_ranks(relevant), relevant.sum(axis=1)
    scores = torch.arange(n_photos, 0, -1, dtype=torch.float32)
    for protocol, adaptive in ((PLAIN, False), (SAKE, True)):
        by_torch = [
            float(retrieval_precision(scores, torch.tensor(row), top_k=k, adaptive_k=adaptive)) for row in relevant
        ]
        assert protocol.precision(ranks, k, counts, n_photos) == pytest.approx(by_torch, abs=1e-6)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(MATRICES, CUTS)
def test_any_hit_within_k_is_the_hit_rate_of_torchmetrics(relevant, k):
    relevant[:, -1] = True
    scores = torch.arange(relevant.shape[1], 0, -1, dtype=torch.float32)
    by_torch = [float(retrieval_hit_rate(scores, torch.tensor(row), top_k=k)) for row in relevant]
    assert (hits_within(hit_ranks(relevant), k) > 0).astype(float).tolist() == by_torch


@settings(deadline=None, derandomize=True, max_examples=60)
@given(MATRICES, CUTS)
def test_the_protocols_precisions_are_in_order_and_in_range(relevant, k):
    relevant[:, 0] = True
    ranks, counts = hit_ranks(relevant), relevant.sum(axis=1)
    plain, sake, zse = (p.precision(ranks, k, counts, relevant.shape[1]) for p in (PLAIN, SAKE, ZSE))
    assert (plain <= sake).all()
    assert (sake <= zse).all()
    assert ((plain > 0) & (zse <= 1)).all()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30))
def test_averages_agree_where_categories_are_of_one_size(queries):
    values = np.repeat([value for value, _ in queries], 2)
    labels = np.repeat(np.arange(len(queries)), 2)
    assert SAKE.mean(values, labels) == pytest.approx(PLAIN.mean(values, labels))
    by_category = np.array([label for _, label in queries])
    figures = np.array([value for value, _ in queries])
    expected = np.mean([figures[by_category == label].mean() for label in set(by_category.tolist())])
    assert SAKE.mean(figures, by_category) == pytest.approx(expected)


def test_protocols_are_known_by_name():
    assert protocol_named("sake") is SAKE
    with pytest.raises(InvalidValue, match=r"'voc' is not known\. Known are: plain, sake, zse"):
        protocol_named("voc")


def test_an_average_of_nothing_is_refused():
    with pytest.raises(InvalidValue, match="0 figures of queries"):
        PLAIN.mean(np.zeros(0), np.zeros(0, dtype=np.int64))
    with pytest.raises(InvalidValue, match="2 figures of queries and 1 categories"):
        SAKE.mean(np.zeros(2), np.zeros(1, dtype=np.int64))
