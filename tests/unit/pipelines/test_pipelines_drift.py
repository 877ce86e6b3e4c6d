"""Drift is what the formula says, 0 for more of the same, and far above 0 for photos of another kind."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.clusters import default_n_clusters, fit_clusters
from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.errors import GalleryError
from sbka_milvus.pipelines.drift import MIN_NEW_PHOTOS, DriftReport, drift_of, measure_drift
from sbka_milvus.pipelines.reference import (
    ensure_reference,
    read_reference,
    reference_file,
    write_reference,
)
from sbka_milvus.types import ClusterTable, Embeddings, FloatArray, normalise

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DIM = 64


def turned(angle: float, count: int) -> FloatArray:
    """Unit vectors in the plane, by turns to the left and to the right of (1, 0)."""
    angles = [angle if number % 2 else -angle for number in range(count)]
    return normalise(np.array([[math.cos(one), math.sin(one)] for one in angles]))


def named(prefix: str, vectors: FloatArray) -> Embeddings:
    return Embeddings(tuple(f"/{prefix}/{number}.jpg" for number in range(len(vectors))), vectors)


def joined(*parts: Embeddings) -> Embeddings:
    return Embeddings(sum((part.uris for part in parts), ()), np.concatenate([part.vectors for part in parts]))


def one_cluster(size: int) -> ClusterTable:
    centroid = np.array([[1.0, 0.0]], dtype=np.float32)
    return ClusterTable(centroid, np.array([size]), np.zeros(1, dtype=np.float32), ((),))


def kinds(count: int, seed: int, world: int = 0) -> FloatArray:
    """Photos around twelve directions that the world chooses."""
    centres = normalise(np.random.default_rng(world).normal(size=(12, DIM)))
    rng = np.random.default_rng([seed, 1])
    return normalise(centres[rng.integers(0, 12, count)] + 0.08 * rng.normal(size=(count, DIM)))


def records(embeddings: Embeddings) -> PhotoRecords:
    numbers = np.arange(len(embeddings), dtype=np.int64)
    hashes = tuple(f"{number:032x}" for number in numbers)
    return PhotoRecords(embeddings.uris, hashes, numbers, numbers, numbers, numbers, embeddings.vectors)


def test_it_is_the_ratio_of_the_mean_distortions(gallery: Gallery) -> None:
    old = named("old", turned(0.2, 1000))
    write_reference(gallery, old, one_cluster(1000), NOW)
    report = measure_drift(gallery, joined(old, named("new", turned(0.3, 80))))

    expected_old, expected_new = 1 - math.cos(0.2), 1 - math.cos(0.3)
    assert report.reference_distortion == pytest.approx(expected_old, rel=0.01)
    assert report.new_distortion == pytest.approx(expected_new, rel=1e-4)
    assert report.drift == pytest.approx(expected_new / expected_old - 1, rel=0.02)
    assert (report.n_new, report.enough, report.reference) == (80, True, NOW.isoformat())


def test_each_reference_photo_is_measured_against_a_centroid_without_it(gallery: Gallery) -> None:
    angles = (0.0, 0.1, 0.5)
    vectors = normalise(np.array([[math.cos(one), math.sin(one)] for one in angles]))
    reference = write_reference(gallery, named("old", vectors), one_cluster(3), NOW)
    # Without one of them, the mean direction of the other two lies halfway between them.
    expected = np.mean([1 - math.cos(one - np.mean([o for o in angles if o != one])) for one in angles])
    assert reference.distortion == pytest.approx(expected, rel=1e-4)


def test_a_photo_alone_in_its_cluster_is_measured_against_the_others(gallery: Gallery) -> None:
    vectors = normalise(np.array([[1.0, 0.0], [-0.8, 0.6]]))
    table = fit_clusters(named("old", vectors), 2).table
    assert write_reference(gallery, named("old", vectors), table, NOW).distortion == pytest.approx(1.8, abs=1e-5)


@pytest.mark.parametrize("count", [120, 600])
def test_more_of_the_same_is_no_drift_however_small_the_gallery(gallery: Gallery, count: int) -> None:
    old = named("old", kinds(count, seed=1))
    assert ensure_reference(gallery, old, None, NOW)
    assert abs(measure_drift(gallery, joined(old, named("new", kinds(400, seed=2)))).drift) < 0.05


def test_photos_of_other_kinds_are_drift(gallery: Gallery) -> None:
    old = named("old", kinds(300, seed=1))
    write_reference(gallery, old, fit_clusters(old, default_n_clusters(300)).table, NOW)
    mixed = named("new", np.concatenate([kinds(50, seed=2), kinds(50, seed=3, world=9)]))
    other = named("new", kinds(100, seed=3, world=9))
    assert 0.5 < measure_drift(gallery, joined(old, mixed)).drift < measure_drift(gallery, joined(old, other)).drift


def test_too_few_new_photos_say_nothing(gallery: Gallery) -> None:
    old = named("old", turned(0.2, 100))
    write_reference(gallery, old, one_cluster(100), NOW)
    few, enough = (
        measure_drift(gallery, joined(old, named("new", turned(1.0, count))))
        for count in (MIN_NEW_PHOTOS - 1, MIN_NEW_PHOTOS)
    )
    assert (few.drift, few.enough, few.n_new) == (0.0, False, MIN_NEW_PHOTOS - 1)
    assert enough.enough
    assert enough.drift > 10
    assert measure_drift(gallery, old).n_new == 0


def test_reference_photos_that_coincide_leave_drift_finite(gallery: Gallery) -> None:
    old = named("old", turned(0.0, 100))
    write_reference(gallery, old, one_cluster(100), NOW)
    assert math.isfinite(measure_drift(gallery, joined(old, named("new", turned(0.5, 60)))).drift)


def test_a_reference_of_another_model_says_nothing(gallery: Gallery) -> None:
    old = named("old", turned(0.2, 100))
    write_reference(gallery, old, one_cluster(100), NOW)
    other = gallery.for_model("grid-2")
    assert measure_drift(other, old) == DriftReport()
    assert ensure_reference(other, old, one_cluster(100), NOW)
    assert not ensure_reference(other, named("more", turned(0.9, 10)), one_cluster(10), NOW)
    kept = read_reference(other)
    assert kept is not None
    assert (kept.fingerprint, len(kept.ids)) == ("grid-2", 100)


def test_the_reference_comes_back_as_it_was_written(gallery: Gallery) -> None:
    old = named("old", kinds(100, seed=1))
    written = write_reference(gallery, old, fit_clusters(old, 5).table, NOW)
    read = read_reference(gallery)
    assert read is not None
    np.testing.assert_array_equal(read.centroids, written.centroids)
    np.testing.assert_array_equal(read.ids, np.sort(old.ids))
    assert (read.distortion, read.fingerprint, read.time) == (written.distortion, "grid-1", NOW)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_damaged_reference_is_named_with_the_way_out(gallery: Gallery, keep: int) -> None:
    old = named("old", kinds(100, seed=1))
    write_reference(gallery, old, fit_clusters(old, 5).table, NOW)
    path = reference_file(gallery)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(GalleryError, match=r"reference.npz is damaged.*Delete it"):
        read_reference(gallery)


def test_the_drift_of_shards_is_that_of_their_photos(gallery: Gallery) -> None:
    old, new = named("old", kinds(200, seed=1)), named("new", kinds(100, seed=2, world=3))
    assert drift_of(gallery) == DriftReport()
    ensure_reference(gallery, old, None, NOW)
    write_shard(gallery.shard_folder, records(old), gallery.fingerprint)
    assert drift_of(gallery).n_new == 0
    half = Embeddings(new.uris[:50], kinds(50, seed=9))  # embedded once, and then again after a change
    for part in (half, new):
        write_shard(gallery.shard_folder, records(part), gallery.fingerprint)

    found, expected = drift_of(gallery), measure_drift(gallery, joined(old, new))
    assert found.n_new == 100
    assert found.drift == pytest.approx(expected.drift, rel=1e-5)


def test_what_was_measured_is_kept_until_shards_or_reference_change(gallery: Gallery) -> None:
    old, new = named("old", kinds(100, seed=1)), named("new", kinds(80, seed=2, world=3))
    ensure_reference(gallery, old, None, NOW)
    shard = write_shard(gallery.shard_folder, records(new), gallery.fingerprint)
    first = drift_of(gallery)
    content = shard.read_bytes()
    shard.write_bytes(b"not looked at again")
    assert drift_of(gallery) == first

    shard.write_bytes(content)
    write_reference(gallery, joined(old, new), fit_clusters(joined(old, new), 15).table, datetime.now(UTC))
    assert drift_of(gallery).n_new == 0
    (gallery.root / "drift.json").write_text("{}")
    assert drift_of(gallery).n_new == 0


def test_a_gallery_that_cannot_be_written_is_still_measured(gallery: Gallery, tmp_path: Path) -> None:
    ensure_reference(gallery, named("old", kinds(100, seed=1)), None, NOW)
    (gallery.root / "drift.json").mkdir()
    assert drift_of(gallery).reference == NOW.isoformat()
