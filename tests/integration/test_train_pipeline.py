"""Training from folders of pictures to a model that serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.bundle import load_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.statistics import STATISTICS_FILE, read_statistics
from sbka_milvus.errors import BackboneError, BundleError, DatasetError, SbkaError, SettingsError, TrainingError
from sbka_milvus.images import Split, list_images, load_photo, load_sketch
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.pretrain import pretrain_classifier
from sbka_milvus.pipelines.train import TrainReport, TrainRequest, train_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.options import TrainingOptions

pytestmark = pytest.mark.usefixtures("one_thread")

SEEN = ("bar", "box", "cross", "disc", "pole", "ring")
UNSEEN = ("moon", "star")
SPLIT = Split("toy", SEEN, UNSEEN)
NET = BackboneSpec("timm", "test_efficientnet")
OPTIONS: dict[str, Any] = {"epochs": 2, "sketches_per_batch": 8, "photos_per_batch": 8, "validation_share": 0.3}
CLASSES = 9
FEW = (
    "6 trained categories are too few to learn from when a search has no good match. "
    "Searches will not tell; 8 are enough."
)


class Listening(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def draw(category: str, number: int, *, photo: bool) -> Image.Image:
    rng = np.random.default_rng([len(category), ord(category[0]), number, photo])
    ground = tuple(rng.integers(100, 240, 3).tolist()) if photo else "white"
    image = Image.new("RGB", (48, 40), ground)
    pen = ImageDraw.Draw(image)
    x, y = rng.integers(18, 26, 2).tolist()
    fill, ink = ("navy", "navy") if photo else (None, "black")
    boxes = {"bar": (16, 4), "pole": (4, 16), "box": (12, 12), "disc": (12, 12), "ring": (13, 9)}
    wide, high = boxes.get(category, (10, 10))
    if category in ("disc", "ring"):
        pen.ellipse((x - wide, y - high, x + wide, y + high), fill if category == "disc" else None, ink, 2)
    elif category == "cross":
        pen.line((x - 12, y - 12, x + 12, y + 12), ink, 4)
        pen.line((x - 12, y + 12, x + 12, y - 12), ink, 4)
    else:
        pen.rectangle((x - wide, y - high, x + wide, y + high), fill, ink, 2)
    return image


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Photos and sketches of the seen categories; the files of the unseen ones are no pictures."""
    for kind, suffix in (("photos", "jpg"), ("sketches", "png")):
        for category in (*SEEN, *UNSEEN):
            folder = tmp_path / kind / category
            folder.mkdir(parents=True)
            for number in range(4):
                path = folder / f"{number}.{suffix}"
                if category in SEEN:
                    draw(category, number, photo=kind == "photos").save(path)
                else:
                    path.write_bytes(b"no picture")
    return tmp_path


@pytest.fixture
def request_for(world: Path, weights: Path) -> Callable[..., TrainRequest]:
    def make(*, backbone: BuildRequest | None = None, options: dict[str, Any] | None = None, **changes: Any):
        return TrainRequest(
            **{
                "photos": world / "photos",
                "sketches": world / "sketches",
                "out": world / "model",
                "backbone": backbone or BuildRequest(NET, weights, size=32),
                "options": TrainingOptions(**{**OPTIONS, **(options or {})}),
                "split": SPLIT,
                "device": "cpu",
                "precision": "fp32",
                **changes,
            }
        )

    return make


def train(request: TrainRequest) -> TrainReport:
    return train_model(request, SilentProgress())


def test_a_training_gives_a_bundle_that_serves(request_for: Callable[..., TrainRequest], world: Path) -> None:
    report = train(request_for(name="toy model"))
    bundle = load_bundle(world / "model")
    assert bundle.fingerprint == report.bundle.fingerprint
    assert report.rejected == ()
    photos = [load_photo(image.path) for image in list_images(world / "photos", SEEN[:2])]
    sketches = [load_sketch(image.path, size=32) for image in list_images(world / "sketches", SEEN[:1])]
    served, kept = (BundleEncoder(one, device="cpu") for one in (bundle, report.bundle))
    assert np.array_equal(served.encode_photos(photos), kept.encode_photos(photos))
    assert served.encode_sketches(sketches).shape == (4, bundle.dim)
    assert not any(parameter.isnan().any() for parameter in bundle.backbone.parameters())


def test_the_manifest_tells_how_the_model_came_about(request_for: Callable[..., TrainRequest], world: Path) -> None:
    report = train(request_for(name="toy model"))
    manifest = load_bundle(world / "model").manifest
    assert manifest.name == "toy model"
    assert manifest.backbone == str(NET)
    assert manifest.preprocessing["size"] == 32
    held = manifest.training["validation_classes"]
    assert len(held) == 2
    assert sorted([*manifest.classes, *held]) == list(SEEN)
    training = manifest.training
    assert training["options"] == TrainingOptions(**OPTIONS).model_dump()
    assert training["precision"] == "fp32"
    assert training["split"] == {"name": "toy", "digest": SPLIT.digest}
    assert (training["photos"], training["sketches"]) == (16, 16)
    assert training["history"] == report.history.to_dict()
    assert training["history"]["best_epoch"] == 2
    assert 0 < training["history"]["best_validation_map"] <= 1
    lines = (world / "model" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == training["history"]["epochs"]
    assert lines[0].startswith('{"epoch": 1, "losses": {')
    assert set(training["history"]["epochs"][1]["losses"]) == {
        "category",
        "alignment",
        "knowledge",
        "teacher_knowledge",
    }


@pytest.mark.parametrize("split", [SPLIT, Split("unseen only", (), UNSEEN), Split("spelt", (), ("Moon", "STAR"))])
def test_unseen_categories_are_never_read(split: Split, request_for: Callable[..., TrainRequest]) -> None:
    report = train(request_for(split=split, options={"epochs": 1, "mode": "ce"}))
    assert report.rejected == ()
    manifest = report.bundle.manifest
    assert sorted([*manifest.classes, *manifest.training["validation_classes"]]) == list(SEEN)


def test_without_a_split_every_category_is_read(request_for: Callable[..., TrainRequest]) -> None:
    with pytest.raises(DatasetError, match=r"None of the photos of '(moon|star)' can be read"):
        train(request_for(split=None))


def test_damaged_pictures_are_reported_and_left_out(request_for: Callable[..., TrainRequest], world: Path) -> None:
    bad = [world / "photos" / "box" / "1.jpg", world / "sketches" / "ring" / "3.png"]
    for path in bad:
        path.write_bytes(b"no picture")
    report = train(request_for(options={"epochs": 1, "mode": "ce", "validation_share": 0.0}))
    assert [path for path, _ in report.rejected] == bad
    assert all(str(path) in reason for path, reason in report.rejected)
    training = report.bundle.manifest.training
    assert (training["photos"], training["sketches"], training["validation_classes"]) == (23, 23, [])


def test_one_seed_gives_one_model(request_for: Callable[..., TrainRequest], world: Path) -> None:
    def fingerprint(seed: int, mode: str = "bidirectional") -> str:
        options = {"seed": seed, "mode": mode, "validation_share": 0.0}
        return train(request_for(out=world / f"{mode}{seed}", options=options)).bundle.fingerprint

    first = fingerprint(1)
    again = train(request_for(out=world / "again", options={"seed": 1, "validation_share": 0.0})).bundle.fingerprint
    assert first == again
    assert len({first, fingerprint(2), fingerprint(1, "one_way"), fingerprint(1, "ce")}) == 4


def test_a_model_knows_the_sketches_and_photos_that_it_was_trained_on(
    request_for: Callable[..., TrainRequest], world: Path
) -> None:
    options = {"epochs": 1, "validation_share": 0.34}
    bundle = train(request_for(options=options)).bundle
    assert bundle.path is not None
    known = read_statistics(bundle.path)
    assert known is not None
    assert known.confidence is None
    trained = set(bundle.manifest.classes)
    assert len(trained) == 4
    encoder = BundleEncoder(load_bundle(bundle.path), device="cpu")
    for kind, vectors in (("sketches", known.sketches), ("photos", known.photos)):
        load = load_sketch if kind == "sketches" else load_photo
        images = [image for image in list_images(world / kind) if image.category in trained]
        pictures = [
            load(image.path, **({"size": encoder.input_size} if kind == "sketches" else {})) for image in images
        ]
        encode = encoder.encode_sketches if kind == "sketches" else encoder.encode_photos
        np.testing.assert_allclose(
            np.sort(vectors @ vectors.mean(axis=0)), np.sort(encode(pictures) @ vectors.mean(axis=0)), atol=1e-4
        )
    again = train(request_for(out=world / "again", options=options)).bundle
    assert again.path is not None
    assert (again.path / STATISTICS_FILE).read_bytes() == (bundle.path / STATISTICS_FILE).read_bytes()


def test_an_affinity_file_is_used_and_its_gaps_are_told(request_for: Callable[..., TrainRequest], world: Path) -> None:
    path = world / "affinity.npz"
    np.savez(path, categories=np.array(SEEN[1:]), affinity=np.eye(len(SEEN) - 1, CLASSES))
    options = {"epochs": 1, "affinity_weight": 5.0, "validation_share": 0.0}
    plain = train(request_for(options=options))
    biased = train(request_for(options=options, affinity=path))
    assert plain.notes == (FEW,)
    assert biased.notes == ("The affinity file knows nothing of 1 categories: bar.", FEW)
    assert plain.history.epochs[0].losses["knowledge"] != biased.history.epochs[0].losses["knowledge"]
    np.savez(path, categories=np.array(SEEN), affinity=np.zeros((len(SEEN), 1000)))
    with pytest.raises(DatasetError, match=r"\(6, 9\) is needed"):
        train(request_for(affinity=path))


def test_word_vectors_soften_the_target_and_their_gaps_are_told(
    request_for: Callable[..., TrainRequest], world: Path
) -> None:
    path = world / "words.npz"
    np.savez(path, names=np.array(SEEN[1:]), vecs=np.random.default_rng(0).normal(size=(len(SEEN) - 1, 5)))
    options = {"epochs": 1, "mode": "ce", "validation_share": 0.0}
    weighted = {**options, "semantics_weight": 0.3}
    plain = train(request_for(options=options, semantics=path))
    softened = train(request_for(options=weighted, semantics=path))
    assert plain.notes == (FEW,)
    assert softened.notes == ("The file of word vectors knows nothing of 1 categories: bar.", FEW)
    assert plain.history.epochs[0].losses["category"] != softened.history.epochs[0].losses["category"]
    with pytest.raises(TrainingError, match="needs word vectors") as caught:
        train(request_for(options=weighted, photos=world / "nowhere"))
    assert "--semantics" in caught.value.remedy


def test_a_recipe_makes_a_bundle_like_any_other(request_for: Callable[..., TrainRequest], world: Path) -> None:
    recipe = {
        "head": "cosine", "schedule": "cosine", "optimiser": "adamw", "ema_decay": 0.5, "balanced": 2,
        "contrastive_weight": 0.5, "accumulate": 2, "label_smoothing": 0.1, "validation_share": 0.4,
    }  # fmt: skip
    report = train(request_for(options=recipe))
    assert "contrast" in report.history.epochs[0].losses
    bundle = load_bundle(world / "model")
    assert bundle.fingerprint == report.bundle.fingerprint
    assert {name: bundle.manifest.training["options"][name] for name in recipe} == recipe
    with pytest.raises(TrainingError, match="needs 8 categories"):
        train(request_for(options={"balanced": 8}))


def test_a_category_without_sketches_is_an_error(request_for: Callable[..., TrainRequest], world: Path) -> None:
    for path in (world / "sketches" / "disc").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="disc has no images"):
        train(request_for())
    (world / "sketches" / "disc").rmdir()
    with pytest.raises(DatasetError, match="'disc'"):
        train(request_for())
    with pytest.raises(DatasetError, match="1 categories have no sketches, for example 'disc'"):
        train(request_for(split=Split("unseen only", (), UNSEEN)))


@pytest.mark.parametrize("mode", ["one_way", "bidirectional"])
def test_a_backbone_without_a_classifier_has_no_teacher(mode: str, request_for: Callable[..., TrainRequest]) -> None:
    random = BuildRequest(NET, pretrained=False, size=32)
    with pytest.raises(TrainingError, match="no pre-trained classifier") as caught:
        train(request_for(backbone=random, options={"mode": mode}))
    assert "--weights" in caught.value.remedy
    assert "--mode ce" in caught.value.remedy
    assert train(request_for(backbone=random, options={"mode": "ce", "epochs": 1})).history.best_epoch == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"device": "abacus"}, SettingsError), ({"precision": "fp8"}, TrainingError), ({"out": "."}, BundleError)],
)
def test_what_would_fail_at_the_end_fails_before_pictures_are_read(
    changes: dict[str, Any], error: type[SbkaError], request_for: Callable[..., TrainRequest], world: Path
) -> None:
    if "out" in changes:
        changes = {"out": world}
    request = request_for(photos=world / "nowhere", **changes)
    before = sorted(world.rglob("*"))
    with pytest.raises(error):
        train(request)
    assert sorted(world.rglob("*")) == before


def test_a_classifier_is_pre_trained_where_there_are_no_weights(
    request_for: Callable[..., TrainRequest], world: Path
) -> None:
    (world / "photos" / "bar" / "0.jpg").write_bytes(b"no picture")
    path = world / "pretrained.safetensors"
    progress = Listening()
    request = BuildRequest(NET, pretrained=False, size=32)
    options = TrainingOptions(**{**OPTIONS, "mode": "ce", "validation_share": 0.0})
    pretrain_classifier(list_images(world / "photos", SEEN), request, options, path, progress, device="cpu")
    assert load_file(path)["classifier.weight"].shape == (6, 256)
    assert len(progress.said) == 1
    assert "1 photos could not be used" in progress.said[0]
    report = train(request_for(backbone=BuildRequest(NET, path, size=32), options={"epochs": 2}))
    assert "teacher_knowledge" in report.history.epochs[-1].losses


def test_pre_training_needs_photos_that_can_be_read(world: Path) -> None:
    options = TrainingOptions(**{**OPTIONS, "mode": "ce"})
    request = BuildRequest(NET, pretrained=False, size=32)
    out = world / "w.safetensors"
    with pytest.raises(DatasetError, match="no photos"):
        pretrain_classifier([], request, options, out, SilentProgress())
    with pytest.raises(DatasetError, match="None of the photos of 'moon' can be read"):
        pretrain_classifier(list_images(world / "photos"), request, options, out, SilentProgress())
    assert not out.exists()


def test_a_model_is_imported_as_it_is(world: Path, weights: Path, tmp_path: Path) -> None:
    progress = Listening()
    bundle = import_model(BuildRequest(NET, weights, size=32), world / "model", "imported", progress)
    again = load_bundle(world / "model")
    assert again.manifest == bundle.manifest
    assert (again.manifest.name, again.manifest.classes, again.manifest.training) == ("imported", (), {})
    assert torch.equal(again.backbone.net.state_dict()["conv_stem.weight"], load_file(weights)["conv_stem.weight"])
    assert progress.said == []
    tensorflow = tmp_path / "tensorflow.safetensors"
    save_file(timm.create_model(NET.model, num_classes=1001).state_dict(), tensorflow)
    import_model(BuildRequest(NET, tensorflow), world / "other", "tf", progress)
    assert len(progress.said) == 1
    assert "1001 classes" in progress.said[0]
    with pytest.raises(BackboneError, match="does not exist"):
        import_model(BuildRequest(NET, tmp_path / "none.safetensors"), world / "third", "x", progress)
    assert not (world / "third").exists()
