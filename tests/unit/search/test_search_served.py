"""What a search needs to know of a version: queries, weight, parts."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue, MatchingError
from sbka_milvus.search import SearchOptions
from sbka_milvus.search.served import Served, find_matching, only
from sbka_milvus.types import Candidates, ClusterTable, FloatArray, IntArray, ScoreParts, VersionInfo

TABLE = ClusterTable(np.eye(2, dtype=np.float32), np.array([1, 1]), np.zeros(2, np.float32), ((), ()))
FOUND = Candidates(np.array([7, 5]), ("a", "b"), np.array([1, 0]), np.float32([0.9, 0.4]))


class Doubled:
    """Lifts by writing a vector twice; tells each photo's id as its level."""

    name = "doubled"
    cluster_weight = 0.6

    def queries(self, vectors: FloatArray) -> FloatArray:
        return np.asarray(np.hstack([vectors, vectors]) / np.float32(np.sqrt(2)), dtype=np.float32)

    def parts(self, query: FloatArray, ids: IntArray, cosines: FloatArray) -> ScoreParts:
        return ScoreParts(2 * cosines, cosines, cosines, ids.astype(np.float32), self.cluster_weight)


def served(matching: Doubled | None = None) -> Served:
    info = VersionInfo("cats", 3, "model-1", 2, 2, "t3", "digest" if matching else "")
    return Served(info, TABLE, matching)


class TestWeight:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [(SearchOptions(), 0.8), (SearchOptions(None, 0.3), 0.3), (SearchOptions(None, None, 0.5), 0.5),
         (SearchOptions(None, 0.0), 0.0)],
    )  # fmt: skip
    def test_without_a_matching_it_is_that_of_the_options(self, options, expected):
        assert served().fusion_weight(options) == expected

    @pytest.mark.parametrize("options", [SearchOptions(), SearchOptions(None, 0.6), SearchOptions(None, None, 0.1)])
    def test_with_one_nothing_is_added_to_what_lies_in_the_vectors(self, options):
        assert served(Doubled()).fusion_weight(options) == 0.0

    def test_another_one_than_lies_in_the_vectors_is_refused(self):
        with pytest.raises(
            InvalidValue, match=r"Version 3 of the gallery 'cats' has the cluster weight 0.6.*0.8.*fused"
        ):
            served(Doubled()).fusion_weight(SearchOptions(None, 0.8))

    @pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
    def test_one_out_of_range_is_refused(self, weight):
        for options in ({"cluster_weight": weight}, {"default_weight": weight}):
            with pytest.raises(InvalidValue, match="cluster weight"):
                SearchOptions(**options)


def test_queries_are_lifted_where_the_vectors_were():
    assert served().queries(FOUND.member_scores) is FOUND.member_scores
    np.testing.assert_allclose(served(Doubled()).queries(np.eye(2, dtype=np.float32))[0], [0.5**0.5, 0, 0.5**0.5, 0])


def test_parts_are_told_by_the_matching_or_by_the_clusters():
    scores, fused = np.float32([0.1, 0.2]), np.float32([0.5, 0.3])
    plain = served().parts(np.float32([1, 0]), FOUND, fused, scores, 0.25)
    np.testing.assert_array_equal(plain.scores, fused)
    np.testing.assert_array_equal(plain.cluster_scores, np.float32([0.2, 0.1]))
    np.testing.assert_array_equal(plain.member_scores, FOUND.member_scores)
    assert (plain.levels.tolist(), plain.cluster_weight) == ([0, 0], 0.25)
    lifted = served(Doubled()).parts(np.float32([1, 0]), FOUND, fused, scores, 0.0)
    assert (lifted.levels.tolist(), lifted.cluster_weight) == ([7, 5], 0.6)


class TestFinding:
    LIFTED = VersionInfo("cats", 3, "model-1", 4, 2, "t3", "digest")
    PLAIN = VersionInfo("cats", 2, "model-1", 2, 2, "t2")

    def test_it_is_looked_for_where_the_version_names_one(self):
        asked = []
        matching = Doubled()
        assert find_matching(self.LIFTED, lambda info: asked.append(info) or matching) is matching
        assert find_matching(self.PLAIN, lambda info: asked.append(info) or matching) is None
        assert asked == [self.LIFTED]
        assert find_matching(self.PLAIN, None) is None

    @pytest.mark.parametrize("finder", [None, lambda info: None])
    def test_without_it_the_version_is_refused_with_the_way_out(self, finder):
        with pytest.raises(MatchingError, match=r"Version 3 of the gallery 'cats'.*Open the gallery from its folder"):
            find_matching(self.LIFTED, finder)


def test_some_candidates_in_another_order():
    turned = only(FOUND, np.array([1, 0]))
    assert (turned.ids.tolist(), turned.uris, turned.cluster_ids.tolist()) == ([5, 7], ("b", "a"), [0, 1])
    assert len(only(FOUND, np.array([], dtype=np.int64))) == 0
