"""Files at addresses, served by a server on this machine that is slow, drops, refuses, or does as it should."""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sbka_milvus.errors import SourceError
from sbka_milvus.images import read_photo
from sbka_milvus.images.sources import find as finding
from sbka_milvus.images.sources import read as reading
from sbka_milvus.images.sources.archives import Archives
from sbka_milvus.images.sources.remote import Patience, RemoteFile, RemoteFiles

SHORT = Patience(connect_s=2.0, read_s=0.7, total_s=2.0, tries=3, pause_s=0.01)


@pytest.fixture
def remote() -> RemoteFiles:
    return RemoteFiles(SHORT)


@pytest.fixture
def hasty(remote: RemoteFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of this process waits no longer than these tests do."""
    archives = Archives(remote)
    for module in (reading, finding):
        monkeypatch.setattr(module, "remote_files", lambda: remote)
        monkeypatch.setattr(module, "open_archives", lambda: archives)
    monkeypatch.setattr("sbka_milvus.images.sources.rows.remote_files", lambda: remote)
    monkeypatch.setattr("sbka_milvus.images.sources.rows.open_archives", lambda: archives)


@pytest.fixture
def memory() -> Iterator[Any]:
    """An object store in memory."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def test_a_file_is_read_in_one_request(remote: RemoteFiles, server: Any) -> None:
    server.files["/a b ü.jpg"] = bytes(range(256)) * 20_000
    assert remote.read(f"{server.url}/a b ü.jpg") == server.files["/a b ü.jpg"]
    assert server.asked == [("GET", "/a b ü.jpg")]


def test_looking_says_size_and_a_stamp_that_follows_the_etag(remote: RemoteFiles, server: Any) -> None:
    server.files["/a.jpg"] = b"abc"
    plain = remote.look(f"{server.url}/a.jpg")
    assert (plain.size, plain.stamp) == (3, 0)
    server.tags["/a.jpg"] = '"1"'
    first = remote.look(f"{server.url}/a.jpg")
    assert first == remote.look(f"{server.url}/a.jpg")
    server.tags["/a.jpg"] = '"2"'
    assert 0 < first.stamp != remote.look(f"{server.url}/a.jpg").stamp < 2**63


@pytest.mark.parametrize(
    ("bad", "problem", "gets"),
    [
        (404, "does not exist", 1),
        (403, "may not be read", 1),
        (500, r"cannot be fetched \(3 tries\)", 3),
        ("drop", r"cannot be fetched \(3 tries\)", 3),
        ("silent", r"did not come in time \(3 tries\)", 3),
        ("slow", r"did not come in time \(3 tries\)|cannot be fetched", 3),
    ],
)
def test_what_goes_wrong_is_told_in_bounded_time(
    remote: RemoteFiles, server: Any, bad: Any, problem: str, gets: int
) -> None:
    server.files["/a.jpg"] = bytes(2000)
    server.bad["/a.jpg"] = bad
    begin = time.monotonic()
    with pytest.raises(SourceError, match=problem) as caught:
        remote.read(f"{server.url}/a.jpg")
    assert f"{server.url}/a.jpg" in caught.value.problem
    assert caught.value.remedy
    assert time.monotonic() - begin < 20
    assert server.asked.count(("GET", "/a.jpg")) <= gets


def test_a_server_that_recovers_is_asked_again(remote: RemoteFiles, server: Any) -> None:
    server.files["/a.jpg"] = b"abc"
    server.bad["/a.jpg"] = "flaky"
    assert remote.read(f"{server.url}/a.jpg") == b"abc"
    assert server.asked.count(("GET", "/a.jpg")) == 3


def test_a_file_without_end_is_left(remote: RemoteFiles, server: Any) -> None:
    server.files["/a.jpg"] = bytes(5_000_000)
    with pytest.raises(SourceError, match=r"/a\.jpg has more than 1,000 bytes"):
        remote.read(f"{server.url}/a.jpg", max_bytes=1000)


def test_nobody_listens(remote: RemoteFiles) -> None:
    with pytest.raises(SourceError, match="cannot be fetched"):
        remote.read("http://127.0.0.1:9/a.jpg")


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("nosuch://a/b.jpg", "cannot be read"),
        ("https://user:secret@example.org/a.jpg", "example.org holds a user's name or password"),
        ("zip://a.jpg::https://example.org/a.zip", "chain"),
    ],
)
def test_addresses_that_are_not_taken(remote: RemoteFiles, uri: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        remote.look(uri)
    assert "secret" not in str(caught.value)


def test_a_package_that_is_missing_is_named(remote: RemoteFiles) -> None:
    assert importlib.util.find_spec("gcsfs") is None
    with pytest.raises(SourceError, match="gcsfs"):
        remote.look("gs://bucket/a.jpg")


def test_connections_of_the_web_are_shared_by_threads(
    remote: RemoteFiles, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = remote._made
    monkeypatch.setattr(remote, "_made", lambda uri: (made.append(uri), make(uri))[1])
    for n in range(40):
        server.files[f"/{n}.jpg"] = bytes(n + 1)
    found = list(remote.look_at_all(f"{server.url}/{n}.jpg" for n in range(40)))
    assert [one.size for one in found if isinstance(one, RemoteFile)] == list(range(1, 41))
    assert len(made) == 1


def test_stores_that_have_no_thread_of_their_own_are_not_shared(remote: RemoteFiles, memory: Any) -> None:
    memory.pipe("/bucket/a.jpg", b"a")
    assert remote.look("memory://bucket/a.jpg").size == 1
    assert remote._shared == {}


def test_of_a_list_files_are_known_as_by_themselves(remote: RemoteFiles, memory: Any) -> None:
    for n in range(3):
        memory.pipe(f"/bucket/{n}.jpg", bytes(n + 1))
    listed = remote.find("memory://bucket/")
    assert [one.size for one in listed] == [1, 2, 3]
    assert listed == [remote.look(one.uri) for one in listed] == remote.find("memory://bucket/*.jpg")


def test_many_are_looked_at_at_once_in_their_order(remote: RemoteFiles, server: Any) -> None:
    for n in range(0, 100, 2):
        server.files[f"/{n}.jpg"] = bytes(n + 1)
    found = list(remote.look_at_all(f"{server.url}/{n}.jpg" for n in range(100)))
    assert [one.size if isinstance(one, RemoteFile) else None for one in found] == [
        None if n % 2 else n + 1 for n in range(100)
    ]


def test_folders_and_patterns_of_an_object_store(memory: Any, find: Any, jpeg: Any) -> None:
    for name in ("cats/1.jpg", "cats/deep/2.png", "cats/notes.txt", "cats/.hidden/3.jpg", "dogs/1.jpg"):
        memory.pipe(f"/bucket/{name}", jpeg(len(name)))
    everything = ["memory://bucket/cats/1.jpg", "memory://bucket/cats/deep/2.png"]
    assert find("memory://bucket/cats/").names == everything
    assert find("memory://bucket/cats").names == everything
    assert find("memory://bucket/*/1.jpg").names == ["memory://bucket/cats/1.jpg", "memory://bucket/dogs/1.jpg"]
    found = find("memory://bucket/dogs/1.jpg")
    assert read_photo("memory://bucket/dogs/1.jpg") == jpeg(len("dogs/1.jpg"))
    again = find("memory://bucket/dogs/1.jpg")
    assert again.photos == found.photos
    with pytest.raises(SourceError, match="holds or matches no image"):
        find("memory://bucket/birds/")


def test_archives_of_an_object_store(
    memory: Any, find: Any, jpeg: Any, make_tar: Any, make_zip: Any, tmp_path: Any
) -> None:
    members = {f"{n}.jpg": jpeg(n) for n in range(5)}
    for name, path in {
        "0.tar": make_tar(tmp_path / "a.tar", members),
        "1.tgz": make_tar(tmp_path / "a.tgz", members, "w:gz"),
        "2.zip": make_zip(tmp_path / "a.zip", members),
    }.items():
        memory.pipe(f"/bucket/{name}", path.read_bytes())
    found = find("memory://bucket/*.t*", "memory://bucket/{2,2}.zip")
    assert found.problems == {}
    assert found.names == [f"memory://bucket/{a}!/{n}.jpg" for a in ("0.tar", "1.tgz", "2.zip") for n in range(5)]
    assert [read_photo(uri) for uri in found.names] == [jpeg(n) for n in range(5)] * 3


@pytest.mark.usefixtures("hasty")
class TestWeb:
    def test_photos_archives_and_manifests(
        self, server: Any, find: Any, jpeg: Any, make_tar: Any, make_zip: Any, tmp_path: Any
    ) -> None:
        server.ranges = True
        members = {f"{n}.jpg": jpeg(n) for n in range(5)}
        server.files["/d/a.tar.gz"] = make_tar(tmp_path / "a.tar.gz", members, "w:gz").read_bytes()
        server.files["/d/a.zip"] = make_zip(tmp_path / "a.zip", members).read_bytes()
        server.files["/d/one.jpg"] = jpeg(9)
        table = io.BytesIO()
        pq.write_table(
            pa.table({"url": ["one.jpg", "a.zip!/2.jpg", "gone.jpg", "/etc/passwd"], "n": [1, 2, 3, 4]}), table
        )
        server.files["/d/m.parquet"] = table.getvalue()
        base = f"{server.url}/d"
        found = find(f"{base}/a.tar.gz", f"{base}/a.zip", f"{base}/one.jpg", f"{base}/m.parquet")
        assert set(found.names) == {
            f"{base}/one.jpg", *(f"{base}/{a}!/{n}.jpg" for a in ("a.tar.gz", "a.zip") for n in range(5)),
        }  # fmt: skip
        assert {name: said for name, said in found.metadata.items() if said} == {
            f"{base}/one.jpg": {"n": 1},
            f"{base}/a.zip!/2.jpg": {"n": 2},
        }
        assert f"{base}/gone.jpg does not exist." in found.problems[f"{base}/gone.jpg"]
        assert "file of this machine" in found.problems[f"{base}/m.parquet#row=4"]
        assert read_photo(f"{base}/one.jpg") == jpeg(9)
        for archive in ("a.tar.gz", "a.zip"):
            assert read_photo(f"{base}/{archive}!/3.jpg") == jpeg(3)

    def test_a_zip_on_a_server_that_sends_whole_files_alone_says_so(
        self, server: Any, find: Any, jpeg: Any, make_zip: Any, tmp_path: Any
    ) -> None:
        # Larger than what is asked for at once.
        members = {f"{n}.bmp": bytes(2**20) for n in range(12)} | {"1.jpg": jpeg(1)}
        server.files["/a.zip"] = make_zip(tmp_path / "a.zip", members, 0).read_bytes()
        found = find(f"{server.url}/a.zip")
        assert found.names == []
        assert found.problems[f"{server.url}/a.zip"]

    def test_an_archive_whose_connection_drops_gives_what_came(
        self, server: Any, find: Any, jpeg: Any, make_tar: Any, tmp_path: Any
    ) -> None:
        members = {f"{n}.jpg": jpeg(n) for n in range(40)}
        server.files["/a.tar"] = make_tar(tmp_path / "a.tar", members).read_bytes()
        server.bad["/a.tar"] = "drop"
        found = find(f"{server.url}/a.tar")
        assert len(found.names) < 40
        assert server.url in found.problems[f"{server.url}/a.tar"]
        assert server.asked.count(("GET", "/a.tar")) == SHORT.tries

    @pytest.mark.parametrize("path", ["/gone.jpg", "/gone.tar", "/gone.csv"])
    def test_a_source_that_is_not_there_is_refused_at_once(self, server: Any, find: Any, path: str) -> None:
        with pytest.raises(SourceError, match="does not exist"):
            find(f"{server.url}{path}")

    def test_a_folder_of_the_web_cannot_be_listed(self, server: Any, find: Any) -> None:
        with pytest.raises(SourceError, match="cannot be asked for a list"):
            find(f"{server.url}/photos/")

    def test_photos_of_a_manifest_that_are_slow_or_missing_do_not_stop_the_others(
        self, server: Any, find: Any, jpeg: Any
    ) -> None:
        for n in range(6):
            server.files[f"/{n}.jpg"] = jpeg(n)
        server.bad |= {"/1.jpg": "silent", "/2.jpg": 404, "/3.jpg": 500}
        server.files["/m.csv"] = b"url\n" + b"".join(f"{server.url}/{n}.jpg\n".encode() for n in range(6))
        found = find(f"{server.url}/m.csv")
        assert found.names == [f"{server.url}/{n}.jpg" for n in (0, 4, 5)]
        assert list(found.problems) == [f"{server.url}/{n}.jpg" for n in (1, 2, 3)]
