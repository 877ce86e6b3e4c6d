"""From an object store that speaks S3, on this machine, to hits: folders, patterns, archives, manifests, and faults."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
import torch
from moto.server import ThreadedMotoServer
from PIL import Image

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import SourceError
from sbka_milvus.images import source_photos
from sbka_milvus.images.sources.remote import Patience, RemoteFiles
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights."""
    folder = tmp_path_factory.mktemp("model") / "model"
    torch.manual_seed(0)
    request = BuildRequest(BackboneSpec.parse("timm:test_efficientnet"), pretrained=False, size=64)
    import_model(request, folder, "tiny", SilentProgress())
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server that speaks S3."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials as users have them in their environment."""
    for name, value in {"ACCESS_KEY_ID": "me", "SECRET_ACCESS_KEY": "mine", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(world: None, address: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A store with a bucket of this test's own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    files = s3fs.S3FileSystem()
    name = f"b{abs(hash(request.node.name))}"
    files.mkdir(name)
    return Bucket(files, name)


class Bucket:
    """Files of a bucket."""

    def __init__(self, files: Any, name: str) -> None:
        self.files, self.name, self.uri = files, name, f"s3://{name}"

    def put(self, path: str, data: bytes) -> None:
        self.files.pipe_file(f"{self.name}/{path}", data)

    def remove(self, path: str) -> None:
        self.files.rm_file(f"{self.name}/{path}")


def found(*sources: str) -> tuple[list[str], dict[str, str]]:
    problems: dict[str, str] = {}
    return [file.uri for file in source_photos(sources, lambda uri, why: problems.update({uri: why}))], problems


def sbka(*arguments: str | Path, code: int = 0) -> Any:
    """The command in a process of its own; its report, or what it said."""
    command = [sys.executable, "-m", "sbka_milvus", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def test_folders_patterns_archives_and_manifests(bucket: Bucket, tmp_path: Path) -> None:
    for n in range(4):
        bucket.put(f"cats/{n}.jpg", jpeg(n))
        bucket.put(f"cats/deep er/ü {n}.jpg", jpeg(4 + n))
    bucket.put("cats/notes.txt", b"no photo")
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for n in range(3):
                header = tarfile.TarInfo(f"t{n}.jpg")
                header.size = len(jpeg(n))
                tar.addfile(header, io.BytesIO(jpeg(n)))
        bucket.put("a.tar", file.getvalue())
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.writestr("z/0.jpg", jpeg(0))
        bucket.put("b.zip", file.getvalue())
    with io.BytesIO() as file:
        pq.write_table(pa.table({"path": ["cats/0.jpg", "cats/9.jpg"], "year": [1999, 2000]}), file)
        bucket.put("m.parquet", file.getvalue())

    uri = bucket.uri
    every = [f"{uri}/cats/{n}.jpg" for n in range(4)] + [f"{uri}/cats/deep er/ü {n}.jpg" for n in range(4)]
    assert found(f"{uri}/cats/") == (every, {})
    assert found(f"{uri}/cats/?.jpg") == (every[:4], {})
    # What a list says of a file is what is said of it alone: naming it in another way does not embed it again.
    listed = list(source_photos(f"{uri}/cats/"))
    alone = [RemoteFiles().look(one.uri) for one in listed]
    assert [(one.size, one.mtime_ns) for one in listed] == [(one.size, one.stamp) for one in alone]
    assert len({one.mtime_ns for one in listed}) == len(listed)
    assert found(f"{uri}/cats/**/ü*.jpg") == (every[4:], {})
    assert found(f"{uri}/a.tar", f"{uri}/b.zip") == (
        [f"{uri}/a.tar!/t{n}.jpg" for n in range(3)] + [f"{uri}/b.zip!/z/0.jpg"],
        {},
    )
    photos, problems = found(f"{uri}/m.parquet")
    assert (photos, list(problems)) == ([f"{uri}/cats/0.jpg"], [f"{uri}/cats/9.jpg"])
    assert "does not exist" in problems[f"{uri}/cats/9.jpg"]


def test_a_bucket_is_ingested_once_and_followed(bucket: Bucket, tmp_path: Path, model: Path) -> None:
    for n in range(6):
        bucket.put(f"p/{n}.jpg", jpeg(n))
    bucket.put("p/broken.jpg", jpeg(9)[:200])
    gallery = tmp_path / "gallery"
    first = sbka("ingest", f"{bucket.uri}/p/", "-g", gallery, "-m", model, "--json")
    assert (first["embed"]["embedded"], first["index"]["photos"]) == (6, 6)
    assert [one["uri"] for one in first["embed"]["quarantined"]] == [f"{bucket.uri}/p/broken.jpg"]

    again = sbka("ingest", f"{bucket.uri}/p/", "-g", gallery, "--json")
    assert (again["embed"]["embedded"], again["embed"]["unchanged"]) == (0, 6)

    bucket.put("p/1.jpg", jpeg(11))
    bucket.remove("p/2.jpg")
    changed = sbka("ingest", f"{bucket.uri}/p/", "-g", gallery, "--prune", "--json")
    assert (changed["embed"]["embedded"], changed["embed"]["pruned"], changed["index"]["photos"]) == (1, 1, 5)
    checked = sbka("verify", "-g", gallery, "--json")
    assert checked["clean"] is True, checked


@pytest.mark.parametrize("path", ["none.jpg", "none.tar", "none.csv", "none/"])
def test_what_is_not_there_is_refused(bucket: Bucket, path: str) -> None:
    with pytest.raises(SourceError, match=r"does not exist|holds or matches no image"):
        found(f"{bucket.uri}/{path}")


def test_a_bucket_that_is_not_there_is_refused(bucket: Bucket) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        found(f"{bucket.uri}-other/a.jpg")


def test_missing_credentials_are_told_as_such(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3fs.S3FileSystem.clear_instance_cache()
    for path in ("a.jpg", "a/"):
        with pytest.raises(SourceError, match=f"{path} asks for credentials: Unable to locate credentials") as caught:
            found(f"{bucket.uri}/{path}")
        assert caught.value.remedy == "Put them into the environment."


def test_a_store_that_is_out_of_reach_is_told_in_bounded_time(world: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(SourceError, match="cannot be fetched"):
            RemoteFiles(Patience(tries=1)).read("s3://bucket/a.jpg")
    assert time.monotonic() - start < 120
