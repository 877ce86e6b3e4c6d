"""An upgrade by workers while clients search all the time: no query fails, and none is answered by a mixture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from sbka_milvus.embeddings import Gallery
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.factory import open_encoder, open_store
from sbka_milvus.images import load_sketch
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.settings import Settings, WorkerSettings
from workers.services.state import live_up
from workers.submit import submit_ingest, submit_upgrade

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
NET = BackboneSpec.parse("timm:test_efficientnet")
PRECISE = {"SBKA_PRECISION": "fp32"}
CATEGORIES = ("flat", "wide", "square", "tall", "thin")
CLIENTS = 3
K = 8
ROUNDING = 1e-4
"""Networks of other threads add up in another order; photos that lie closer together may change places."""
WAIT_S = 150.0

CLIENT = """
import json, sys, time
from pathlib import Path
from sbka_milvus import SketchSearch
gallery, sketches, out, stop = (Path(name) for name in sys.argv[1:5])
files = sorted(sketches.rglob("*.png"))
search = SketchSearch.open(gallery)
with out.open("w") as log:
    number = 0
    while not stop.exists():
        sketch = files[number % len(files)]
        number += 1
        try:
            found = search(sketch, k=int(sys.argv[5]))
            line = {"sketch": str(sketch), "version": found.version, "model": found.fingerprint}
            line["hits"] = [[hit.uri, hit.score] for hit in found]
        except Exception as error:
            line = {"error": f"{type(error).__name__}: {error}"}
        log.write(json.dumps(line) + "\\n")
        log.flush()
"""


def draw(path: Path, category: int, number: int, *, sketch: bool) -> None:
    chance = np.random.default_rng([category, number, sketch])
    image = Image.new("RGB", (48, 48), "white" if sketch else tuple(chance.integers(235, 255, 3).tolist()))
    x, y = chance.integers(2, 8, 2).tolist()
    box = (x, y, x + 6 + 7 * category, y + 36 - 7 * category)
    ImageDraw.Draw(image).rectangle(box, None, "black" if sketch else "navy", 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def make_model(root: Path, name: str, seed: int) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = timm.create_model(NET.model, num_classes=9).state_dict()
    save_file(state, root / f"{name}.safetensors")
    import_model(BuildRequest(NET, root / f"{name}.safetensors", size=32), root / name, name, SilentProgress())
    return root / name


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running `sbka up`, with pictures beside its workspace."""
    root = tmp_path_factory.mktemp("load")
    for place, category in enumerate(CATEGORIES):
        for number in range(24):
            draw(root / "photos" / category / f"{number}.png", place, number, sketch=False)
        for number in range(8):
            draw(root / "sketches" / category / f"{number}.png", place, number, sketch=True)
    workspace = root / "workspace"
    # One number format: by default each process measures which is fastest once it has encoded some hundred pictures.
    environment = os.environ | PRECISE | {"SBKA_WORKSPACE": str(workspace), "SBKA_WORKER__CHUNK_SIZE": "30"}
    log = (root / "up.txt").open("wb")
    command = (sys.executable, "-m", "sbka_milvus", "up", "--no-train")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + WAIT_S
        while live_up(workspace) is None:
            assert process.poll() is None and time.monotonic() < end, (root / "up.txt").read_text()
            time.sleep(0.1)
        yield Settings(workspace=workspace, precision="fp32", worker=WorkerSettings(chunk_size=30))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        log.close()


def answers(path: Path) -> list[dict[str, Any]]:
    """What a client has got so far; a line in the making is left for later."""
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def until_answered(paths: list[Path], model: str | None = None, more: int = 5) -> None:
    """Waits until every client has got ``more`` further answers, of a model where one is named."""
    before = [len(answers(path)) for path in paths]
    end = time.monotonic() + WAIT_S
    while True:
        fresh = [answers(path)[count:] for path, count in zip(paths, before, strict=True)]
        if all(sum(model in (None, line.get("model")) for line in lines) >= more for lines in fresh):
            return
        assert time.monotonic() < end, f"clients got no more answers: {[lines[-1:] for lines in fresh]}"
        time.sleep(0.1)


def test_searches_go_on_through_a_switch_and_a_refusal(settings: Settings, tmp_path: Path) -> None:
    root = settings.workspace.parent
    # Random weights; those of seed 4 find these photos worse than those of seed 0 by 0.07 mAP, far beyond rounding.
    first, second, worse = (make_model(root, name, seed) for name, seed in (("first", 0), ("second", 1), ("worse", 4)))
    gallery = root / "gallery"
    assert submit_ingest([root / "photos"], gallery, model=first, settings=settings).wait(WAIT_S).state == "done"
    old = Gallery.open(gallery).fingerprint
    stop = tmp_path / "stop"
    logs = [tmp_path / f"client-{number}.jsonl" for number in range(CLIENTS)]
    environment = os.environ | PRECISE | {"SBKA_WORKSPACE": str(settings.workspace), "OMP_NUM_THREADS": "1"}
    program = (sys.executable, "-c", CLIENT, str(gallery), str(root / "sketches"))
    clients = [
        subprocess.Popen((*program, str(log), str(stop), str(K)), cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        for log in logs
    ]
    try:
        until_answered(logs)
        refused = submit_upgrade(gallery, worse, {"held_out": root / "sketches"}, settings=settings).wait(WAIT_S)
        assert refused.state == "refused", refused
        assert refused.report is not None
        gate = refused.report["gate"]
        assert gate["measure"] == "mAP@all"
        assert gate["candidate_value"] < gate["served_value"] - 0.01
        assert Gallery.open(gallery).fingerprint == old
        until_answered(logs, old)
        rules = {"held_out": root / "sketches", "max_loss": 0.5}
        switched = submit_upgrade(gallery, second, rules, settings=settings).wait(WAIT_S)
        assert switched.state == "done", switched
        new = Gallery.open(gallery).fingerprint
        assert new != old
        until_answered(logs, new)
    finally:
        stop.touch()
        ended = [client.wait(timeout=60) for client in clients]
        errors = [client.stderr.read().decode() for client in clients if client.stderr]
        for client in clients:
            assert client.stderr is not None
            client.stderr.close()
    assert ended == [0] * CLIENTS, errors
    lines = [line for log in logs for line in answers(log)]
    assert [line["error"] for line in lines if "error" in line] == []
    expected = oracle(gallery, settings)
    assert {model for model, _ in expected} == {old, new}
    for sketch in {sketch for _, sketch in expected}:
        one, other = (expected[model, sketch] for model in (old, new))
        apart = [abs(one[uri] - other[uri]) for uri in one]
        assert np.median(apart) > 10 * ROUNDING, "the models say the same: a mixture would go unseen"
    for line in lines:
        require_answer(line, expected[line["model"], line["sketch"]])
    versions = {(line["version"], line["model"]) for line in lines}
    assert len(versions) == 2, versions
    print(f"\n{len(lines)} queries of {CLIENTS} clients through a refusal and a switch: 0 failed, 0 mixed")


def require_answer(line: dict[str, Any], expected: dict[str, float]) -> None:
    """The best photos of one model, in their order, with that model's scores."""
    uris, scores = zip(*line["hits"], strict=True)
    assert len(set(uris)) == K, line
    assert np.abs(np.subtract(scores, [expected[uri] for uri in uris])).max() < ROUNDING, line
    assert (np.diff(scores) <= 0).all(), line
    assert min(scores) > sorted(expected.values())[-K] - ROUNDING, line


def oracle(gallery: Path, settings: Settings) -> dict[tuple[str, str], dict[str, float]]:
    """The score that each of the two models gives each photo for each sketch, by a searcher that knows of one version
    alone."""
    opened = Gallery.open(gallery)
    found: dict[tuple[str, str], dict[str, float]] = {}
    store = open_store(opened, settings)
    try:
        served = store.served(opened.name)
        earlier = [info for info in store.versions(opened.name) if info.version == 1]
        for info in (served, *earlier):
            encoder = open_encoder(opened.for_model(info.fingerprint).model_folder, settings)
            searcher = GallerySearcher(store, opened.name, version=info)
            for sketch in sorted((opened.root.parent / "sketches").rglob("*.png")):
                vector = encoder.encode_sketches([load_sketch(sketch, size=encoder.input_size)])
                hits = searcher.search(vector, store.count(info), SearchOptions(exact=True))[0]
                found[info.fingerprint, str(sketch)] = {hit.uri: hit.score for hit in hits}
    finally:
        store.close()
    return found
