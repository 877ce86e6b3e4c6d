"""Search results get the confidence of the very version, and of the form of search, that made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.encoders.statistics import ModelStatistics, write_statistics
from sbka_milvus.errors import BundleError
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.pipelines.confidence import ConfidenceJudge
from sbka_milvus.rankers import LiftedOptions, PhotoParts, ServedMatching, fit_lifted
from sbka_milvus.rankers.logistic import Logistic
from sbka_milvus.rankers.served_confidence import ServedConfidence
from sbka_milvus.rankers.served_features import SERVED_FEATURES, SearchEvidence, served_features
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import (
    ClusterTable,
    Embeddings,
    FloatArray,
    GalleryRows,
    SearchResult,
    normalise,
)

N = len(SERVED_FEATURES)
EVERYTHING = SearchOptions(exact=True)


def confidence(seed: int = 0) -> ServedConfidence:
    weights = np.random.default_rng(seed).normal(size=N)
    return ServedConfidence(Logistic((0.0,) * N, (1.0,) * N, tuple(weights.tolist()), 0.5))


def rows(count: int, seed: int, dim: int = 8) -> FloatArray:
    return normalise(np.random.default_rng(seed).normal(size=(count, dim)))


class Gallery:
    """Forty photos in four clusters, served from memory."""

    def __init__(self) -> None:
        self.vectors = rows(40, 0)
        centroids = fit_centroids(self.vectors, 4)
        self.clusters = (self.vectors @ centroids.T).argmax(axis=1).astype(np.int64)
        sizes = np.bincount(self.clusters, minlength=4).astype(np.int64)
        self.table = ClusterTable(centroids, sizes, np.full(4, np.pi, np.float32), ((),) * 4)
        self.store = MemoryGalleryStore()
        info = self.store.create_version("cats", "model-1", self.table)
        names = tuple(f"{number}.jpg" for number in range(40))
        self.store.insert(info, GalleryRows(Embeddings(names, self.vectors), self.clusters))
        self.store.promote(info)

    def search(self, judge: Any = None, k: int = 10, options: SearchOptions = EVERYTHING) -> list[SearchResult]:
        return GallerySearcher(self.store, "cats").search(rows(3, 1), k, options, judge=judge)


@pytest.fixture
def gallery() -> Gallery:
    return Gallery()


@pytest.fixture
def judge() -> ConfidenceJudge:
    return ConfidenceJudge({"fused": confidence()}, rows(30, 2))


def test_the_confidence_is_that_of_the_features(gallery: Gallery, judge: ConfidenceJudge) -> None:
    plain, judged = gallery.search(), gallery.search(judge.judge)
    assert [replace(result, confidence=None) for result in judged] == plain
    queries, cohort = rows(3, 1), rows(30, 2)
    for query, result in zip(queries, judged, strict=True):
        evidence = SearchEvidence(
            (query @ gallery.table.centroids.T)[np.newaxis],
            np.array([[hit.score for hit in result]], dtype=np.float32),
            np.array([[hit.cluster_id for hit in result]]),
            (query @ cohort.T)[np.newaxis],
        )
        expected = confidence().probability(served_features(evidence))[0]
        assert result.confidence == pytest.approx(expected, abs=1e-5)
    assert len({result.confidence for result in judged}) == 3


def test_without_a_judge_there_is_none(gallery: Gallery) -> None:
    assert [result.confidence for result in gallery.search()] == [None] * 3


def test_more_hits_change_nothing(gallery: Gallery, judge: ConfidenceJudge) -> None:
    few, many = (gallery.search(judge.judge, k) for k in (10, 40))
    assert [one.confidence for one in few] == pytest.approx([other.confidence for other in many])


def test_scores_are_those_that_it_was_fitted_on_whatever_weight_is_asked_for(gallery: Gallery) -> None:
    fixed, asked = (gallery.search(k=40, options=SearchOptions(None, weight, exact=True)) for weight in (0.8, 0.3))
    judge = ConfidenceJudge({"fused": confidence()}, rows(30, 2))
    one, other = (judge.judge(rows(3, 1), gallery.table, results) for results in (fixed, asked))
    assert [result.confidence for result in one] == pytest.approx([result.confidence for result in other])


def test_a_result_without_hits_is_sure_that_there_is_none(gallery: Gallery, judge: ConfidenceJudge) -> None:
    empty = SearchResult((), "cats", 1)
    assert judge.judge(rows(1, 1), gallery.table, [empty])[0].confidence == 0.0


def test_where_vectors_are_of_another_length_nothing_is_said(gallery: Gallery, judge: ConfidenceJudge) -> None:
    results = gallery.search()
    lifted = replace(gallery.table, centroids=rows(4, 9, dim=5))
    assert {result.confidence for result in judge.judge(rows(3, 1), lifted, results)} == {None}
    other = ConfidenceJudge({"fused": confidence()}, rows(30, 2, dim=5))
    assert {result.confidence for result in other.judge(rows(3, 1), gallery.table, results)} == {None}


def test_each_version_has_its_own_clusters(gallery: Gallery, judge: ConfidenceJudge) -> None:
    results, queries = gallery.search(), rows(3, 1)
    other = replace(gallery.table, centroids=rows(4, 9))
    first, second, again = (judge.judge(queries, table, results) for table in (gallery.table, other, gallery.table))
    assert [one.confidence for one in first] == [one.confidence for one in again]
    assert [one.confidence for one in first] != [one.confidence for one in second]


def test_a_search_in_a_space_takes_the_confidence_of_its_form(gallery: Gallery) -> None:
    lifted = fit_lifted(gallery.vectors, rows(20, 3), LiftedOptions(4))
    photos = lifted.photos(gallery.vectors)
    matching = ServedMatching(lifted, PhotoParts.of(np.arange(len(photos.rows)), photos))
    alignment, centroids = lifted.alignment, lifted.tables[0]
    both = ConfidenceJudge({"fused": confidence(), "linear": confidence(1)}, rows(30, 2))
    results, queries = gallery.search(), rows(3, 1)
    judged = both.judge(queries, gallery.table, results, matching)
    moved = alignment.sketches(queries)
    for row, result in enumerate(judged):
        evidence = SearchEvidence(
            (moved[row] @ centroids.T)[np.newaxis],
            np.array([[hit.score for hit in result]], dtype=np.float32),
            np.array([[hit.cluster_id for hit in result]]),
            (moved[row] @ alignment.photos(rows(30, 2)).T)[np.newaxis],
        )
        expected = confidence(1).probability(served_features(evidence))[0]
        assert result.confidence == pytest.approx(expected, abs=1e-5)
    one_form = ConfidenceJudge({"fused": confidence()}, rows(30, 2))
    assert {result.confidence for result in one_form.judge(queries, gallery.table, results, matching)} == {None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    manifest = Manifest(name="m", backbone="timm:m", preprocessing={}, dim=8, fingerprint="model-1", weights_digest="-")
    (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
    return tmp_path


def test_it_comes_from_a_bundles_statistics(folder: Path, gallery: Gallery, judge: ConfidenceJudge) -> None:
    assert ConfidenceJudge.of_bundle(folder) is None
    write_statistics(folder, ModelStatistics(rows(5, 4), rows(30, 2)))
    assert ConfidenceJudge.of_bundle(folder) is None
    write_statistics(
        folder, ModelStatistics(rows(5, 4), rows(30, 2), {"forms": {"fused": confidence().to_dict(), "later": 1}})
    )
    read = ConfidenceJudge.of_bundle(folder)
    assert read is not None
    expected = [result.confidence for result in gallery.search(judge.judge)]
    assert [result.confidence for result in gallery.search(read.judge)] == expected


@pytest.mark.parametrize("stored", [{}, {"forms": []}, {"forms": {"fused": {"form": 99}}}])
def test_a_confidence_of_another_make_is_told(folder: Path, stored: dict[str, Any]) -> None:
    write_statistics(folder, ModelStatistics(rows(5, 4), rows(30, 2), stored))
    with pytest.raises(BundleError, match=r"statistics\.npz cannot be used: .*sbka model statistics"):
        ConfidenceJudge.of_bundle(folder)
