"""Clusters have drifted where photos that joined lie too far from them, or where the gallery is of another size."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from sbka_milvus.embeddings.versions import VersionRecord
from sbka_milvus.pipelines.drift import DriftReport, drift_from, measure_drift
from sbka_milvus.pipelines.fits import fit_reference
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.pipelines.origin import DEFAULT_MAX_DRIFT, ClusterOrigin
from sbka_milvus.pipelines.reference import write_reference
from sbka_milvus.settings import IngestSettings
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import Clustering, ClusterTable, Embeddings, normalise

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def origin(joined: int = 60, gone: int = 0, drift: float = 0.0, clusters: int = 10) -> ClusterOrigin:
    told = DriftReport(drift, 0.1, 0.1 * (1 + drift), joined, joined >= 50, NOW.isoformat())
    return ClusterOrigin("joined", 3, "token", 1, 100, clusters, joined, gone, "wish", told)


class TestComplaint:
    @pytest.mark.parametrize(
        "fits",
        [
            origin(),
            origin(drift=0.25),
            origin(joined=20, drift=0.9),  # too few to tell
            origin(drift=0.9, clusters=1),  # fewer than a cluster holds
            origin(joined=99),
            origin(joined=0, gone=49),
        ],
    )
    def test_clusters_that_fit_are_not_complained_of(self, fits, gallery):
        assert fits.complaint(0.25, gallery) == ""

    def test_photos_that_lie_farther_are_told_with_the_figure_and_the_remedy(self, gallery):
        told = origin(drift=0.26).complaint(0.25, gallery)
        assert told == (
            "The clusters have drifted: the 60 photos that joined since version 1 lie 26% farther from them than its "
            f"own 100 did (limit: 25%). Make them anew: sbka cluster -g {gallery.root}"
        )

    @pytest.mark.parametrize(("joined", "gone", "now"), [(100, 0, 200), (0, 50, 50), (150, 10, 240)])
    def test_a_gallery_of_another_size_is_told(self, gallery, joined, gone, now):
        told = origin(joined=joined, gone=gone).complaint(0.25, gallery)
        assert f"they were made of 100 photos in version 1, and there are {now}." in told
        assert "sbka cluster -g" in told

    def test_the_settings_have_the_limit_that_was_measured(self):
        assert IngestSettings().max_drift == DEFAULT_MAX_DRIFT == IndexOptions().max_drift


def test_it_survives_the_record():
    one = origin(drift=0.3)
    record = VersionRecord(1, "t", "grid-1", 9, 4, "s", "2026", {}, clustering=json.loads(json.dumps(one.to_dict())))
    assert ClusterOrigin.of(record) == one
    assert ClusterOrigin.of(None) is None


class TestOneDefinition:
    """The drift of clusters is the drift that retraining knows; only the reference is another."""

    def test_the_same_reference_gives_the_same_figure(self, gallery, pictures):
        old, new = pictures.photos(80), pictures.photos(60)
        both = Embeddings(tuple(f"/p/{n:03d}.jpg" for n in range(140)), np.concatenate([old, new]))
        part = Embeddings(both.uris[:80], old)
        centroids = normalise(old[:6])
        table = ClusterTable(centroids, np.zeros(6, np.int64), np.zeros(6, np.float32), ((),) * 6)
        reference = write_reference(gallery, part, table, NOW)
        assert drift_from(reference, both) == measure_drift(gallery, both)
        assert drift_from(reference, both).n_new == 60

    def test_in_the_linear_form_it_is_of_the_photos_own_vectors(self, gallery, pictures):
        vectors = pictures.photos(40)
        photos = Embeddings(tuple(f"/p/{n:03d}.jpg" for n in range(40)), vectors)
        assignments = np.arange(40) % 4
        sizes = np.full(4, 10, np.int64)
        table = ClusterTable(np.eye(4, dtype=np.float32), sizes, np.zeros(4, np.float32), ((),) * 4)
        found = fit_reference(gallery, photos, Clustering(table, assignments), lifted=True, time=NOW)
        expected = normalise(np.stack([vectors[assignments == cluster].mean(axis=0) for cluster in range(4)]))
        np.testing.assert_allclose(found.centroids, expected, atol=1e-6)

    def test_photos_whose_mean_is_no_direction_have_a_centroid_too(self, gallery):
        photos = Embeddings(("/p/a", "/p/b"), np.array([[1, 0], [-1, 0]], dtype=np.float32))
        table = ClusterTable(np.eye(2, dtype=np.float32)[:1], np.array([2]), np.zeros(1, np.float32), ((),))
        clustering = Clustering(table, np.zeros(2, np.int64))
        found = fit_reference(gallery, photos, clustering, lifted=True, time=NOW)
        assert found.centroids.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("matching", ["fused", "linear"])
def test_an_ingest_tells_of_photos_of_other_kinds_and_not_of_more_of_the_same(
    gallery, progress, pictures, make_pictures, matching
):
    store, options = MemoryGalleryStore(), IndexOptions(n_clusters=6, matching=matching, max_drift=0.25)
    pictures.teach(gallery)
    pictures.add(gallery, 90)
    build_index(gallery, store, options, progress)
    pictures.add(gallery, 60, "same")
    same = build_index(gallery, store, options, progress)
    assert (same.drifted, same.clustering["drift"]["enough"]) == ("", True)
    assert abs(same.clustering["drift"]["drift"]) < 0.2

    make_pictures(seed=9).add(gallery, 25, "other")
    other = build_index(gallery, store, options, progress)
    assert "lie" in other.drifted and f"sbka cluster -g {gallery.root}" in other.drifted
    again = build_index(gallery, store, options, progress)
    assert (again.rebuilt, again.drifted) == (False, other.drifted)
    assert build_index(gallery, store, replace(options, max_drift=9), progress).drifted == ""

    anew = build_index(gallery, store, replace(options, anew=True), progress)
    assert (anew.drifted, anew.clustering["how"], anew.clustering["fitted"]) == ("", "fitted", 175)
