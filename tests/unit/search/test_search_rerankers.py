"""Re-rankers by hand, which of them is meant, and what becomes of one that fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue, RerankerError
from sbka_milvus.protocols import Reranker
from sbka_milvus.search import FusedReranker, NeighbourReranker, QuantisedReranker, SearchOptions
from sbka_milvus.search.rerankers import NAMES, FunctionReranker, as_reranker
from sbka_milvus.search.reranking import scores_of
from sbka_milvus.types import ClusterTable, FloatArray, IntArray, Shortlist, normalise

QUERY = np.float32([1, 0, 0, 0])


def table_of(centroids: FloatArray, sizes: list[int] | None = None) -> ClusterTable:
    k = len(centroids)
    counts = np.array(sizes or [3] * k, dtype=np.int64)
    return ClusterTable(centroids, counts, np.full(k, np.pi, np.float32), tuple(() for _ in range(k)))


def shortlist(vectors: FloatArray, scores: FloatArray, rows: IntArray | None = None) -> Shortlist:
    """Some photos, in the order of ``rows``."""
    rows = np.arange(len(scores)) if rows is None else rows
    zeros = np.zeros(len(rows), dtype=np.int64)
    uris = tuple(f"p/{row}.jpg" for row in rows)
    return Shortlist(rows.astype(np.int64), uris, zeros, vectors[rows], scores[rows], scores[rows], scores[rows])


FOUR = np.float32([[0.6, 0, 0.8, 0], [0.6, 0, 0, 0.8], [0, 0.6, 0.8, 0], [0, 0.6, 0, 0.8]])
TABLE = table_of(np.float32([[1, 0, 0, 0], [0, 0.6, 0.8, 0]]))


class TestByHand:
    def test_fused_says_what_the_search_said(self):
        scores = np.float32([0.9, 0.5, 0.5, 0.1])
        assert FusedReranker().scores(QUERY, shortlist(FOUR, scores), TABLE).tolist() == scores.tolist()

    def test_one_subspace_is_the_distance_to_the_cluster(self):
        """The centroids are photos 1 and 2, at squared distances of 0.8 and 2 from the query."""
        photos = shortlist(FOUR, np.zeros(4, np.float32))
        found = QuantisedReranker(1, weight=1.0).scores(QUERY, photos, table_of(FOUR[[1, 2]]))
        # 0 is nearer to 2 than to 1 (cosines 0.64 and 0.36), and 3 to 1.
        np.testing.assert_allclose(found, [-2.0, -0.8, -2.0, -0.8], atol=1e-6)

    def test_sub_codes_come_of_the_parts_of_the_centroids(self):
        """First halves: (1, 0) or (0, 0.6); second halves: (0, 0) or (0.8, 0)."""
        photos = shortlist(FOUR, np.zeros(4, np.float32))
        clusters = np.array([0.64, 0, 1.36 + 0.64, 1.36])
        plain = np.sqrt(np.array([0.16 + 0.64, 0.16 + 0.64, 1.36 + 0.64, 1.36 + 0.64]))
        found = QuantisedReranker(2).scores(QUERY, photos, TABLE)
        np.testing.assert_allclose(found, -(0.8 * clusters + 0.2 * plain), atol=1e-6)

    def test_clusters_without_photos_make_no_codewords(self):
        photos = shortlist(FOUR, np.zeros(4, np.float32))
        held = QuantisedReranker(2).scores(QUERY, photos, table_of(TABLE.centroids[:1]))
        assert np.array_equal(QuantisedReranker(2).scores(QUERY, photos, table_of(TABLE.centroids, [3, 0])), held)
        none = QuantisedReranker(2).scores(QUERY, photos, table_of(TABLE.centroids, [0, 0]))
        assert np.array_equal(none, QuantisedReranker(2).scores(QUERY, photos, TABLE))

    def test_neighbours_lift_one_another(self):
        """0 and 1 are each other's nearest, and so are 2 and 3: a poor one in good company passes a lonely good one."""
        vectors = normalise(np.array([[1, 0, 0, 0], [1, 0.1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0.2], [0, 1, 0, -1]]))
        scores = np.float32([0.9, 0.1, 0.4, 0.3, 0.49])
        found = NeighbourReranker(1, 0.8).scores(QUERY, shortlist(vectors, scores), TABLE)
        # The last one has a nearest neighbour, to which it is not the nearest.
        np.testing.assert_allclose(found, [0.58, 0.42, 0.36, 0.34, 0.49], atol=1e-6)
        assert found.dtype == np.float32

    def test_how_many_they_want(self):
        assert [FusedReranker().depth(k) for k in (1, 70)] == [1, 70]
        for reranker in (NeighbourReranker(), QuantisedReranker(), FunctionReranker(len)):
            assert [reranker.depth(k) for k in (1, 25, 26, 500)] == [100, 100, 104, 2000]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    n=st.integers(1, 40),
    name=st.sampled_from(NAMES),
    seed=st.integers(0, 2**31 - 1),
    copied=st.booleans(),
)
def test_the_order_of_the_candidates_does_not_matter(n, name, seed, copied):
    rng = np.random.default_rng(seed)
    vectors = normalise(rng.normal(size=(n, 6)))
    if copied:
        vectors = vectors[rng.integers(n, size=n)]
    scores = rng.uniform(-1, 1, size=n).astype(np.float32)
    query = normalise(rng.normal(size=6))
    table = table_of(normalise(rng.normal(size=(4, 6))))
    order = rng.permutation(n)
    found = scores_of(as_reranker(name), query, shortlist(vectors, scores), table)
    moved = scores_of(as_reranker(name), query, shortlist(vectors, scores, order), table)
    np.testing.assert_allclose(moved, found[order], atol=2e-6)


class TestChoice:
    @pytest.mark.parametrize("name", NAMES)
    def test_by_name(self, name):
        assert SearchOptions(reranker=name).chosen_reranker.name == name
        assert isinstance(as_reranker(name), Reranker)

    def test_by_object_and_by_function(self):
        one = NeighbourReranker(3, 0.5)
        assert as_reranker(one) is one

        def mine(query: Any, photos: Any, table: Any) -> Any:
            return photos.member_scores

        found = as_reranker(mine)
        assert isinstance(found, Reranker)
        assert found.name.endswith("mine")

        class Mine:
            def __call__(self, query: Any, photos: Any, table: Any) -> Any:
                return photos.member_scores

        assert as_reranker(Mine()).name.endswith("Mine")

    def test_no_re_ranker_is_none(self):
        assert SearchOptions().chosen_reranker is None
        assert SearchOptions().depth(7) == 7

    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            ("neighbors", "'neighbors'.*Choose one of: fused, neighbours, quantised"),
            ("", "Choose one of"),
            (7, "7 is no re-ranker"),
            (NeighbourReranker, "NeighbourReranker is a class.*Pass an object"),
        ],
    )
    def test_another_one_is_refused_with_the_choices(self, choice, said):
        with pytest.raises(InvalidValue, match=said):
            SearchOptions(reranker=choice)

    def test_depths(self):
        assert SearchOptions(reranker="neighbours").depth(10) == 100
        assert SearchOptions(reranker="neighbours", rerank_depth=30).depth(10) == 30
        with pytest.raises(InvalidValue, match="rerank_depth is 0"):
            SearchOptions(reranker="fused", rerank_depth=0)
        with pytest.raises(InvalidValue, match="rerank_depth is 9, and there is no re-ranker"):
            SearchOptions(rerank_depth=9)

    @pytest.mark.parametrize(
        "bad",
        [
            lambda: NeighbourReranker(0),
            lambda: NeighbourReranker(5, 1.1),
            lambda: QuantisedReranker(0),
            lambda: QuantisedReranker(2, float("nan")),
        ],
    )
    def test_numbers_out_of_range_are_refused(self, bad):
        with pytest.raises(InvalidValue):
            bad()


def fails(query: Any, photos: Any, table: Any) -> Any:
    raise KeyError("no such thing")


class TestFailures:
    PHOTOS = shortlist(FOUR, np.float32([0.4, 0.3, 0.2, 0.1]))

    def said(self, function: Any) -> str:
        with pytest.raises(RerankerError) as raised:
            scores_of(as_reranker(function), QUERY, self.PHOTOS, TABLE)
        assert as_reranker(function).name in str(raised.value)
        return str(raised.value)

    def test_one_that_raises_is_named_with_what_it_raised(self):
        assert "'fails' failed: KeyError: 'no such thing'" in self.said(fails)
        with pytest.raises(RerankerError) as raised:
            scores_of(as_reranker(fails), QUERY, self.PHOTOS, TABLE)
        assert isinstance(raised.value.__cause__, KeyError)

    def test_a_built_in_one_that_does_not_fit_says_why(self):
        assert "4 dimensions cannot be cut into 5" in self.said(QuantisedReranker(5))

    @pytest.mark.parametrize(
        "answer",
        [None, 1.0, [1, 2, 3], [[1], [2], [3], [4]], ["a", "b", "c", "d"], [1j, 2, 3, 4], [[1, 2], [3], [4], [5]]],
    )
    def test_scores_that_are_none_are_refused(self, answer):
        self.said(lambda query, photos, table: answer)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
    def test_scores_without_a_rank_are_refused_with_the_photo(self, value):
        assert "p/2.jpg" in self.said(lambda query, photos, table: [1.0, 2.0, value, 3.0])

    def test_numbers_of_any_kind_are_taken(self):
        for numbers in ([4, 3, 2, 1], np.array([4, 3, 2, 1], np.int8), np.float64([4, 3, 2, 1]), (4.0, 3.0, 2.0, 1.0)):
            found = scores_of(as_reranker(lambda *_, g=numbers: g), QUERY, self.PHOTOS, TABLE)
            assert found.dtype == np.float32
            assert found.tolist() == [4, 3, 2, 1]

    def test_a_depth_that_is_none_is_an_error_that_names_it(self):
        class Shallow:
            name = "shallow"

            def depth(self, k: int) -> Any:
                return "all"

            def scores(self, query: Any, photos: Any, table: Any) -> Any:
                return photos.scores

        options = SearchOptions(reranker=Shallow())
        with pytest.raises(RerankerError, match="'shallow' does not say how many"):
            options.depth(5)
        assert SearchOptions(reranker=Shallow(), rerank_depth=8).depth(5) == 8
