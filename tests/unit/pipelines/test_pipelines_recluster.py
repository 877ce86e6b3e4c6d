"""Clusters are made anew behind the alias, and what was asked for holds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sbka_milvus.clusters import ClusterStatistics
from sbka_milvus.embeddings.versions import read_version_record
from sbka_milvus.errors import GalleryError, StoreUnavailable
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.pipelines.recluster import recluster, view_clusters
from sbka_milvus.pipelines.versions import rollback
from sbka_milvus.store import MemoryGalleryStore

N = 60
FUSED = IndexOptions(matching="fused")


@pytest.fixture
def store() -> MemoryGalleryStore:
    return MemoryGalleryStore()


@pytest.fixture
def joined(gallery, store, progress, pictures):
    """Thirty photos that were fitted, and twenty-five that joined."""
    pictures.add(gallery, 35)
    build_index(gallery, store, FUSED, progress)
    pictures.add(gallery, 25, "b")
    assert build_index(gallery, store, FUSED, progress).clustering["how"] == "joined"
    return gallery


def test_a_new_version_is_served_and_the_old_one_kept(joined, store, progress):
    old = store.served("cats")
    report = recluster(joined, store, FUSED, progress)
    assert (report.before.version, report.after.version, report.built) == (2, 3, True)
    assert (report.before.clustering["how"], report.after.clustering["how"]) == ("joined", "fitted")
    assert (report.before.statistics.clusters, report.after.statistics.clusters) == (7, 10)
    assert report.after.statistics == ClusterStatistics.of(store.clusters(store.served("cats")))
    assert store.count(store.served("cats")) == N
    assert rollback(joined, store) == old
    assert json.loads(json.dumps(report.to_dict()))["after"]["statistics"]["photos"] == N


def test_a_trial_changes_nothing(joined, store, progress):
    files = sorted(path for path in joined.root.rglob("*"))
    report = recluster(joined, store, replace(FUSED, n_clusters=4), progress, trial=True)
    assert (report.built, report.after.version, report.after.statistics.clusters) == (False, None, 4)
    assert [info.version for info in store.versions("cats")] == [1, 2]
    assert sorted(path for path in joined.root.rglob("*")) == files
    built = recluster(joined, store, replace(FUSED, n_clusters=4), progress)
    assert built.after.statistics == report.after.statistics


def test_what_was_asked_for_holds_until_something_else_is(joined, store, progress, pictures):
    recluster(joined, store, IndexOptions(n_clusters=4, seed=3, matching="fused"), progress)
    plain = build_index(joined, store, IndexOptions(), progress)
    assert (plain.rebuilt, plain.clusters) == (False, 4)
    pictures.add(joined, 3, "c")
    for options in (IndexOptions(), FUSED, IndexOptions(n_clusters=4)):
        report = build_index(joined, store, options, progress)
        assert (report.clusters, report.clustering["fit_version"]) == (4, 3)
    pictures.add(joined, 3, "d")
    assert build_index(joined, store, IndexOptions(), progress).clusters == 4
    # Another wish is met, and does not hold.
    assert build_index(joined, store, IndexOptions(n_clusters=5), progress).clusters == 5
    assert build_index(joined, store, IndexOptions(), progress).clusters != 5


def test_asking_for_nothing_lifts_what_held(joined, store, progress):
    recluster(joined, store, IndexOptions(n_clusters=4), progress)
    assert recluster(joined, store, IndexOptions(), progress).after.statistics.clusters == 10


def test_the_form_can_be_asked_for(joined, store, progress, pictures):
    pictures.teach(joined)
    report = recluster(joined, store, IndexOptions(matching="linear", n_clusters=6), progress)
    assert report.after.matching.startswith("linear: ")
    assert build_index(joined, store, IndexOptions(), progress).matching == report.after.matching


def test_a_run_that_was_killed_after_its_switch_is_not_done_twice(joined, store, progress):
    since = datetime.now(UTC)
    first = recluster(joined, store, FUSED, progress, since=since)
    again = recluster(joined, store, FUSED, progress, since=since)
    assert (again.before, again.after, again.built) == (None, first.after, True)
    later = recluster(joined, store, FUSED, progress, since=datetime.now(UTC) + timedelta(hours=1))
    assert (later.before.version, later.after.version) == (3, 4)
    other = recluster(joined, store, replace(FUSED, n_clusters=5), progress, since=since)
    assert other.after.version == 5


def test_one_that_was_killed_before_its_switch_is_taken_up(joined, store, progress):
    class Stopped(MemoryGalleryStore):
        def promote(self, info):
            raise StoreUnavailable("gone")

    promote, store.promote = store.promote, Stopped().promote
    with pytest.raises(StoreUnavailable):
        recluster(joined, store, FUSED, progress)
    assert store.served("cats").version == 2
    store.promote = promote
    progress.stages.clear()
    report = recluster(joined, store, FUSED, progress)
    assert (report.after.version, progress.stages) == (3, [])


def test_an_ingest_that_joins_is_not_mistaken_for_one_that_was_fitted(joined, store, progress, pictures):
    """A version that joined waits where its ingest was killed before the switch: it is not what is asked for here."""
    from sbka_milvus.pipelines.index import build_version

    pictures.add(joined, 3, "c")
    waiting = build_version(joined, store, FUSED, progress)
    report = recluster(joined, store, FUSED, progress)
    assert report.after.version != waiting.version
    record = read_version_record(joined.version_folder, store.served("cats").token)
    assert record.clustering["how"] == "fitted"


def test_a_gallery_without_photos_is_refused(gallery, store, progress):
    with pytest.raises(GalleryError, match="holds no photos"):
        recluster(gallery, store, FUSED, progress)
    with pytest.raises(GalleryError, match="serves no version yet"):
        view_clusters(gallery, store, 0.25)


def test_a_version_of_an_earlier_release_can_be_looked_at_and_made_anew(joined, store, progress):
    path = joined.version_folder / f"{store.served('cats').token}.json"
    record = json.loads(path.read_text())
    del record["clustering"]
    path.write_text(json.dumps(record))
    view = view_clusters(joined, store, 0.25)
    assert (view.version, view.clustering, view.drifted, view.statistics.photos) == (2, {}, "", N)
    assert recluster(joined, store, FUSED, progress).after.clustering["how"] == "fitted"
