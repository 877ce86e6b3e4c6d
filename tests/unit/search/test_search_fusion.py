"""The fused score and the order it gives, on cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search import fuse_scores, rerank
from sbka_milvus.types import Candidates


def candidates(ids: list[int], clusters: list[int], scores: list[float]) -> Candidates:
    uris = tuple(f"{number}.jpg" for number in ids)
    return Candidates(np.array(ids, np.int64), uris, np.array(clusters, np.int64), np.float32(scores))


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, [0.9, 0.1]), (1.0, [0.2, 0.8]), (0.8, [0.34, 0.66]), (0.25, [0.725, 0.275])]
)
def test_the_fused_score_is_the_weighted_mean(weight, expected):
    fused = fuse_scores(np.float32([0.2, 0.8]), np.float32([0.9, 0.1]), weight)
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused, expected, atol=1e-6)


@pytest.mark.parametrize("weight", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(InvalidValue, match=f"cluster weight is {weight}"):
        fuse_scores(np.float32([0.2]), np.float32([0.9]), weight)


def test_scores_of_other_shapes_are_refused():
    with pytest.raises(InvalidValue, match=r"\(2,\) do not fit"):
        fuse_scores(np.zeros(2, np.float32), np.zeros(3, np.float32), 0.5)


class TestRerank:
    def test_a_good_cluster_lifts_its_photos(self):
        found = candidates([1, 2, 3], [0, 1, 1], [0.9, 0.8, 0.3])
        # 0.8 x 0.2 + 0.2 x 0.9 = 0.34;  0.8 x 0.7 + 0.2 x 0.8 = 0.72;  0.8 x 0.7 + 0.2 x 0.3 = 0.62
        order, fused = rerank(found, np.float32([0.2, 0.7]), 0.8)
        assert order.dtype == np.int64
        assert order.tolist() == [1, 2, 0]
        np.testing.assert_allclose(fused, [0.72, 0.62, 0.34], atol=1e-6)

    def test_weight_0_keeps_the_order_of_the_photos(self):
        found = candidates([1, 2, 3], [0, 1, 1], [0.9, 0.8, 0.3])
        assert rerank(found, np.float32([0.2, 0.7]), 0.0)[0].tolist() == [0, 1, 2]

    def test_ties_go_by_photo_id(self):
        found = candidates([7, 3, 5], [0, 0, 0], [0.5, 0.5, 0.5])
        assert rerank(found, np.float32([0.1]), 0.5)[0].tolist() == [1, 2, 0]

    def test_nothing_stays_nothing(self):
        order, fused = rerank(candidates([], [], []), np.float32([0.1]), 0.5)
        assert (len(order), len(fused)) == (0, 0)
