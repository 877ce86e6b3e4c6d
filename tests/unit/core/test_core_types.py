"""Value objects refuse a bad state, and ids and norms are what they are said to be."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import (
    Candidates,
    Clustering,
    ClusterTable,
    Embeddings,
    FloatArray,
    GalleryRows,
    Hit,
    SearchResult,
    normalise,
    photo_id,
    require_unit_rows,
)


def eye(n: int, dim: int = 4) -> FloatArray:
    return np.eye(dim, dtype=np.float32)[np.arange(n) % dim]


def table(sizes: list[int]) -> ClusterTable:
    k = len(sizes)
    return ClusterTable(eye(k), np.array(sizes, np.int64), np.zeros(k, np.float32), ((),) * k)


class TestPhotoId:
    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            ("cats/1.jpg", 2_212_983_099_238_095_709),
            ("/photos/caf\udce9.jpg", 152_810_008_949_650_324),
            ("", 8_238_016_292_129_134_938),
        ],
    )
    def test_it_is_the_same_in_every_process_and_release(self, uri, expected):
        assert photo_id(uri) == expected

    def test_it_fits_a_signed_64_bit_column(self):
        ids = [photo_id(f"photos/{number}.jpg") for number in range(2000)]
        assert min(ids) >= 0
        assert max(ids) < 2**63
        assert max(ids) >= 2**62  # all 63 bits are used
        assert len(set(ids)) == len(ids)

    def test_embeddings_know_the_ids_of_their_uris(self):
        embeddings = Embeddings(("a", "b"), eye(2))
        assert embeddings.ids.dtype == np.int64
        assert embeddings.ids.tolist() == [photo_id("a"), photo_id("b")]


class TestNormalise:
    def test_rows_get_unit_norm_and_keep_their_direction(self):
        vectors = np.random.default_rng(0).normal(size=(50, 7)) * 1e6
        unit = normalise(vectors)
        assert unit.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(unit * np.linalg.norm(vectors, axis=1, keepdims=True), vectors, rtol=1e-5)

    def test_one_vector_stays_one_vector(self):
        assert normalise(np.array([0.0, 2.0])).tolist() == [0.0, 1.0]

    def test_tiny_float32_vectors_do_not_vanish(self):
        tiny = np.full((1, 4), 1e-30, dtype=np.float32)
        np.testing.assert_allclose(normalise(tiny), 0.5)

    def test_no_rows_give_no_rows(self):
        assert normalise(np.empty((0, 3))).shape == (0, 3)

    @pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
    def test_what_has_no_direction_is_refused(self, bad):
        with pytest.raises(InvalidValue, match="no direction"):
            normalise(np.array([[1.0, 1.0], [bad, bad]]))


class TestUnitRows:
    @pytest.mark.parametrize(
        ("vectors", "complaint"),
        [
            (np.ones(3, np.float32), r"photos must be float32 of shape \(N, D\), not float32 of shape \(3,\)"),
            (np.eye(3), "not float64"),
            (np.eye(3, dtype=np.float32) * 1.01, "unit L2 norm"),
            (np.full((1, 4), np.nan, np.float32), "unit L2 norm"),
            (np.zeros((1, 4), np.float32), "unit L2 norm"),
        ],
    )
    def test_anything_else_is_refused_by_name(self, vectors, complaint):
        with pytest.raises(InvalidValue, match=complaint):
            require_unit_rows(vectors, "photos")

    def test_float16_precision_is_near_enough(self):
        vectors = normalise(np.random.default_rng(0).normal(size=(20, 512)))
        require_unit_rows(vectors.astype(np.float16).astype(np.float32), "photos")

    def test_no_rows_are_allowed(self):
        require_unit_rows(np.empty((0, 4), np.float32), "photos")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Embeddings(("a",), eye(2)), "uris has 1 entries where 2 are needed"),
        (lambda: Embeddings(("a", "a"), eye(2)), "uris must be distinct"),
        (lambda: Embeddings(("a",), eye(1) * 2), "vectors must have rows of unit L2 norm"),
        (lambda: ClusterTable(eye(2) * 2, np.ones(2, np.int64), np.zeros(2, np.float32), ((), ())), "centroids"),
        (lambda: ClusterTable(eye(2), np.ones(1, np.int64), np.zeros(2, np.float32), ((), ())), "sizes has 1"),
        (lambda: ClusterTable(eye(2), np.ones(2, np.int64), np.zeros(3, np.float32), ((), ())), "radii has 3"),
        (lambda: ClusterTable(eye(2), np.ones(2, np.int64), np.zeros(2, np.float32), ((),)), "exemplars has 1"),
        (lambda: Clustering(table([1, 1]), np.array([0, 2])), "a cluster that does not exist"),
        (lambda: Clustering(table([1, 1]), np.array([0, -1])), "a cluster that does not exist"),
        (lambda: Clustering(table([1, 1]), np.array([0, 0])), "sizes do not agree"),
        (lambda: GalleryRows(Embeddings(("a",), eye(1)), np.array([0, 1])), "cluster_ids has 2"),
        (lambda: Candidates(np.array([1]), (), np.array([0]), np.zeros(1, np.float32)), "uris has 0"),
        (lambda: Candidates(np.array([1]), ("a",), np.array([]), np.zeros(1, np.float32)), "cluster_ids has 0"),
        (lambda: Candidates(np.array([1]), ("a",), np.array([0]), np.zeros(2, np.float32)), "member_scores has 2"),
    ],
)
def test_a_bad_state_is_refused(make: Any, complaint: str):
    with pytest.raises(InvalidValue, match=complaint):
        make()


def test_value_objects_are_frozen():
    with pytest.raises(FrozenInstanceError):
        Embeddings(("a",), eye(1)).uris = ("b",)


def test_lengths_and_dimensions():
    embeddings = Embeddings(("a", "b"), eye(2))
    assert (len(embeddings), embeddings.dim) == (2, 4)
    assert len(GalleryRows(embeddings, np.array([0, 0]))) == 2
    assert len(table([1, 0, 2])) == 3
    assert len(Clustering(table([1, 0]), np.array([0])).assignments) == 1


def test_a_search_result_is_a_sequence_of_its_hits():
    hits = tuple(Hit(rank, 1.0 / rank, f"{rank}.jpg", rank, 0, 0.5, 0.5, 0.8) for rank in (1, 2, 3))
    result = SearchResult(hits, "cats", 4, (2, 0))

    assert len(result) == 3
    assert result[0] is hits[0]
    assert result[-1].rank == 3
    assert result[:2] == hits[:2]
    assert list(result) == list(hits)
    assert [hit.uri for hit in reversed(result)] == ["3.jpg", "2.jpg", "1.jpg"]
    assert hits[1] in result
    assert not SearchResult((), "cats", 4)
