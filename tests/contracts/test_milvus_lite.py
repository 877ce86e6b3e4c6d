"""What Milvus Lite adds to the contract: a directory that is locked, shared, reopened and interrupted."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.errors import CollectionMissing, StoreError
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.store.catalogue import Catalogue
from sbka_milvus.store.faults import store_faults
from sbka_milvus.store.session import MilvusSession
from sbka_milvus.store.versions import Versions
from sbka_milvus.types import ClusterTable, Embeddings, GalleryRows, VersionInfo


def every(info: VersionInfo) -> np.ndarray:
    return np.arange(info.n_clusters, dtype=np.int64)


def fill(store: GalleryStore, gallery: Any, name: str = "cats") -> VersionInfo:
    info = store.create_version(name, "sha256:abc", gallery.table)
    store.insert(info, gallery.rows)
    return info


@pytest.mark.parametrize("max_partitions", [256, 2], ids=["partition_each", "super_clusters"])
def test_everything_survives_closing_and_reopening(lite, make_gallery, max_partitions):
    gallery = make_gallery(n=40, k=5)
    store = lite(max_partitions=max_partitions)
    info = fill(store, gallery)
    store.promote(info)
    probes = gallery.probes(4)
    before = store.search(info, probes, np.array([0, 3]), 10)
    store.close()

    # Another limit than it was made with: the version keeps its partitions.
    reopened = lite(max_partitions=3)
    assert reopened.versions("cats") == [info]
    assert reopened.served("cats") == info
    assert reopened.count(info) == 40
    after = reopened.search(info, probes, np.array([0, 3]), 10)
    for one, other in zip(after, before, strict=True):
        assert one.uris == other.uris
        np.testing.assert_array_equal(one.member_scores, other.member_scores)
    read = reopened.clusters(info)
    np.testing.assert_array_equal(read.centroids, gallery.table.centroids)
    np.testing.assert_array_equal(read.radii, gallery.table.radii)
    assert read.exemplars == gallery.table.exemplars
    assert {uri for rows in reopened.scan(info) for uri in rows.embeddings.uris} == set(gallery.embeddings.uris)
    reopened.insert(info, gallery.rows)
    assert reopened.count(info) == 40


@pytest.mark.parametrize("kept", [0, 100, 180])
def test_an_index_that_a_kill_cut_off_is_made_anew(lite, tmp_path, make_gallery, kept):
    gallery = make_gallery(n=40, k=5)
    store = lite()
    info = fill(store, gallery)
    store.promote(info)
    probes = gallery.probes(4)
    before = store.search(info, probes, every(info), 10)
    store.close()
    indexes = sorted((tmp_path / "lite").rglob("*.idx"))
    assert {path.name.split(".")[1] for path in indexes} == {"vector", "centroid"}
    for path in indexes:
        assert path.stat().st_size > kept
        path.write_bytes(path.read_bytes()[:kept])

    reopened = lite()
    assert reopened.served("cats") == info and reopened.count(info) == 40
    np.testing.assert_array_equal(reopened.clusters(info).centroids, gallery.table.centroids)
    for one, other in zip(reopened.search(info, probes, every(info), 10), before, strict=True):
        assert one.uris == other.uris
        np.testing.assert_array_equal(one.member_scores, other.member_scores)


def test_more_clusters_than_partitions_share_super_cluster_partitions(lite, tmp_path, make_gallery):
    gallery = make_gallery(n=60, k=12)
    store = lite(max_partitions=4)
    fill(store, gallery)
    few = fill(store, make_gallery(n=8, k=4), "dogs")

    partitions = {path.name for path in (tmp_path / "lite/collections/cats__v1/partitions").iterdir()} - {"_default"}
    assert {name[:7] for name in partitions} <= {"s00000_", "s00001_", "s00002_", "s00003_"} and len(partitions) > 1
    partitions = {path.name for path in (tmp_path / "lite/collections/dogs__v1/partitions").iterdir()} - {"_default"}
    assert partitions == {f"c0000{number}_{few.token[:16]}" for number in range(4)}
    assert store.count(few) == 8


def test_scores_are_exact_in_partitions_of_their_own_and_shared(lite, make_gallery):
    gallery = make_gallery(n=60, k=6)
    store = lite(max_partitions=2)
    info = fill(store, gallery)
    found = store.search(info, gallery.embeddings.vectors, np.array([1, 4]), 60)
    for query, hits in zip(gallery.embeddings.vectors, found, strict=True):
        assert set(hits.cluster_ids.tolist()) == {1, 4}
        rows = [gallery.embeddings.uris.index(uri) for uri in hits.uris]
        np.testing.assert_allclose(hits.member_scores, gallery.embeddings.vectors[rows] @ query, atol=1e-5)


_OTHER_PROCESS = """
import sys
from sbka_milvus.errors import StoreUnavailable
from sbka_milvus.store import MilvusGalleryStore
try:
    MilvusGalleryStore(sys.argv[1])
except StoreUnavailable as error:
    print(error.problem, "|", error.remedy, "|", error.retryable)
else:
    print("opened")
"""


def _open_elsewhere(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS, str(directory)], capture_output=True, text=True, timeout=120, check=True
    )


def test_another_process_is_told_who_has_the_directory_and_what_to_do(lite, tmp_path, small):
    store = lite()
    other = _open_elsewhere(tmp_path / "lite")
    problem, remedy, retryable = other.stdout.strip().split(" | ")
    assert "Another process" in problem and str(tmp_path / "lite") in problem
    assert "milvus-lite server" in remedy and "--host 127.0.0.1" in remedy
    assert retryable == "True"
    assert other.stderr == ""

    store.close()
    assert _open_elsewhere(tmp_path / "lite").stdout.strip() == "opened"
    assert fill(lite(), small).version == 1


def test_stores_of_one_directory_share_it_until_the_last_is_closed(lite, tmp_path, small):
    first, second = lite(), MilvusGalleryStore(f"{tmp_path}/elsewhere/../lite/")
    info = fill(first, small)
    assert second.count(info) == 60

    first.close()
    first.close()
    assert second.count(info) == 60
    assert "Another process" in _open_elsewhere(tmp_path / "lite").stdout
    second.close()
    assert _open_elsewhere(tmp_path / "lite").stdout.strip() == "opened"


def test_a_store_sees_what_another_one_of_the_directory_rebuilt(lite, make_gallery):
    old, new = make_gallery(n=24, k=6, seed=1), make_gallery(n=24, k=6, seed=2)
    reader, writer = lite(max_partitions=2), lite(max_partitions=2)
    info = fill(writer, old)
    reader.search(info, old.probes(1), np.array([0]), 5)
    writer.drop_version(info)
    rebuilt = fill(writer, new)
    assert replace(rebuilt, token=info.token) == info, "only its token tells it from the old one"
    with pytest.raises(CollectionMissing):
        reader.search(info, old.probes(1), np.array([0]), 5)

    for cluster in range(6):
        hits = reader.search(rebuilt, new.probes(1), np.array([cluster]), 24)[0]
        assert set(hits.uris) == {
            uri for uri, c in zip(new.embeddings.uris, new.clustering.assignments, strict=True) if c == cluster
        }


def test_a_search_needs_one_look_up_and_it_tells_what_another_store_rebuilt(lite, make_gallery, monkeypatch):
    """A searcher that asks which version is served after its search knows that it searched no other one."""
    old, new = make_gallery(n=24, k=6, seed=1), make_gallery(n=24, k=6, seed=2)
    reader, writer = lite(max_partitions=2), lite(max_partitions=2)
    info = fill(writer, old)
    writer.promote(info)
    asked: list[str] = []
    call = reader._session.call
    monkeypatch.setattr(
        reader._session, "call", lambda method, *args, **kw: (asked.append(method), call(method, *args, **kw))[1]
    )

    assert reader.served("cats") == info
    assert asked == ["describe_collection"]
    reader.search(info, old.probes(1), np.array([0]), 5, unchecked=True)
    asked.clear()
    for probes in ([0], [3, 4]):
        reader.search(info, old.probes(1), np.array(probes), 5, unchecked=True)
    assert reader.served("cats") == info
    assert asked == ["search", "search", "describe_collection"]

    other = fill(writer, old)
    writer.promote(other)
    writer.drop_version(info)
    with pytest.raises(CollectionMissing):
        reader.search(info, old.probes(1), np.array([0]), 5, unchecked=True)
    third = fill(writer, new)
    writer.promote(third)
    writer.drop_version(other)
    assert reader.served("cats") == third


def test_a_fetch_tells_by_itself_that_its_version_is_served(lite, make_gallery, monkeypatch):
    gallery = make_gallery(n=24, k=6)
    store = lite()
    info = fill(store, gallery)
    store.promote(info)
    asked: list[str] = []
    call = store._session.call
    monkeypatch.setattr(
        store._session, "call", lambda method, *args, **kw: (asked.append(method), call(method, *args, **kw))[1]
    )
    ids, clusters = gallery.embeddings.ids, gallery.clustering.assignments
    store.fetch(info, ids, clusters, served=True)
    assert asked == ["query"]
    store.delete(info, ids[:3])
    assert len(store.fetch(info, ids, clusters, served=True)) == 21


def test_a_version_of_an_earlier_release_is_fetched_from(lite, make_gallery, monkeypatch):
    monkeypatch.setattr("sbka_milvus.store.versions.partition_owner", lambda token: "")
    gallery, store = make_gallery(n=24, k=6), lite()
    info = fill(store, gallery)
    store.promote(info)
    assert set(store._catalogue.open(info).layout.names) == {f"c0000{number}" for number in range(6)}
    ids, clusters = gallery.embeddings.ids, gallery.clustering.assignments
    assert len(store.fetch(info, ids, clusters, served=True)) == 24
    other = fill(store, gallery)
    store.promote(other)
    with pytest.raises(CollectionMissing):
        store.fetch(info, ids, clusters, served=True)


def test_a_switch_of_the_alias_disturbs_no_search(lite, small):
    writer, reader = lite(), lite()
    versions = [fill(writer, small), fill(writer, small)]
    writer.promote(versions[0])
    wrong: list[object] = []

    def read() -> None:
        try:
            for _ in range(30):
                info = reader.served("cats")
                hits = reader.search(info, small.embeddings.vectors[:3], every(info), 60)
                wrong.extend(result for result in hits if info not in versions or len(result) != 60)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for info in reversed(versions):
            writer.promote(info)
            assert reader.served("cats") == info
    assert wrong == []


def test_promoting_writes_the_rows_out(lite, tmp_path, small):
    """Searching rows that are not yet written out takes Milvus Lite many times longer."""
    store = lite()
    info = fill(store, small)
    folder = tmp_path / "lite/collections/cats__v1"
    assert not list(folder.rglob("*.parquet"))
    store.promote(info)
    assert list(folder.rglob("*.parquet"))
    assert store.count(info) == 60


def test_threads_may_search_and_write_one_store(lite, make_gallery):
    gallery = make_gallery(n=120, k=4)
    store = lite()
    info = store.create_version("cats", "f", gallery.table)
    failures: list[object] = []

    def work(part: int) -> None:
        try:
            for start in range(part * 30, part * 30 + 30, 10):
                rows = gallery.part(slice(start, start + 10))
                store.insert(info, rows)
                found = store.search(info, rows.embeddings.vectors, every(info), 1)
                if [hits.uris[0] for hits in found] != list(rows.embeddings.uris):
                    failures.append(found)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert store.count(info) == 120


class Interrupted(BaseException):
    """The end of a process, as far as the code under test can tell."""


class DyingSession:
    """A session of which only so many calls that change something come through."""

    is_lite = is_server = False

    def __init__(self, session: MilvusSession, changes: int) -> None:
        self._session, self._left, self.place = session, changes, session.place
        self.defining: AbstractContextManager[Any] = nullcontext()
        self.writing: AbstractContextManager[Any] = nullcontext()

    def call(self, method: str, /, *args: Any, long: bool = False, **kwargs: Any) -> Any:
        if method.startswith(("create", "insert", "alter", "drop")):
            if self._left == 0:
                raise Interrupted
            self._left -= 1
        return self._session.call(method, *args, long=long, **kwargs)


def _dying(session: MilvusSession, changes: int) -> Versions:
    dying = DyingSession(session, changes)
    return Versions(dying, Catalogue(dying), 4)


def test_a_version_whose_making_was_interrupted_is_never_listed(lite, tmp_path, make_gallery):
    gallery = make_gallery(n=6, k=2)
    store, session = lite(), MilvusSession(str(tmp_path / "lite"), "", "", 10.0)
    served = fill(store, gallery)
    store.promote(served)

    left = []
    for changes in range(20):
        try:
            info = _dying(session, changes).create("cats", "f", gallery.table)
            break
        except Interrupted:
            assert store.versions("cats") == [served]
            with pytest.raises(CollectionMissing):
                store.promote(VersionInfo("cats", len(left) + 2, "f", 8, 2))
            left.append(changes)
    # Photos collection, two partitions, index, clusters collection, index, rows, mark: each may be the last.
    assert left == list(range(8))
    assert info.version == 9, "numbers go on above what was left"
    assert store.versions("cats") == [served, info]
    assert store.served("cats") == served
    session.close()


def test_leftovers_are_dropped_and_nothing_else_is(lite, tmp_path, make_gallery):
    gallery = make_gallery(n=6, k=2)
    store, session = lite(), MilvusSession(str(tmp_path / "lite"), "", "", 10.0)
    session.call("create_collection", "cats__v7", dimension=4)
    session.call("create_collection", "unrelated", dimension=4)
    other = fill(store, gallery, "dogs")
    for changes in (4, 7):
        with pytest.raises(Interrupted):
            _dying(session, changes).create("cats", "f", gallery.table)

    assert store.drop_leftovers("cats") == ["cats__v8", "cats__v9", "cats__v9__clusters"]
    assert store.drop_leftovers("cats") == []
    assert sorted(session.call("list_collections")) == ["cats__v7", "dogs__v1", "dogs__v1__clusters", "unrelated"]
    assert store.count(other) == 6

    with pytest.raises(Interrupted):
        _dying(session, 5).create("cats", "f", gallery.table)
    # Nobody shares a directory, so making the next version cleans up without being told to.
    assert store.create_version("cats", "f", gallery.table).version == 8
    assert "cats__v8__clusters" in session.call("list_collections")
    session.close()


def test_a_version_whose_dropping_was_interrupted_is_never_listed(lite, tmp_path, make_gallery):
    gallery = make_gallery(n=6, k=2)
    store, session = lite(), MilvusSession(str(tmp_path / "lite"), "", "", 10.0)
    for changes in (1, 2):
        info = fill(store, gallery)
        with pytest.raises(Interrupted):
            _dying(session, changes).drop(info)
        assert store.versions("cats") == []
        with pytest.raises(CollectionMissing):
            store.count(info)
    assert store.drop_leftovers("cats") == ["cats__v1__clusters"]
    session.close()


def test_a_refused_version_leaves_nothing(lite, tmp_path, make_gallery):
    """What fails with an error, and not with the end of the process, is cleaned up at once."""
    session = MilvusSession(str(tmp_path / "lite"), "", "", 10.0)

    class Refusing(DyingSession):
        def call(self, method: str, /, *args: Any, long: bool = False, **kwargs: Any) -> Any:
            if method == "insert":
                raise StoreError("full")
            return self._session.call(method, *args, long=long, **kwargs)

    refusing = Refusing(session, 0)
    with pytest.raises(StoreError, match="full"):
        Versions(refusing, Catalogue(refusing), 4).create("cats", "f", make_gallery().table)
    assert session.call("list_collections") == []
    session.close()


def test_a_name_that_is_taken_by_a_broken_folder_is_passed_over(lite, tmp_path, small):
    store = lite()
    # What a process leaves that dies between the folder and the schema in it: Milvus Lite neither lists nor reuses it.
    (tmp_path / "lite/collections/cats__v1").mkdir()
    assert fill(store, small).version == 2


def test_a_gallery_cannot_take_the_name_of_a_collection(lite, tmp_path, small):
    store, session = lite(), MilvusSession(str(tmp_path / "lite"), "", "", 10.0)
    session.call("create_collection", "cats", dimension=4)
    info = fill(store, small)
    with pytest.raises(StoreError, match="cats"):
        store.promote(info)
    with pytest.raises(StoreError, match=r"'cats' names the collection 'cats'"):
        store.served("cats")
    session.close()


def test_an_index_that_may_miss_photos_is_told_by_the_version(lite, make_gallery):
    gallery = make_gallery(n=300, k=3)
    exact, store = lite(), lite(index="hnsw")
    info = store.create_version("cats", "f", gallery.table, matching="lifted")
    store.insert(info, gallery.rows)
    store.promote(info)
    assert (info.index, info.is_exact, info.matching) == ("hnsw", False, "lifted")
    # Whoever opens it next is told too, whatever it makes its own versions with.
    assert exact.served("cats") == info and exact.versions("cats") == [info]
    described = store._session.call("describe_index", "cats__v1", "vector")
    assert described["index_type"] == "HNSW"
    for limit in (5, 90):
        (found,) = exact.search(info, gallery.embeddings.vectors[:1], every(info), limit)
        assert len(found) == limit and found.uris[0] == gallery.embeddings.uris[0]
    plain = fill(exact, gallery, "dogs")
    assert plain.is_exact and exact._session.call("describe_index", "dogs__v1", "vector")["index_type"] == "FLAT"


def test_thousands_of_clusters_are_searched_as_the_twin_searches_them(lite, make_gallery):
    gallery = make_gallery(n=6000, k=3000, dim=8, seed=5)
    oracle, milvus = MemoryGalleryStore(), lite(max_partitions=40)
    expected, info = (fill(store, gallery) for store in (oracle, milvus))
    names = np.array(milvus._catalogue.open(info).layout.names)
    _, rows = np.unique(names[gallery.clustering.assignments], return_counts=True)
    assert len(rows) == 40 and rows.max() <= 2.1 * rows.mean()

    milvus.close()
    reopened = lite()
    np.testing.assert_array_equal(reopened.clusters(info).centroids, gallery.table.centroids)
    assert reopened.clusters(info).exemplars == gallery.table.exemplars
    rng = np.random.default_rng(0)
    for n_clusters, limit, where in [
        (1, 10, None),
        (16, 10, None),
        (1500, 50, "uri like '%1.jpg'"),
        (2990, 50, None),
        (3000, 50, None),
    ]:
        clusters = rng.choice(3000, size=n_clusters, replace=False)
        queries = gallery.probes(2, seed=n_clusters)
        found = reopened.search(info, queries, clusters, limit, where)
        for one, other in zip(found, oracle.search(expected, queries, clusters, limit, where), strict=True):
            assert len(one) == len(other)
            np.testing.assert_allclose(one.member_scores, other.member_scores, atol=1e-5)
            assert len(set(one.ids.tolist()) ^ set(other.ids.tolist())) <= 2, "but for ties at the limit"


def test_a_large_partition_is_read_in_pages(lite):
    # A page holds 8 MB: fewer than 2,000 vectors of 1,024 dimensions.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2100, 1024)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    embeddings = Embeddings(tuple(f"{number}.jpg" for number in range(2100)), vectors)
    rows = GalleryRows(embeddings, np.zeros(2100, dtype=np.int64))
    store = lite()
    info = store.create_version("big", "f", ClusterTable(vectors[:1], np.array([2100]), np.zeros(1, "f"), ((),)))
    store.insert(info, rows)

    found = {
        uri: vector
        for part in store.scan(info)
        for uri, vector in zip(part.embeddings.uris, part.embeddings.vectors, strict=True)
    }
    assert len(found) == store.count(info) == 2100
    assert all(np.array_equal(found[uri], vector) for uri, vector in zip(embeddings.uris, vectors, strict=True))


def test_a_file_or_a_forbidden_place_is_refused(tmp_path):
    (tmp_path / "old.db").write_bytes(b"milvus lite 2")
    with pytest.raises(StoreError, match=r"old\.db is a file"):
        MilvusGalleryStore(str(tmp_path / "old.db"))
    with pytest.raises(StoreError, match=r"cannot open .*inside.*written"):
        MilvusGalleryStore(str(tmp_path / "old.db" / "inside"))


_FAILING = """
import sys
import numpy as np
from sbka_milvus.errors import CollectionMissing, InvalidValue, StoreError, StoreUnavailable
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import ClusterTable, Embeddings, GalleryRows, VersionInfo

def fails(kind, act, *arguments, **options):
    try:
        act(*arguments, **options)
    except kind as error:
        return
    raise SystemExit(f"{act} did not fail")

vectors = np.eye(4, dtype=np.float32)
table = ClusterTable(vectors[:1], np.array([4]), np.zeros(1, np.float32), ((),))
store = MilvusGalleryStore(sys.argv[1])
fails(CollectionMissing, store.served, "cats")
info = store.create_version("cats", "f", table)
store.insert(info, GalleryRows(Embeddings(("a", "b", "c", "d"), vectors), np.zeros(4, dtype=np.int64)))
list(store._session.call("query_iterator", "cats__v1", batch_size=2).next())
fails(StoreError, store._session.call, "search", "cats__v1", data=[[1.0]], limit=1, anns_field="vector")
fails(StoreError, store._session.call, "create_partition", "cats__v1", "c00000_" + info.token[:16])
fails(StoreUnavailable, MilvusGalleryStore, "http://127.0.0.1:9", timeout_s=1.0)
fails(StoreError, MilvusGalleryStore, __import__("os").devnull)
"""


def test_errors_are_not_printed_as_well(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FAILING, str(tmp_path / "lite")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_logs_of_other_calls_stay_as_they_are(lite):
    lite()
    handlers = [*logging.getLogger("pymilvus").handlers, *logging.getLogger("pymilvus.milvus_client").handlers]
    record = logging.LogRecord("pymilvus.decorators", logging.ERROR, "", 0, "not ours", None, None)
    assert handlers and all(handler.filter(record) for handler in handlers)
    with store_faults("here"):
        assert not any(handler.filter(record) for handler in handlers)
