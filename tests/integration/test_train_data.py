"""Trainings on every kind of data: pseudo-sketches, drawings kept as strokes, published file lists."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import SettingsError
from sbka_milvus.images import Split
from sbka_milvus.pipelines.train import TrainReport, TrainRequest, train_model
from sbka_milvus.pipelines.training_sketches import sketches_beside
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.options import TrainingOptions

pytestmark = pytest.mark.usefixtures("one_thread")

SIDES = {"triangle": 3, "square": 4, "hexagon": 6, "round": 24}
UNSEEN = ("star",)
NET = BackboneSpec("timm", "test_efficientnet")


def polygon(category: str, number: int) -> list[tuple[float, float]]:
    count, turn = SIDES.get(category, 5), number * 0.2
    corners = [(turn + 2 * math.pi * corner / count) for corner in range(count)]
    return [(32 + 20 * math.cos(angle), 32 + 20 * math.sin(angle)) for angle in corners]


def photo(path: Path, category: str, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (64, 64), (180, 200, 220 - number))
    ImageDraw.Draw(image).polygon(polygon(category, number), fill=(60 + number, 40, 30))
    image.save(path)
    return path


def drawing(category: str, number: int) -> dict[str, Any]:
    corners = polygon(category, number)
    xs, ys = zip(*[*corners, corners[0]], strict=True)
    return {"word": category, "key_id": str(number), "recognized": True, "drawing": [[list(xs), list(ys)]]}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    for category in SIDES:
        for number in range(4):
            photo(tmp_path / "photos" / category / f"{number}.jpg", category, number)
    return tmp_path


def train(world: Path, weights: Path, *, sketches: Path | None, photos: Path | None = None, **rest: Any) -> TrainReport:
    options = {"epochs": 1, "sketches_per_batch": 8, "photos_per_batch": 8, "validation_share": 0.0}
    request = TrainRequest(
        photos=photos or world / "photos",
        sketches=sketches,
        out=world / rest.pop("out", "model"),
        backbone=BuildRequest(NET, weights, size=32),
        options=TrainingOptions(**{**options, **rest.pop("options", {})}),
        device="cpu",
        precision="fp32",
        **rest,
    )
    return train_model(request, SilentProgress())


def test_photos_alone_are_enough(world: Path, weights: Path) -> None:
    report = train(world, weights, sketches=None, options={"pseudo_sketches": True, "stroke_augmentation": 0.7})
    training = report.bundle.manifest.training
    assert (training["photos"], training["sketches"]) == (16, 16)
    assert training["options"]["pseudo_sketches"] is True
    assert any("16 of 16 sketches were made from photos" in note for note in report.notes)
    assert not sketches_beside(world / "model").exists(), "the cache is taken away"
    with pytest.raises(SettingsError, match="no sketches"):
        train(world, weights, sketches=None, photos=world / "nowhere", out="other")


def test_photos_that_show_nothing_to_draw_are_told_once(world: Path, weights: Path) -> None:
    Image.new("RGB", (64, 64), "grey").save(world / "photos" / "square" / "blank.png")
    (world / "photos" / "square" / "broken.png").write_bytes(b"no photo")
    report = train(world, weights, sketches=None, options={"pseudo_sketches": True})
    assert sorted(path.name for path, _ in report.rejected) == ["blank.png", "broken.png"]


def test_one_seed_gives_one_model_and_an_interrupted_start_may_leave_sketches(world: Path, weights: Path) -> None:
    options = {"pseudo_sketches": True, "stroke_augmentation": 0.5, "seed": 3}
    first = train(world, weights, sketches=None, options=options)
    again = train(world, weights, sketches=None, options=options, out="again")
    plain = train(world, weights, sketches=None, options={**options, "stroke_augmentation": 0.0}, out="plain")
    assert first.bundle.fingerprint == again.bundle.fingerprint != plain.bundle.fingerprint


def test_drawings_kept_as_strokes_are_sketches(world: Path, weights: Path) -> None:
    folder = world / "drawings"
    folder.mkdir()
    for category in SIDES:
        lines = [json.dumps(drawing(category, number)) for number in range(5)]
        (folder / f"{category}.ndjson").write_text("\n".join([*lines, "broken"]) + "\n")
    report = train(world, weights, sketches=folder)
    assert report.bundle.manifest.training["sketches"] == 20
    assert len(report.rejected) == 4
    assert all("is not valid JSON" in reason for _, reason in report.rejected)


def test_published_lists_are_trained_on_by_their_seen_classes(world: Path, weights: Path) -> None:
    root = world / "Sketchy"
    lists = root / "zeroshot1"
    lists.mkdir(parents=True)
    for part, classes, file in (("train", tuple(SIDES), "cname_cid"), ("zero", UNSEEN, "cname_cid_zero")):
        (lists / f"{file}.txt").write_text("".join(f"{name} {number}\n" for number, name in enumerate(classes)))
        for kind, place in (("photo", "256x256/photo/{}/{}.jpg"), ("sketch", "256x256/sketch/{}/{}.png")):
            lines = []
            for identity, category in enumerate(classes):
                for number in range(4):
                    name = place.format(category, number)
                    photo(root / name, category, number)
                    lines.append(f"{name} {identity}\n")
            (lists / f"{kind}_{part}.txt").write_text("".join(lines))
    split = Split.load(lists)
    report = train(world, weights, photos=lists / "photo_train.txt", sketches=lists / "sketch_train.txt", split=split)
    manifest = report.bundle.manifest
    assert sorted(manifest.classes) == sorted(SIDES)
    assert manifest.training["split"] == {"name": "Sketchy/zeroshot1", "digest": split.digest}
    assert (manifest.training["photos"], manifest.training["sketches"], report.rejected) == (16, 16, ())
