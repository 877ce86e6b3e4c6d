"""What a real Milvus server adds to the contract: who may come in, what it cannot keep, and the whole program on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from milvus_servers import Server
from own_commands import Sbka, runner
from PIL import Image, ImageDraw

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import StoreError, StoreUnavailable
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import load_settings
from sbka_milvus.store import Tls, milvus_fetch
from sbka_milvus.types import MetadataField

SECRET = "do-not-tell"


@pytest.fixture
def server(milvus_server: Server) -> Iterator[Server]:
    """The server, empty again afterwards."""
    yield milvus_server
    milvus_server.clear()


def encrypted(server: Server) -> Server:
    if not server.tls.ca_file:
        pytest.skip("there is no openssl to make a certificate with")
    return server


def test_a_wrong_token_is_refused_for_good_and_never_shown(milvus_server: Server) -> None:
    for token in ("", f"root:{SECRET}"):
        with pytest.raises(StoreError, match=r"auth.*Check the token") as caught:
            replace(milvus_server, token=token).open()
        assert type(caught.value) is StoreError and not caught.value.retryable
        assert SECRET not in str(caught.value) + repr(caught.value)


def test_a_password_in_the_address_opens_and_is_never_shown(server: Server, small: Any) -> None:
    named = replace(server, uri=server.uri.replace("://", f"://root:{server.token.split(':')[1]}@"), token="")
    with named.open() as store:
        assert store.versions("cats") == []
        with pytest.raises(StoreError) as caught:
            store._session.call("create_alias", "nothing", "alias")
        assert server.uri in str(caught.value) and "Milvus@" not in str(caught.value)
    wrong = replace(server, uri=server.uri.replace("://", f"://root:{SECRET}@"), token="")
    with pytest.raises(StoreError) as caught:
        wrong.open()
    assert SECRET not in str(caught.value) + repr(caught.value)


def test_a_certificate_that_is_not_trusted_says_which_settings_to_use(milvus_server: Server) -> None:
    for tls in (Tls(), Tls(ca_file=encrypted(milvus_server).tls.ca_file)):
        with pytest.raises(StoreError, match=r"certificate.*SBKA_MILVUS__CA_FILE.*SBKA_MILVUS__SERVER_NAME") as caught:
            replace(milvus_server, tls=tls).open()
        assert not caught.value.retryable


def test_an_address_that_is_not_encrypted_does_not_reach_an_encrypted_server(milvus_server: Server) -> None:
    plain = replace(encrypted(milvus_server), uri=milvus_server.uri.replace("https", "http"), tls=Tls())
    with pytest.raises(StoreUnavailable):
        plain.open(timeout_s=2.0)


def test_a_gallery_is_in_the_database_that_was_named_and_in_no_other(server: Server, small: Any) -> None:
    with server.open() as store, replace(server, db_name="").open() as elsewhere:
        info = store.create_version("cats", "f", small.table)
        assert store.versions("cats") == [info]
        assert elsewhere.versions("cats") == []
    with pytest.raises(StoreError, match="nowhere"):
        replace(server, db_name="nowhere").open().versions("cats")


def test_metadata_is_refused_by_a_server_that_cannot_keep_it_and_leaves_nothing(server: Server, small: Any) -> None:
    with server.open() as store:
        with pytest.raises(StoreError, match=r"2\.3\.5.*no value.*Upgrade it to version 2\.5"):
            store.create_version("cats", "f", small.table, [MetadataField("year", "int")])
        assert store._session.call("list_collections") == []


def test_a_server_has_fewer_partitions_than_milvus_lite(server: Server, make_gallery: Any) -> None:
    with server.open() as store:
        # A version of more clusters would take a server minutes to load; what it would be planned with is the same.
        assert store._session.is_server and store._versions._most_partitions() == 64
        info = store.create_version("cats", "f", make_gallery(k=3).table)
        assert set(store._session.call("list_partitions", "cats__v1")) == {
            "_default",
            *(f"c0000{number}_{info.token[:16]}" for number in range(3)),
        }
        assert store.versions("cats") == [info]


def test_a_server_says_of_a_version_that_its_index_may_miss_photos(server: Server, small: Any) -> None:
    with server.open(index="hnsw") as store:
        info = store.create_version("cats", "f", small.table)
        store.insert(info, small.rows)
        store.promote(info)
        assert not store.served("cats").is_exact
        assert store._session.call("describe_index", "cats__v1", "vector")["index_type"] == "HNSW"
        for limit in (5, 1000):
            (found,) = store.search(info, small.probes(1), np.arange(3), limit)
            assert len(found) == min(limit, 60)


def test_milvus_lite_behind_its_server_is_no_milvus_server(local_lite: Server) -> None:
    with local_lite.open() as store:
        assert not store._session.is_server and not store._session.is_lite
        assert store._versions._most_partitions() == 256


@pytest.fixture
def sbka(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: Server) -> Iterator[Sbka]:
    """Runs ``sbka`` with settings that name the server."""
    told = {
        "URI": server.uri,
        "TOKEN": server.token,
        "DB_NAME": server.db_name,
        "CA_FILE": server.tls.ca_file,
        "SERVER_NAME": server.tls.server_name,
    }
    for name, value in told.items():
        monkeypatch.setenv(f"SBKA_MILVUS__{name}", value)
    load_settings.cache_clear()
    yield runner(capsys, monkeypatch)
    load_settings.cache_clear()


def model(folder: Path, size: int) -> Path:
    request = BuildRequest(BackboneSpec.parse("timm:test_efficientnet"), pretrained=False, size=size)
    import_model(request, folder, folder.name, SilentProgress())
    return folder


def draw(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        cells = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(cells).resize((64, 64), Image.Resampling.NEAREST).save(folder / f"{number:03d}.png")
    return folder


def test_the_whole_program_on_a_server(sbka: Sbka, server: Server, tmp_path: Path, one_thread: None) -> None:
    photos, gallery = draw(tmp_path / "photos", 16), tmp_path / "gallery"
    sketch = tmp_path / "sketch.png"
    picture = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(picture).line((8, 8, 56, 56), fill=0, width=4)
    picture.save(sketch)

    def found() -> tuple[int, list[str]]:
        ran = sbka("search", sketch, "-g", gallery, "-k", "16", "--json")
        assert ran.code == 0, ran.err
        (result,) = ran.json()
        return result["version"], [Path(hit["uri"]).name for hit in result["hits"]]

    ran = sbka("ingest", photos, "-g", gallery, "-m", model(tmp_path / "first", 64), "--json")
    assert ran.code == 0, ran.err
    assert ran.json()["index"]["version"] == 1
    assert not (gallery / "milvus").exists(), "nothing is kept in the folder"
    version, names = found()
    assert (version, sorted(names)) == (1, sorted(path.name for path in photos.iterdir()))

    ran = sbka("cluster", "-g", gallery, "--clusters", "2")
    assert ran.code == 0, ran.err
    version, names = found()
    assert (version, len(names)) == (2, 16)
    ran = sbka("upgrade", gallery, "-m", model(tmp_path / "second", 96), "--force", "--clusters", "2")
    assert ran.code == 0, ran.err
    version, names = found()
    assert (version, len(names)) == (3, 16)

    (photos / "003.png").unlink()
    ran = sbka("ingest", photos, "-g", gallery, "--prune", "--json")
    assert ran.code == 0, ran.err
    assert "003.png" not in found()[1]
    ran = sbka("verify", "-g", gallery, "--json")
    assert ran.code == 0, ran.out + ran.err
    ran = sbka("status", "-g", gallery)
    assert ran.code == 0, ran.err
    assert server.token not in (ran.out + ran.err)
    written = [path.read_text(errors="replace") for path in gallery.rglob("*.json")]
    assert written and not any(server.token in text for text in written)


def test_what_a_process_wrote_it_does_not_fetch_by_the_alias_for_a_while(
    server: Server, make_gallery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = make_gallery(n=24, k=3)
    with server.open() as store:
        info = store.create_version("cats", "f", gallery.table)
        store.insert(info, gallery.rows)
        store.promote(info)
        asked: list[Any] = []
        call = store._session.call
        monkeypatch.setattr(
            store._session,
            "call",
            lambda method, *args, **kw: (asked.append((method, *args)), call(method, *args, **kw))[1],
        )
        ids, clusters = gallery.embeddings.ids, gallery.clustering.assignments
        store.delete(info, ids[:3])
        asked.clear()
        assert len(store.fetch(info, ids, clusters, served=True)) == 21
        assert [one[:2] for one in asked] == [("query", "cats__v1"), ("describe_collection", "cats")]
        monkeypatch.setattr(milvus_fetch, "_BOUNDED_S", 0.0)
        asked.clear()
        assert len(store.fetch(info, ids, clusters, served=True)) in (21, 24)
        assert [one[:2] for one in asked] == [("query", "cats")]
