"""Pictures as bytes, archives of them, and a server of files on this machine that can be slow or drop connections."""

from __future__ import annotations

import io
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.images import PhotoFile, source_photos
from sbka_milvus.images.sources.read import open_archives, remote_files


def _jpeg(seed: int = 0) -> bytes:
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(cells).resize((24, 16), Image.Resampling.NEAREST).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="session")
def jpeg() -> Callable[[int], bytes]:
    """A small picture for a number."""
    return _jpeg


def _tar(path: Path, members: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            header = tarfile.TarInfo(name)
            header.size, header.mtime = len(content), 1_600_000_000
            archive.addfile(header, io.BytesIO(content))
    return path


@pytest.fixture(scope="session")
def make_tar() -> Callable[..., Path]:
    """Writes a tar archive of contents by name; a TarInfo goes in as it is."""
    return _tar


def _zip(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 2, 3, 4, 6)), content, method)
    return path


@pytest.fixture(scope="session")
def make_zip() -> Callable[..., Path]:
    """Writes a zip archive of contents by name."""
    return _zip


class Found:
    """What was found in sources.

    Attributes:
        photos: by URI below the folder, in their order.
        problems: likewise.
    """

    def __init__(self, sources: Any, root: str) -> None:
        self.problems: dict[str, str] = {}
        found = list(source_photos(sources, lambda uri, why: self.problems.update({uri.removeprefix(root): why})))
        self.photos: dict[str, PhotoFile] = {photo.uri.removeprefix(root): photo for photo in found}
        assert len(self.photos) == len(found), "a photo came twice"

    @property
    def names(self) -> list[str]:
        return list(self.photos)

    @property
    def metadata(self) -> dict[str, Any]:
        return {name: None if one.metadata is None else dict(one.metadata) for name, one in self.photos.items()}


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., Found]:
    """Finds photos in sources; names are told without the test's folder."""
    return lambda *sources: Found([str(source) for source in sources], f"{tmp_path}/")


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    """Each test begins with no archive open, and with its own patience for addresses."""
    yield
    open_archives.cache_clear()
    remote_files.cache_clear()


class FileServer:
    """Serves files, some of them badly.

    Attributes:
        url: of the server.
        files: content by path.
        asked: method and path of every request.
        bad: by path what is done instead: ``slow``, ``silent``, ``drop``, ``flaky`` (the first two fail), or a status.
        ranges: whether parts of files are sent.
        tags: by path the ETag; by default none.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.bad: dict[str, str | int] = {}
        self.tags: dict[str, str] = {}
        self.ranges = False
        self.stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                outer.answer(self, with_body=False)

            def do_GET(self) -> None:
                outer.answer(self, with_body=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        path = unquote(request.path.partition("?")[0])
        self.asked.append((request.command, path))
        bad = self.bad.get(path)
        tries = sum(one == (request.command, path) for one in self.asked)
        if bad == "silent":
            self.stopping.wait(30)
            return
        data = self.files.get(path)
        status = bad if isinstance(bad, int) else 404 if data is None else 503 if bad == "flaky" and tries < 3 else 200
        if status != 200:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        assert data is not None
        begin, end = 0, len(data)
        if self.ranges and "Range" in request.headers:
            first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
            begin, end = int(first), min(len(data), int(last) + 1) if last else len(data)
        request.send_response(206 if self.ranges and "Range" in request.headers else 200)
        if self.ranges and "Range" in request.headers:
            request.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        request.send_header("Content-Length", str(end - begin))
        if self.ranges:
            request.send_header("Accept-Ranges", "bytes")
        if path in self.tags:
            request.send_header("ETag", self.tags[path])
        request.end_headers()
        if not with_body:
            return
        body = data[begin:end]
        if bad == "drop":
            request.wfile.write(body[: len(body) // 2])
            request.close_connection = True
            return
        if bad == "slow":
            for byte in body:
                if self.stopping.is_set():
                    return
                try:
                    request.wfile.write(bytes([byte]))
                    request.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)
            return
        request.wfile.write(body)

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server of files on this machine."""
    opened = FileServer()
    yield opened
    opened.close()
