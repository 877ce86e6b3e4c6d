"""Jobs in a workspace, pictures, an encoder without a network, and a Redis that is real."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_ports import own_port
from PIL import Image, ImageDraw

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import BrokerUnavailable
from sbka_milvus.settings import Settings
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import FloatArray, normalise
from schemas.jobs import IngestJob, UpgradeJob
from schemas.tasks import UnitMessage
from workers.broker import connect_url
from workers.jobs import JobFolder, create_job
from workers.runner import run_unit
from workers.services.redis import find_redis_server
from workers.steps import missing_units

GRID = 4


class Killed(BaseException):
    """Ends a unit as SIGKILL ends a process: nobody counts it, nobody tells why."""


class GridEncoder:
    """Encodes a picture as the mean colours of 4 x 4 cells; each model has its own order of them.

    Args:
        fingerprint: of the model.
        on_batch: is given the pictures before they are encoded; may raise.
    """

    dim = 3 * GRID * GRID
    input_size = 32

    def __init__(self, fingerprint: str, on_batch: Callable[[Sequence[Image.Image]], None]) -> None:
        self.fingerprint = fingerprint
        self._on_batch = on_batch
        self._order = np.random.default_rng(len(fingerprint)).permutation(self.dim)

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        """shape (N, 48), float32, unit rows."""
        self._on_batch(photos)
        cells = [np.asarray(photo.resize((GRID, GRID), Image.Resampling.BOX), dtype=np.float64) for photo in photos]
        return normalise(np.stack(cells).reshape(len(photos), -1)[:, self._order] + 1)

    encode_sketches = encode_photos


class FakeContext:
    """A :class:`~workers.context.Context` whose Milvus is in memory and whose models are grids."""

    place = "memory"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workspace = settings.workspace.resolve()
        self.memory = MemoryGalleryStore()
        self.encoded = 0
        self.on_batch: Callable[[Sequence[Image.Image]], None] = lambda _: None
        self.on_store: Callable[[], None] = lambda: None

    def encoder(self, gallery: Gallery) -> GridEncoder:
        return GridEncoder(gallery.fingerprint, self._count)

    @contextmanager
    def store(self, gallery: Gallery) -> Iterator[MemoryGalleryStore]:
        self.on_store()
        yield self.memory

    def close_store(self) -> None:
        return

    def _count(self, photos: Sequence[Image.Image]) -> None:
        self.on_batch(photos)
        self.encoded += len(photos)

    def do(self, job: JobFolder, unit: str) -> None:
        """Runs a unit as a task does."""
        run_unit(UnitMessage(job=job.id, unit=unit), self)  # type: ignore[arg-type]

    def finish(self, job: JobFolder, rounds: int = 30) -> list[str]:
        """Runs what is missing until the job ends; the units in the order in which they were run."""
        ran = []
        for _ in range(rounds):
            units = missing_units(job) if job.is_open else []
            for unit in units:
                self.do(job, unit)
                ran.append(unit)
            if not job.is_open:
                return ran
        raise AssertionError(
            f"{job.id} does not end: {ran}, {[job.read('tries', unit) for unit in job.names('tries')]}"
        )


def draw(path: Path, seed: int) -> Path:
    """A picture of random cells."""
    cells = np.random.default_rng(seed).integers(0, 256, (GRID, GRID, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(cells).resize((40, 40), Image.Resampling.NEAREST).save(path)
    return path


def draw_sketch(path: Path) -> Path:
    """A cross."""
    picture = Image.new("L", (64, 64), 255)
    pen = ImageDraw.Draw(picture)
    pen.line((8, 8, 56, 56), fill=0, width=4)
    pen.line((8, 56, 56, 8), fill=0, width=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def make_model(folder: Path, fingerprint: str) -> Path:
    """A bundle that has a manifest, and no network worth the name."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "name": fingerprint, "backbone": "timm:grid", "preprocessing": {}, "dim": GridEncoder.dim,
        "fingerprint": fingerprint, "weights_digest": "",
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    return Settings(
        workspace=tmp_path / "workspace",
        broker={"url": redis_url},  # type: ignore[arg-type]
        worker={"chunk_size": 3, "lease_s": 30.0},  # type: ignore[arg-type]
    )


@pytest.fixture
def workspace(settings: Settings) -> Path:
    return settings.workspace.resolve()


@pytest.fixture
def context(settings: Settings) -> FakeContext:
    return FakeContext(settings)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures: chunks of three, three and two."""
    for number in range(8):
        draw(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """An empty gallery of the model ``grid-1``."""
    made = Gallery.create_or_open(tmp_path / "gallery", "grid-1", "cats")
    make_model(made.model_folder, "grid-1")
    return made


@pytest.fixture
def ingest(workspace: Path, photos: Path, gallery: Gallery) -> Callable[..., JobFolder]:
    """Makes a job that takes the photos into the gallery."""

    def make(*sources: Path, **more: Any) -> JobFolder:
        named = tuple(str(source) for source in sources or (photos,))
        return create_job(workspace, IngestJob(sources=named, gallery=str(gallery.root), **more))

    return make


@pytest.fixture
def upgrade(workspace: Path, tmp_path: Path, gallery: Gallery) -> Callable[..., JobFolder]:
    """Makes a job that brings the gallery to the model ``grid-two``; its gate asks for nothing."""

    def make(model: str = "grid-two", matching: str | None = None, **gate: Any) -> JobFolder:
        folder = tmp_path / model
        if not folder.is_dir():
            make_model(folder, model)
        query = draw_sketch(tmp_path / "sketches" / "1.png")
        rules = {"queries": (str(query),), "min_agreement": 0.0} | gate
        wish = UpgradeJob(gallery=str(gallery.root), model=str(folder), gate=rules, matching=matching)  # type: ignore[arg-type]
        return create_job(workspace, wish)

    return make


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Starts real Redis servers, with nothing in them; gives their addresses."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        port = own_port()
        folder = tmp_path_factory.mktemp("redis")
        options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder))
        started.append(subprocess.Popen([str(find_redis_server()), *options], stdout=subprocess.DEVNULL))
        url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: answers(url), "an answer of Redis")
        return url

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def one_redis(redis_server: Callable[[], str]) -> str:
    return redis_server()


@pytest.fixture
def redis_url(one_redis: str) -> str:
    """A real Redis that is empty."""
    client = connect_url(one_redis)
    client.flushall()
    client.close()
    return one_redis


@pytest.fixture
def waiting(redis_url: str) -> Callable[[], list[tuple[str, str, str]]]:
    """The messages in Redis: queue, task and unit of each, the first to be taken first."""

    def read(url: str = redis_url) -> list[tuple[str, str, str]]:
        client = connect_url(url)
        try:
            found = []
            for queue in ("control", "embed", "index", "train"):
                for raw in reversed(client.lrange(queue, 0, -1)):  # type: ignore[arg-type]
                    headers = json.loads(raw)["headers"]
                    found.append((queue, headers["task"], headers["kwargsrepr"]))
            return [(queue, task, text.rpartition("'unit': '")[2].rstrip("'}")) for queue, task, text in found]
        finally:
            client.close()

    return read


@pytest.fixture
def full_disk() -> Callable[[], AbstractContextManager[None]]:
    """While the block runs, nothing can be written into any file."""

    @contextmanager
    def full() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def killed() -> type[Killed]:
    return Killed


@pytest.fixture
def draw_photo() -> Callable[[Path, int], Path]:
    return draw


@pytest.fixture
def new_model() -> Callable[[Path, str], Path]:
    return make_model


@pytest.fixture
def remove() -> Callable[[JobFolder], None]:
    """Removes a job's folder, as a user does who tidies up."""
    return lambda job: shutil.rmtree(job.root)


def answers(url: str) -> bool:
    """Whether Redis is there."""
    try:
        connect_url(url).close()
    except BrokerUnavailable:
        return False
    return True


def wait_until(ready: Callable[[], Any], what: str, deadline_s: float = 60.0) -> Any:
    """What a call gives as soon as that is something."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {deadline_s:.0f} s")
