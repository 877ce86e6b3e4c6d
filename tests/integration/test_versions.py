"""Galleries change their model under searches: real models, real embedded Milvus, real pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from own_ports import own_port
from PIL import Image, ImageDraw

from sbka_milvus import SketchSearch
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.index_record import read_index_record
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.bundle import copy_bundle
from sbka_milvus.encoders.manifest import read_manifest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import CollectionMissing, EncoderMismatch, GalleryError, StoreError, StoreUnavailable
from sbka_milvus.factory import ingest_into, open_encoder, open_gallery, open_store
from sbka_milvus.feedback import FeedbackLog
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.index import IndexOptions, build_version
from sbka_milvus.pipelines.versions import rollback, serve_version
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import MilvusSettings, Settings
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import StoredRows, VersionInfo

PHOTOS = 24
SIZES = {"first": 64, "second": 96}
DEADLINE_S = 60.0


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models whose inputs are of different sizes."""
    folders = {}
    for seed, (name, size) in enumerate(SIZES.items()):
        torch.manual_seed(seed)
        request = BuildRequest(BackboneSpec.parse("timm:resnet10t"), pretrained=False, size=size)
        folders[name] = tmp_path_factory.mktemp("models") / name
        import_model(request, folders[name], name, SilentProgress())
    return folders


@pytest.fixture(scope="module")
def ingested(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and a gallery of the first model."""
    root = tmp_path_factory.mktemp("ingested")
    for number in range(PHOTOS):
        cells = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = root / "photos" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(cells).resize((96, 96), Image.Resampling.NEAREST).save(path)
    settings = Settings(workspace=root / "workspace")
    ingest_into([root / "photos"], root / "gallery", settings, SilentProgress(), model=models["first"], name="cats")
    return root


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path / "workspace")


@pytest.fixture
def gallery(ingested: Path, tmp_path: Path) -> Gallery:
    """A gallery of its own for each test, with the photos where they were."""
    shutil.copytree(ingested / "gallery", tmp_path / "gallery")
    return Gallery.open(tmp_path / "gallery")


@pytest.fixture
def sketch() -> Image.Image:
    picture = Image.new("L", (200, 150), 255)
    ImageDraw.Draw(picture).line((20, 20, 150, 60, 60, 130), fill=0, width=5)
    return picture


def prepare(gallery: Gallery, model: Path, photos: Path, store: MilvusGalleryStore, settings: Settings) -> VersionInfo:
    """Embeds the photos with another model, and builds a version of it."""
    new = gallery.for_model(read_manifest(model).fingerprint)
    copy_bundle(model, new.model_folder)
    encoder = open_encoder(new.model_folder, settings)
    embed_photos([photos], new, encoder, EmbedOptions(decode_size=encoder.input_size), SilentProgress())
    return build_version(new, store, IndexOptions(), SilentProgress())


@pytest.fixture
def upgraded(
    gallery: Gallery, ingested: Path, models: dict[str, Path], settings: Settings
) -> Iterator[tuple[Gallery, MilvusGalleryStore, dict[str, VersionInfo]]]:
    """A gallery with a version of each model; the first one serves."""
    with open_gallery(gallery.root, settings) as (opened, store):
        info = prepare(gallery, models["second"], ingested / "photos", store, settings)
        yield opened, store, {"first": store.served("cats"), "second": info}


def uris(result: Any) -> list[str]:
    return [hit.uri for hit in result]


def expected(models: dict[str, Path], ingested: Path, sketch: Image.Image, settings: Settings) -> dict[str, list[str]]:
    """The right order of photos for each fingerprint: by galleries of one model alone."""
    orders = {}
    for name, model in models.items():
        root = settings.workspace.parent / f"alone-{name}"
        ingest_into([ingested / "photos"], root, settings, SilentProgress(), model=model)
        with SketchSearch.open(root, settings=settings) as search:
            orders[search.encoder.fingerprint] = uris(search(sketch, k=8, n_probe=100))
    return orders


def test_a_search_follows_the_gallery_to_another_model_and_back(upgraded, models, ingested, sketch, settings):
    gallery, store, versions = upgraded
    right = expected(models, ingested, sketch, settings)
    first, second = (read_manifest(models[name]).fingerprint for name in ("first", "second"))
    assert right[first] != right[second]
    with SketchSearch.open(gallery.root, settings=settings) as search:
        drawn = search.normalise(sketch)
        assert drawn.size == (64, 64)
        encoders = []
        for switch, version, fingerprint in (
            (lambda: None, 1, first),
            (lambda: serve_version(gallery, store, versions["second"]), 2, second),
            (lambda: rollback(gallery, store), 1, first),
        ):
            switch()
            result = search(sketch, k=8, n_probe=100)
            assert (result.version, result.fingerprint, search.encoder.fingerprint) == (
                version,
                fingerprint,
                fingerprint,
            )
            assert uris(result) == right[fingerprint]
            encoders.append(search.encoder)
            again = search.search_normalised([drawn], 8, n_probe=100)[0]
            assert (again.version, again.fingerprint) == (version, fingerprint)
        assert encoders[0] is encoders[2], "a roll-back loads nothing"
    assert Gallery.open(gallery.root).fingerprint == first


def test_switches_under_load_give_no_error_and_no_mixture(upgraded, models, ingested, sketch, settings):
    gallery, store, versions = upgraded
    right = expected(models, ingested, sketch, settings)
    by_version = {info.version: info.fingerprint for info in versions.values()}
    answers = [0, 0]
    stop = threading.Event()

    def ask(number: int) -> None:
        with SketchSearch.open(gallery.root, settings=settings) as search:
            while not stop.is_set():
                result = search(sketch, k=8, n_probe=100)
                assert by_version[result.version] == result.fingerprint
                assert uris(result) == right[result.fingerprint]
                answers[number] += 1

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(ask, number) for number in range(2)]
        try:
            for name in ("second", "first", "second", "first"):
                before = list(answers)
                wait_until(lambda before=before: all(a > b + 2 for a, b in zip(answers, before, strict=True)))
                serve_version(gallery, store, versions[name])
            before = list(answers)
            wait_until(lambda: all(a > b + 2 for a, b in zip(answers, before, strict=True)))
        finally:
            stop.set()
        for one in running:
            one.result()


def test_without_its_folder_a_search_says_that_the_gallery_has_another_model(upgraded, models, sketch, settings):
    gallery, store, versions = upgraded
    uri = str(gallery.milvus_folder)
    with SketchSearch.open(uri=uri, gallery="cats", model=models["first"], settings=settings) as search:
        assert search(sketch, k=1).version == 1
        serve_version(gallery, store, versions["second"])
        with pytest.raises(EncoderMismatch, match=f"{versions['second'].fingerprint}.*Search with the gallery's own"):
            search(sketch, k=1)


def test_a_model_that_was_taken_away_is_told(upgraded, models, sketch, settings):
    gallery, store, versions = upgraded
    with SketchSearch.open(gallery.root, settings=settings) as search:
        serve_version(gallery, store, versions["second"])
        shutil.rmtree(gallery.for_model(versions["second"].fingerprint).model_folder)
        with pytest.raises(EncoderMismatch):
            search(sketch, k=1)


def test_a_gallery_opens_with_what_is_served_whatever_its_file_says(upgraded, sketch, settings):
    gallery, store, versions = upgraded
    store.promote(versions["second"])  # killed before gallery.json was written
    assert Gallery.open(gallery.root) == gallery
    with SketchSearch.open(gallery.root, settings=settings) as search:
        assert search(sketch, k=1).fingerprint == versions["second"].fingerprint
    assert Gallery.open(gallery.root).fingerprint == versions["second"].fingerprint


def test_an_ingest_after_an_upgrade_goes_on_with_the_new_model(upgraded, ingested, settings):
    gallery, store, versions = upgraded
    serve_version(gallery, store, versions["second"])
    gallery.save()  # as a kill would leave it
    report = ingest_into([ingested / "photos"], gallery.root, settings, SilentProgress())
    assert (report.embed.embedded, report.embed.unchanged, report.index.rebuilt) == (0, PHOTOS, False)
    assert store.served("cats") == versions["second"]


class TestCommands:
    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    @pytest.fixture
    def both(self, gallery, ingested, models, settings):
        with open_gallery(gallery.root, settings) as (opened, store):
            prepare(opened, models["second"], ingested / "photos", store, settings)
        return gallery

    def served(self, ran: Any) -> list[int]:
        assert ran.code == 0, ran.err
        return [one["version"] for one in ran.json() if one["served"]]

    def test_versions_are_listed_served_and_left(self, sbka, both):
        shown = sbka("gallery", "versions", both.root)
        assert shown.code == 0, shown.err
        assert "1 *" in shown.out
        assert "waits" in shown.out
        listed = sbka("gallery", "versions", both.root, "--json").json()
        assert [(one["version"], one["served"], one["complete"], one["photos"]) for one in listed] == [
            (1, True, True, PHOTOS),
            (2, False, True, PHOTOS),
        ]
        assert self.served(sbka("gallery", "promote", both.root, "2", "--json")) == [2]
        assert Gallery.open(both.root).fingerprint == listed[1]["model"]
        assert self.served(sbka("gallery", "rollback", both.root, "--json")) == [1]
        assert Gallery.open(both.root).fingerprint == listed[0]["model"]
        assert "rolled back from" in sbka("gallery", "versions", both.root).out

    def test_errors_are_one_line_with_a_remedy(self, sbka, both, tmp_path):
        empty = Gallery.create_or_open(tmp_path / "empty", "model-1")
        for arguments, expected_words in [
            (("versions", tmp_path / "none"), "sbka ingest"),
            (("versions", empty.root), "has no index yet"),
            (("promote", both.root, "7"), "has no version 7; it has 1, 2"),
            (("rollback", both.root), "no earlier version"),
        ]:
            ran = sbka("gallery", *arguments)
            assert ran.code == 1, (arguments, ran)
            assert len(ran.err.strip().splitlines()) == 1, ran.err
            assert expected_words in ran.err


@contextmanager
def milvus_server(folder: Path, port: int) -> Iterator[psutil.Process]:
    command = [str(Path(sys.executable).with_name("milvus-lite")), "server", "--data-dir", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port))
            yield process
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        with MilvusGalleryStore(f"http://127.0.0.1:{port}", timeout_s=1.0) as store:
            store.versions("cats")
        return True
    except StoreError:
        return False


@pytest.fixture
def port() -> int:
    return own_port()


def at(settings: Settings, port: int) -> Settings:
    milvus = MilvusSettings(uri=f"http://127.0.0.1:{port}", timeout_s=5.0)
    return settings.model_copy(update={"milvus": milvus})


class FlakyStore(MilvusGalleryStore):
    """Cannot be reached for some calls."""

    down = 0

    def served(self, gallery: str) -> VersionInfo:
        self._fail()
        return super().served(gallery)

    def fetch(self, *asked: Any, **how: Any) -> StoredRows:
        self._fail()
        return super().fetch(*asked, **how)

    def _fail(self) -> None:
        if self.down:
            self.down -= 1
            raise StoreUnavailable("The store cannot be reached.")


def test_a_query_is_patient_with_a_milvus_that_restarts_but_not_for_ever(gallery, sketch, settings):
    store = FlakyStore(str(gallery.milvus_folder))
    with SketchSearch("cats", open_encoder(gallery.model_folder, settings), store, settings, gallery) as search:
        store.down = 2
        assert len(search(sketch, k=5)) == 5
        store.down = 1000
        with pytest.raises(StoreUnavailable):
            search(sketch, k=5)
        assert 1000 - store.down < 10


def test_a_search_goes_on_with_a_milvus_that_was_killed_and_came_back(gallery, sketch, settings, port):
    with ExitStack() as stack:
        server = stack.enter_context(milvus_server(gallery.milvus_folder, port))
        search = stack.enter_context(SketchSearch.open(gallery.root, settings=at(settings, port)))
        before = search(sketch, k=5)
        server.kill()
        server.wait()
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}"):
            search(sketch, k=5)
        stack.enter_context(milvus_server(gallery.milvus_folder, port))
        assert uris(search(sketch, k=5)) == uris(before)


def test_the_place_of_an_index_is_remembered_and_named(gallery, ingested, settings, port, tmp_path):
    assert read_index_record(gallery.index_file).place == "embedded"
    here = at(settings, port)
    with milvus_server(tmp_path / "server", port):
        for open_it in (
            lambda: SketchSearch.open(gallery.root, settings=here),
            lambda: open_gallery(gallery.root, here).__enter__(),
        ):
            with pytest.raises(GalleryError, match=r"indexed in the Milvus in its own folder, and the Milvus at http"):
                open_it()
        report = ingest_into([ingested / "photos"], gallery.root, here, SilentProgress())
        assert (report.embed.embedded, report.index.rebuilt) == (0, True)
        assert read_index_record(gallery.index_file).place == f"http://127.0.0.1:{port}"
        with SketchSearch.open(gallery.root, settings=here) as search:
            assert search.gallery == "cats"
        with pytest.raises(CollectionMissing):
            SketchSearch.open(gallery.root, gallery="dogs", settings=here)
    shutil.rmtree(gallery.milvus_folder)
    with pytest.raises(GalleryError, match=f"Set SBKA_MILVUS__URI=http://127.0.0.1:{port}"):
        SketchSearch.open(gallery.root, settings=settings)


def test_a_running_up_is_found_by_its_file(gallery, ingested, sketch, settings, port, tmp_path):
    settings.workspace.mkdir()
    with milvus_server(tmp_path / "server", port) as server:
        state = {"pid": server.pid, "started": psutil.Process(server.pid).create_time()}
        up = {**state, "milvus": f"http://127.0.0.1:{port}", "redis": ""}
        (settings.workspace / "up.json").write_text(json.dumps(up))
        ingest_into([ingested / "photos"], gallery.root, settings, SilentProgress())
        assert read_index_record(gallery.index_file).place == f"up:{settings.workspace}"
        with open_store(None, settings) as store:
            assert store.served("cats").version == 1
        with SketchSearch.open(gallery.root, settings=settings) as search:
            assert len(search(sketch, k=5)) == 5
    shutil.rmtree(gallery.milvus_folder)
    with pytest.raises(GalleryError, match=rf"Start `sbka up` with SBKA_WORKSPACE={settings.workspace}"):
        SketchSearch.open(gallery.root, settings=settings)


def test_feedback_is_kept_for_photos_of_the_gallery_alone(gallery, sketch, settings, models):
    with SketchSearch.open(gallery.root, settings=settings) as search:
        found = uris(search(sketch, k=2))
        pairs = search.feedback(sketch, accepted=found[:1], rejected=found[1:], category="squares")
        assert [(pair.uri, pair.verdict) for pair in pairs] == [(found[0], "accepted"), (found[1], "rejected")]
        assert FeedbackLog(gallery.root).read() == pairs
        with pytest.raises(GalleryError, match=r"does not hold the photo /nowhere\.jpg"):
            search.feedback(sketch, accepted=["/nowhere.jpg"])
        assert FeedbackLog(gallery.root).read() == pairs
    uri = str(gallery.milvus_folder)
    with (
        SketchSearch.open(uri=uri, gallery="cats", model=models["first"], settings=settings) as search,
        pytest.raises(GalleryError, match="Open the gallery from its folder"),
    ):
        search.feedback(sketch, accepted=found)
