from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sbka_milvus import store
from sbka_milvus.errors import InvalidValue, StoreError, StoreUnavailable
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.store.lite_memory import LIMIT_BYTES, VARIABLE
from sbka_milvus.store.session import MilvusSession, is_server


@pytest.mark.parametrize("uri", ["http://milvus:19530", "HTTPS://in01.example", "https://user:pw@host/db"])
def test_servers(uri):
    assert is_server(uri)


@pytest.mark.parametrize("uri", ["gallery", "/data/gallery.db", "./http", "~/gallery", "C:/gallery"])
def test_directories(uri):
    assert not is_server(uri)


@pytest.mark.parametrize("uri", ["", "  ", "tcp://milvus:19530", "s3://bucket", "file:///tmp/x"])
def test_neither(uri):
    with pytest.raises(InvalidValue, match="names no Milvus"):
        MilvusGalleryStore(uri)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_must_be_above_zero(tmp_path, timeout_s):
    with pytest.raises(InvalidValue, match="timeout_s"):
        MilvusGalleryStore(str(tmp_path / "lite"), timeout_s=timeout_s)


def test_the_number_of_partitions_is_checked_before_anything_is_opened(tmp_path):
    with pytest.raises(InvalidValue, match="max_partitions"):
        MilvusGalleryStore(str(tmp_path / "lite"), max_partitions=1024)
    assert not (tmp_path / "lite").exists()


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(StoreUnavailable) as caught:
        MilvusGalleryStore("http://127.0.0.1:9", timeout_s=1.0)
    assert "http://127.0.0.1:9" in caught.value.problem and caught.value.remedy


def test_a_server_that_went_away_is_noticed(tmp_path):
    session = MilvusSession(str(tmp_path / "lite"), "", "", 1.0)
    through = MilvusSession(session._directory.address, "", "", 1.0)
    assert not through.is_lite and through.call("list_collections") == []
    session.close()
    with pytest.raises(StoreUnavailable):
        through.call("list_collections")
    through.close()


def test_writers_of_a_directory_take_turns_and_those_of_a_server_do_not(tmp_path):
    first, second = (MilvusSession(str(tmp_path / "lite"), "", "", 1.0) for _ in range(2))
    through = MilvusSession(first._directory.address, "", "", 1.0)
    assert first.writing is second.writing is first.defining
    assert through.writing is not through.writing and through.defining is through.defining
    for session in (through, first, second):
        session.close()


def test_what_milvus_refuses_is_translated(tmp_path):
    with MilvusGalleryStore(str(tmp_path / "lite")) as opened, pytest.raises(StoreError, match=str(tmp_path)):
        opened._session.call("create_alias", "nothing", "alias")
    with pytest.raises(StoreError, match="closed"):
        opened.versions("cats")


def test_the_directory_is_made_with_its_parents(tmp_path):
    MilvusGalleryStore(str(tmp_path / "a/b c/ü")).close()
    assert (tmp_path / "a/b c/ü/collections").is_dir()


def test_the_public_names_are_there():
    assert store.__all__ == ["MAX_LIMIT", "MemoryGalleryStore", "MilvusGalleryStore", "Tls", "require_gallery_name"]
    assert all(getattr(store, name) for name in store.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = store.nonsense


def test_the_package_loads_nothing_heavy():
    script = (
        "import sys, sbka_milvus.store; from sbka_milvus.store import MemoryGalleryStore;"
        "print([name for name in ('pymilvus', 'milvus_lite', 'grpc', 'faiss', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("wanted", [None, 12345])
def test_milvus_lite_keeps_little_in_memory_unless_the_environment_says_otherwise(wanted):
    script = (
        "import sbka_milvus.store.lite, milvus_lite.constants, milvus_lite.engine.collection as used;"
        "print(used.MEMTABLE_MEMORY_LIMIT, milvus_lite.constants.MEMTABLE_MEMORY_LIMIT)"
    )
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    env |= {} if wanted is None else {VARIABLE: str(wanted)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == [str(wanted or LIMIT_BYTES)] * 2


def test_a_new_engine_is_not_taken_for_one_that_had_its_port(tmp_path):
    """pymilvus keeps the fields of collections by address; a port may come again, with other fields behind it."""
    from pymilvus.client.cache import GlobalCache

    GlobalCache.schema.set("127.0.0.1:1", "default", "cats__v1", {"fields": []})
    session = MilvusSession(str(tmp_path / "lite"), "", "", 10.0)
    session.close()
    assert GlobalCache.schema.get("127.0.0.1:1", "default", "cats__v1") is None
