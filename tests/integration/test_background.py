"""Background work as its users meet it: real workers, a real Redis, a real Milvus server, the shell and Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from own_ports import own_port
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from sbka_milvus import SketchSearch
from sbka_milvus.embeddings import Gallery
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import JobError, SbkaError
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.retraining import read_retrainings
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import MilvusSettings, Settings, load_settings
from schemas.jobs import IngestJob
from workers.broker import connect_url
from workers.jobs import create_job, list_jobs
from workers.roster import read_workers
from workers.services.milvus import check_milvus
from workers.services.redis import find_redis_server
from workers.submit import Job, submit_ingest, submit_retrain, submit_train, submit_upgrade
from workers.vitals import FOLDER

Sbka = Callable[..., Any]

ROOT = Path(__file__).parents[2]
NET = "timm:test_efficientnet"
CLASSES = ("bar", "box", "disc", "pole", "ring")
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Place:
    """What is there before anybody asks for work: pictures, two models, and where everything is."""

    root: Path
    redis: str
    milvus: str

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    @property
    def sketches(self) -> Path:
        return self.root / "sketches"

    @property
    def held_out(self) -> Path:
        return self.root / "held-out"

    @property
    def weights(self) -> Path:
        return self.root / "base.safetensors"

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"


def draw(path: Path, category: str, number: int, *, sketch: bool) -> None:
    """A box whose shape tells its category."""
    chance = np.random.default_rng([CLASSES.index(category), number, sketch])
    ground = "white" if sketch else tuple(chance.integers(120, 240, 3).tolist())
    image = Image.new("RGB", (48, 48), ground)
    x, y = chance.integers(3, 8, 2).tolist()
    size = (8 + 7 * CLASSES.index(category), 36 - 7 * CLASSES.index(category))
    ImageDraw.Draw(image).rectangle((x, y, x + size[0], y + size[1]), None if sketch else "navy", "black", 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def make_model(root: Path, name: str, seed: int) -> None:
    """A bundle of random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        save_file(
            timm.create_model(BackboneSpec.parse(NET).model, num_classes=9).state_dict(), root / f"{name}.safetensors"
        )
    request = BuildRequest(BackboneSpec.parse(NET), root / f"{name}.safetensors", size=32)
    import_model(request, root / name, name, SilentProgress())


def until(ready: Callable[[], Any], what: str) -> Any:
    """What a call gives as soon as that is something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {PATIENCE_S:.0f} s")


def works(call: Callable[[], Any]) -> bool:
    try:
        call()
    except SbkaError:
        return False
    return True


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Redis, Milvus and two workers as processes of their own, for all tests of this module."""
    root = tmp_path_factory.mktemp("background")
    for category in CLASSES:
        for number in range(6):
            draw(root / "photos" / category / f"{number}.png", category, number, sketch=False)
            draw(root / "sketches" / category / f"{number}.png", category, number, sketch=True)
            draw(root / "held-out" / category / f"{number}.png", category, number + 6, sketch=True)
    make_model(root, "base", 0)
    make_model(root, "other", 1)
    ports = [own_port(), own_port()]
    made = Place(root, f"redis://127.0.0.1:{ports[0]}/0", f"http://127.0.0.1:{ports[1]}")
    env = os.environ | environment(made) | {"OMP_NUM_THREADS": "1"}
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *command: str) -> None:
        with (root / f"{name}.txt").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT))

    sbka = (sys.executable, "-m", "sbka_milvus")
    try:
        redis = ("--bind", "127.0.0.1", "--port", str(ports[0]), "--save", "", "--dir", str(root))
        start("redis", str(find_redis_server()), *redis)
        lite = ("--data-dir", str(root / "milvus"), "--host", "127.0.0.1", "--port", str(ports[1]))
        start("milvus", sys.executable, "-m", "milvus_lite", "server", *lite)
        until(lambda: works(lambda: connect_url(made.redis).close()), "an answer of Redis")
        until(lambda: works(lambda: check_milvus(MilvusSettings(uri=made.milvus))), "an answer of Milvus")
        start("desk", *sbka, "worker", "--queues", "control,index", "--name", "desk")
        start("bench", *sbka, "worker", "--queues", "embed,train", "--name", "bench")
        start("beat", *sbka, "beat")
        until(lambda: len(read_workers(made.workspace / FOLDER)) == 2, "two workers")
        yield made
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment(place: Place) -> dict[str, str]:
    """The settings of the workers and of those who ask."""
    return {
        "SBKA_WORKSPACE": str(place.workspace),
        "SBKA_BROKER__URL": place.redis,
        "SBKA_BROKER__RECONCILE_S": "1",
        "SBKA_MILVUS__URI": place.milvus,
        "SBKA_DEVICE": "cpu",
        "SBKA_WORKER__CHUNK_SIZE": "8",
        "SBKA_WORKER__THREADS": "1",
        "SBKA_TRAINING__CHECKPOINT_EVERY_S": "0.1",
    }


@pytest.fixture(autouse=True)
def here(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has the workers' settings, in a folder of its own."""
    for name, value in environment(place).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture
def gallery(place: Place, tmp_path: Path) -> Path:
    """A gallery of all photos, made in the background and served."""
    folder = tmp_path / f"gallery-{os.urandom(4).hex()}"
    job = submit_ingest([place.photos], folder, model=place.root / "base")
    assert job.wait(PATIENCE_S).state == "done"
    return folder


def reset(monkeypatch: pytest.MonkeyPatch, **env: str) -> None:
    """Other settings for the rest of a test."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()


class TestIngest:
    def test_the_shell_hands_it_out_watches_it_and_finds_the_photos(
        self, sbka: Sbka, place: Place, tmp_path: Path
    ) -> None:
        (tmp_path / "bad.png").write_bytes(b"no photo")
        ran = sbka("ingest", place.photos, "bad.png", "-g", "found", "-m", place.root / "base", "--background")
        assert ran.code == 0, ran.err
        name = ran.out.split()[1]
        assert ran.out.startswith(f"job {name}\n") and f"sbka jobs watch {name}" in ran.out

        watched = sbka("jobs", "watch", name)
        assert watched.code == 0, watched.err
        assert "30 embedded" in watched.out and "version 1: 30 photos" in watched.out
        assert "quarantined  1" in watched.out and "bad.png" in watched.out
        assert "done" in watched.err

        shown = sbka("jobs", "show", name, "--json").json()
        assert (shown["state"], shown["done"], shown["total"], shown["quarantined"]) == ("done", 31, 31, 1)
        assert shown["request"]["sources"] == [str(place.photos), str(tmp_path / "bad.png")]
        assert shown["report"]["index"]["photos"] == 30
        # Part of the name is enough where only one job has it.
        assert sbka("jobs", "show", name[:-2]).out.startswith(f"job          {name}")
        listed = {job["id"]: job for job in sbka("jobs", "list", "--json").json()}
        assert listed[name]["state"] == "done" and listed[name]["subject"] == str(tmp_path / "found")
        assert name in sbka("jobs", "list").out
        assert name not in sbka("jobs", "list", "--open").out

        with SketchSearch.open(tmp_path / "found") as search:
            hits = search(place.sketches / "bar" / "0.png", k=5)
        assert len(hits) == 5 and all(hit.uri.startswith(str(place.photos)) for hit in hits)

    def test_for_scripts_everything_is_json(self, sbka: Sbka, place: Place) -> None:
        ran = sbka("ingest", place.photos / "bar", "-g", "bars", "-m", place.root / "base", "--background", "--json")
        name = ran.json()["job"]
        watched = sbka("jobs", "watch", name, "--json")
        lines = [json.loads(line) for line in watched.out.splitlines()]
        assert watched.code == 0 and lines[-1]["state"] == "done" and lines[-1]["report"]["index"]["photos"] == 6
        assert {line["id"] for line in lines} == {name}

    def test_python_has_the_same(self, place: Place, tmp_path: Path) -> None:
        job = submit_ingest([place.photos / "box"], tmp_path / "boxes", model=place.root / "base")
        seen: list[str] = []
        status = job.wait(PATIENCE_S, lambda now: seen.append(now.state))
        assert status.state == "done" and status.report is not None
        assert status.report["embed"]["embedded"] == 6 and seen[-1] == "done"
        # A second time there is nothing to embed, and the version stays.
        again = submit_ingest([place.photos / "box"], tmp_path / "boxes").wait(PATIENCE_S)
        assert again.report is not None
        assert (again.report["embed"]["unchanged"], again.report["index"]["rebuilt"]) == (6, False)

    def test_names_that_are_no_text_are_shown_all_the_same(self, sbka: Sbka, place: Place, tmp_path: Path) -> None:
        folder = tmp_path / "mixed"
        draw(folder / "good.png", "bar", 0, sketch=False)
        (folder / os.fsdecode(b"bad-\xff.png")).write_bytes(b"no photo")
        name = submit_ingest([folder], tmp_path / "odd", model=place.root / "base").id
        assert sbka("jobs", "watch", name).code == 0
        assert "bad-" in sbka("jobs", "show", name).out
        assert sbka("jobs", "show", name, "--json").json()["quarantined"] == 1

    def test_one_that_fails_says_why_and_can_be_tried_again(self, sbka: Sbka, place: Place, tmp_path: Path) -> None:
        wish = IngestJob(sources=(str(place.photos / "bar"),), gallery=str(tmp_path / "late"))
        name = create_job(place.workspace, wish).id
        watched = sbka("jobs", "watch", name)
        assert watched.code == 1
        assert "failed" in watched.out and "is no gallery" in watched.out and "Traceback" not in watched.err
        from sbka_milvus.factory import prepare_gallery

        prepare_gallery(tmp_path / "late", place.root / "base", None, load_settings(), SilentProgress())
        ran = sbka("jobs", "retry", name)
        assert ran.code == 0 and f"{name} goes on" in ran.out
        assert sbka("jobs", "watch", name).code == 0


class TestTraining:
    def test_a_model_is_trained_by_a_worker(self, sbka: Sbka, place: Place, tmp_path: Path) -> None:
        ran = sbka(
            "train", "--photos", place.photos, "--sketches", place.sketches, "-o", "model", "--backbone", NET,
            "--weights", place.weights, "--size", "32", "--epochs", "2", "--name", "mine", "--background", "--json",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        name = ran.json()["job"]
        assert sbka("jobs", "watch", name).code == 0
        report = sbka("jobs", "show", name, "--json").json()["report"]
        manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
        assert report["train"]["model"] == str(tmp_path / "model")
        assert report["train"]["fingerprint"] == manifest["fingerprint"]
        assert manifest["name"] == "mine" and len(manifest["training"]["history"]["epochs"]) == 2

    def test_one_that_runs_is_cancelled_and_goes_on_where_it_was(
        self, sbka: Sbka, place: Place, tmp_path: Path
    ) -> None:
        wish = {
            "photos": place.photos, "sketches": place.sketches, "out": tmp_path / "model", "backbone": NET,
            "weights": place.weights, "size": 32, "options": {"epochs": 60},
        }  # fmt: skip
        job = submit_train(wish)
        until(lambda: any((job.folder.root / "checkpoint").glob("*")), "a checkpoint")
        assert job.status().state == "running"
        listed = sbka("jobs", "list", "--open").out
        assert job.id in listed and "running" in listed
        ran = sbka("jobs", "cancel", job.id)
        assert ran.code == 0 and f"sbka jobs retry {job.id}" in ran.out
        until(lambda: not job.folder.names("leases"), "the end of the unit")
        assert job.status().state == "cancelled" and not (tmp_path / "model").exists()
        assert sbka("jobs", "watch", job.id).code == 1
        again = sbka("jobs", "cancel", job.id)
        assert again.code == 1 and "has ended: cancelled" in again.err

        assert sbka("jobs", "retry", job.id).code == 0
        status = job.wait(PATIENCE_S)
        assert status.state == "done" and status.report is not None
        # It began where it had stopped, not at the start.
        assert status.report["train"]["resumed_at"]
        ran = sbka("jobs", "retry", job.id)
        assert ran.code == 1 and "is done" in ran.err


class TestUpgrade:
    def test_a_gallery_changes_its_model_and_nobody_notices(
        self, sbka: Sbka, place: Place, gallery: Path, tmp_path: Path
    ) -> None:
        sketch = place.sketches / "disc" / "0.png"
        with SketchSearch.open(gallery) as search:
            before = Gallery.open(gallery).fingerprint
            assert len(search(sketch, k=4)) == 4
            ran = sbka("upgrade", gallery, "-m", place.root / "other", "--query", sketch, "--min-agreement", "0",
                       "--background", "--json")  # fmt: skip
            assert ran.code == 0, ran.err
            name = ran.json()["job"]
            job = Job.open(name)
            while job.status().state not in ("done", "refused", "failed", "cancelled"):
                assert len(search(sketch, k=4)) == 4
            assert job.status().state == "done", job.status().message
            assert len(search(sketch, k=4)) == 4
        watched = sbka("jobs", "watch", name)
        assert watched.code == 0 and "version 2: 30 photos" in watched.out
        assert "agree by" in watched.out
        assert Gallery.open(gallery).fingerprint != before
        # Once more is refused, before anything is done.
        ran = sbka("upgrade", gallery, "-m", place.root / "other", "--background")
        assert ran.code == 1 and "with this model already" in ran.err

    def test_the_gate_keeps_the_old_model_with_a_code_of_its_own(self, sbka: Sbka, place: Place, gallery: Path) -> None:
        job = submit_upgrade(gallery, place.root / "other", {"queries": [], "held_out": None})
        watched = sbka("jobs", "watch", job.id)
        assert watched.code == 4
        assert "refused" in watched.out and "nothing could be measured" in watched.out

    def test_it_is_done_in_the_foreground_without_any_redis(
        self, sbka: Sbka, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reset(
            monkeypatch,
            SBKA_WORKSPACE=str(tmp_path / "own"),
            SBKA_BROKER__URL="redis://127.0.0.1:1/0",
            SBKA_MILVUS__URI="",
        )
        assert sbka("ingest", place.photos, "-g", "alone", "-m", place.root / "base").code == 0
        held_out = ("--held-out", place.sketches)
        ran = sbka("upgrade", "alone", "-m", place.root / "other", *held_out, "--max-loss", "1", "--json")
        assert ran.code == 0, ran.err
        found = ran.json()
        assert found["state"] == "done" and found["report"]["gate"]["measure"] == "mAP@all"
        assert found["report"]["switch"]["photos"] == 30
        with SketchSearch.open(tmp_path / "alone") as search:
            assert len(search(place.sketches / "bar" / "0.png", k=3)) == 3
        # The gate's refusal has its code here too.
        ran = sbka("upgrade", "alone", "-m", place.root / "base", "--query", place.sketches / "bar" / "0.png",
                   "--min-agreement", "1")  # fmt: skip
        assert ran.code == 4 and "refused" in ran.out
        assert [job["state"] for job in sbka("jobs", "list", "--json").json()] == ["done", "refused"]


class TestRetraining:
    def test_a_policy_is_carried_out_and_leaves_its_record(self, sbka: Sbka, place: Place, gallery: Path) -> None:
        ran = sbka(
            "retrain", "set", gallery, "--photos", place.photos, "--sketches", place.sketches, "--held-out",
            place.held_out, "--max-loss", "1", "--epochs", "1", "--weights", place.weights,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        ran = sbka("retrain", "now", gallery, "--reason", "a test", "--json")
        assert ran.code == 0, ran.err
        name = ran.json()["job"]
        watched = sbka("jobs", "watch", name)
        assert watched.code == 0, watched.out + watched.err
        (record,) = read_retrainings(Gallery.open(gallery))
        assert (record.job, record.status, record.reason) == (name, "done", "a test")
        assert record.new_fingerprint == Gallery.open(gallery).fingerprint != record.old_fingerprint
        assert record.gate is not None and record.gate["measure"] == "mAP@all" and record.message
        shown = sbka("retrain", "show", gallery, "--json").json()
        assert name in json.dumps(shown)
        with SketchSearch.open(gallery) as search:
            assert len(search(place.sketches / "ring" / "0.png", k=3)) == 3

    def test_one_that_the_gate_refuses_is_recorded_too(self, sbka: Sbka, place: Place, gallery: Path) -> None:
        before = Gallery.open(gallery).fingerprint
        # Without sketches to measure on, nothing is switched.
        policy = ("--photos", place.photos, "--sketches", place.sketches, "--epochs", "1", "--weights", place.weights)
        assert sbka("retrain", "set", gallery, *policy).code == 0
        job = submit_retrain(gallery, "a test")
        assert sbka("jobs", "watch", job.id).code == 4
        (record,) = read_retrainings(Gallery.open(gallery))
        assert record.status == "refused" and record.new_fingerprint not in ("", before)
        assert Gallery.open(gallery).fingerprint == before


class TestRefusals:
    @pytest.mark.parametrize("url", ["", "redis://:secret@127.0.0.1:1/0"])
    def test_without_redis_every_request_says_how_to_get_one(
        self, sbka: Sbka, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        reset(monkeypatch, SBKA_BROKER__URL=url, SBKA_WORKSPACE=str(tmp_path / "own"))
        Gallery.create_or_open(tmp_path / "gallery", "some-model")
        train = ("train", "--photos", place.photos, "--sketches", place.sketches, "-o", "m", "--backbone", NET)
        for command in (
            ("ingest", place.photos, "-g", "new", "-m", place.root / "base", "--background"),
            (*train, "--background"),
            ("upgrade", "gallery", "-m", place.root / "base", "--background"),
            ("retrain", "now", "gallery"),
        ):
            ran = sbka(*command)
            assert ran.code == 1 and "sbka up" in ran.err, command
            assert "Traceback" not in ran.err and "secret" not in ran.err
        assert list_jobs(tmp_path / "own") == []
        # Jobs are files: they are there without it.
        assert sbka("jobs", "list").code == 0

    def test_an_address_that_is_none_is_refused(
        self, sbka: Sbka, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reset(monkeypatch, SBKA_BROKER__URL="amqp://:secret@localhost")
        ran = sbka("ingest", place.photos, "-g", "new", "-m", place.root / "base", "--background")
        assert ran.code == 1 and "SBKA_BROKER__URL is no address of Redis" in ran.err and "secret" not in ran.err

    @pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry"])
    def test_a_job_that_nobody_knows(self, sbka: Sbka, command: str) -> None:
        ran = sbka("jobs", command, "ingest-none")
        assert ran.code == 1
        assert "There is no job 'ingest-none'" in ran.err and "sbka jobs list" in ran.err

    def test_a_beginning_that_several_have(self, sbka: Sbka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reset(monkeypatch, SBKA_WORKSPACE=str(tmp_path / "own"))
        names = [create_job(tmp_path / "own", IngestJob(sources=(f"/{n}",), gallery="/g")).id for n in range(2)]
        ran = sbka("jobs", "show", "ingest-")
        assert ran.code == 1 and "2 jobs begin with 'ingest-'" in ran.err and all(name in ran.err for name in names)
        # One damaged record hides no other job.
        (tmp_path / "own" / "jobs" / names[0] / "job.json").write_text("{")
        listed = sbka("jobs", "list", "--json")
        assert listed.code == 0 and [job["id"] for job in listed.json()] == [names[1]]
        assert names[0] in listed.err
        ran = sbka("jobs", "show", names[0])
        assert ran.code == 1 and "does not fit" in ran.err and "Traceback" not in ran.err

    def test_work_that_is_being_done_is_not_begun_again(
        self, sbka: Sbka, place: Place, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # One that no worker gets to: its workspace has none.
        reset(monkeypatch, SBKA_WORKSPACE=str(tmp_path / "own"))
        more = ("ingest", place.photos, "-g", gallery, "--background")
        name = sbka(*more, "--json").json()["job"]
        ran = sbka(*more)
        assert ran.code == 1 and f"{name} is at this work already" in ran.err and "jobs watch" in ran.err
        with pytest.raises(JobError, match=name):
            submit_ingest([place.photos], gallery)
        upgrade = ("upgrade", gallery, "-m", place.root / "other")
        first = sbka(*upgrade, "--background", "--json").json()["job"]
        for again in ((*upgrade, "--background"), upgrade):
            ran = sbka(*again)
            assert ran.code == 1 and f"{first} is at this work already" in ran.err
        for job in (name, first):
            assert sbka("jobs", "cancel", job).code == 0

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("ingest", "nowhere", "-g", "new"), "nowhere does not exist"),
            (("train", "--photos", "nowhere", "--sketches", "nowhere", "-o", "m"), "nowhere"),
            (("upgrade", "nowhere", "-m", "nowhere"), "is no gallery"),
            (("upgrade", "GALLERY", "-m", "nowhere"), "is no model bundle"),
            (("upgrade", "GALLERY", "-m", "OTHER", "--held-out", "nowhere"), "nowhere"),
            (("upgrade", "GALLERY", "-m", "OTHER", "--query", "nowhere.png"), "nowhere.png does not exist"),
        ],
    )
    def test_what_cannot_begin_is_refused_before_it_is_queued(
        self, sbka: Sbka, place: Place, tmp_path: Path, arguments: tuple[str, ...], says: str
    ) -> None:
        before = len(list_jobs(place.workspace))
        Gallery.create_or_open(tmp_path / "some", "some-model")
        named = {"GALLERY": "some", "OTHER": str(place.root / "other")}
        ran = sbka(*(named.get(one, one) for one in arguments), "--background")
        assert ran.code == 1 and says in ran.err and "Traceback" not in ran.err
        assert len(list_jobs(place.workspace)) == before


def test_ctrl_c_ends_the_watching_and_not_the_job(place: Place, tmp_path: Path) -> None:
    # Nobody works on it, so it can be watched for as long as one likes.
    alone = Settings(workspace=tmp_path / "own")
    name = create_job(alone.workspace, IngestJob(sources=(str(place.photos),), gallery="/g")).id
    env = {**os.environ, "SBKA_WORKSPACE": str(alone.workspace)}
    command = (sys.executable, "-m", "sbka_milvus", "jobs", "watch", name)
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith(b"waiting")
        watching.send_signal(signal.SIGINT)
        _, told = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert b"the job goes on" in told and b"Traceback" not in told
    assert Job.open(name, alone).status().state == "waiting"
