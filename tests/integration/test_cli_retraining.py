"""Feedback and retraining on the command line: real shards, real pictures, no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sbka_milvus import FeedbackLog
from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.errors import GalleryError
from sbka_milvus.pipelines.feedback import give_feedback
from sbka_milvus.pipelines.retraining import registered
from sbka_milvus.types import normalise

Sbka = Callable[..., Any]


def add_photos(gallery: Gallery, uris: list[str], seed: int = 0, shift: float = 0.0) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.arange(len(uris), dtype=np.int64)
    vectors = normalise(rng.normal(size=(len(uris), 16)) * 0.2 + np.eye(16)[0] + shift * np.eye(16)[1])
    hashes = tuple(f"{number:032x}" for number in numbers)
    records = PhotoRecords(tuple(uris), hashes, numbers, numbers, numbers, numbers, vectors)
    write_shard(gallery.shard_folder, records, gallery.fingerprint)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data, a gallery of 60 photos and a sketch; its workspace is the default one."""
    monkeypatch.chdir(tmp_path)
    for number, category in enumerate(("cat", "dog", "hen", "owl")):
        for kind in ("photos", "sketches", "held-out"):
            folder = tmp_path / kind / category
            folder.mkdir(parents=True)
            image = Image.new("RGB", (48, 48), "white")
            ImageDraw.Draw(image).rectangle((4, 4, 20 + number, 40), outline="black", width=2)
            image.save(folder / "1.png")
    gallery = Gallery.create_or_open(tmp_path / "gallery", "model-1")
    add_photos(gallery, [str(tmp_path / "photos" / "cat" / f"{number}.png") for number in range(60)])
    return tmp_path


SKETCH = Path("sketches/cat/1.png")


def test_feedback_is_given_and_listed(sbka: Sbka, place: Path) -> None:
    ran = sbka("feedback", "add", SKETCH, "photos/cat/1.png", place / "photos/cat/2.png", "-g", "gallery", "--accept")
    assert ran.code == 0, ran.err
    assert "Accepted 2 photos" in ran.out
    ran = sbka(
        "feedback", "add", SKETCH, "photos/cat/3.png", "-g", "gallery", "--reject", "--category", "cat", "--json"
    )
    assert [(one["verdict"], one["category"], one["source"]) for one in ran.json()] == [("rejected", "cat", "cli")]

    listed = sbka("feedback", "list", "-g", "gallery", "--json").json()
    assert [Path(one["uri"]).name for one in listed] == ["3.png", "2.png", "1.png"]
    assert {one["fingerprint"] for one in listed} == {"model-1"}
    assert all(Path(one["sketch_file"]).read_bytes() == SKETCH.read_bytes() for one in listed)
    table = sbka("feedback", "list", "-g", "gallery").out
    assert "3 verdicts on 1 sketches, 2 photos accepted" in table


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((SKETCH, "photos/cat/1.png", "photos/cat/99.png", "--accept"), 1, "does not hold the photo photos/cat/99.png"),
        (("photos/none.png", "photos/cat/1.png", "--accept"), 1, "photos/none.png does not exist"),
        ((SKETCH, "photos/cat/1.png"), 2, "--accept"),
    ],
)
def test_feedback_that_cannot_be_taken_leaves_nothing(
    sbka: Sbka, place: Path, arguments: tuple[Any, ...], code: int, says: str
) -> None:
    ran = sbka("feedback", "add", *arguments, "-g", "gallery")
    assert ran.code == code
    assert says in ran.err
    assert not (place / "gallery" / "feedback").exists()


def test_feedback_from_python_knows_photos_through_links_and_from_the_caller(place: Path) -> None:
    gallery = Gallery.open(place / "gallery")
    (place / "link").symlink_to(place / "photos")
    (pair,) = give_feedback(gallery, SKETCH, [place / "link" / "cat" / "1.png"], "accepted")
    assert pair.uri == str(place / "photos" / "cat" / "1.png")
    give_feedback(gallery, SKETCH, ["s3://photos/1"], "rejected", known={"s3://photos/1"})
    assert FeedbackLog(place / "gallery").count_since(None) == 2
    with pytest.raises(GalleryError, match="does not hold"):
        give_feedback(gallery, SKETCH, [place / "photos" / "cat" / "1.png"], "rejected", known=set())


def set_policy(sbka: Sbka, *more: str) -> Any:
    return sbka("retrain", "set", "gallery", "--photos", "photos", "--sketches", "sketches", *more)


def test_a_policy_is_set_shown_and_switched_off(sbka: Sbka, place: Path) -> None:
    ran = set_policy(
        sbka, "--every", "7d", "--after-pairs", "2", "--on-drift", "0.25", "--held-out", "held-out", "--epochs", "3",
        "--backbone", "timm:mobilenetv2_100", "--training", "learning_rate=0.001", "--option", "pad_type=same",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "Not due." in ran.out
    assert registered(place / "sbka-workspace") == [place / "gallery"]

    shown = sbka("retrain", "show", "gallery", "--json").json()
    policy = shown["policy"]
    assert (policy["every_hours"], policy["after_pairs"], policy["drift_above"]) == (168, 2, 0.25)
    assert (policy["options"]["epochs"], policy["options"]["learning_rate"]) == (3, 0.001)
    assert (policy["backbone"], policy["backbone_options"]) == ("timm:mobilenetv2_100", {"pad_type": "same"})
    assert policy["gate"]["held_out"] == str(place / "held-out")
    assert (shown["due"], shown["blocked"], shown["drift"]["n_new"]) == (None, "", 0)

    assert sbka("retrain", "off", "gallery").code == 0
    assert registered(place / "sbka-workspace") == []
    assert sbka("retrain", "show", "gallery", "--json").json()["blocked"] == "the policy is switched off"


def test_a_policy_takes_what_a_training_takes(sbka: Sbka, place: Path) -> None:
    for name in ("words.npz", "names.txt", "teacher.safetensors"):
        (place / name).write_text("not opened")
    ran = sbka(
        "retrain", "set", "gallery", "--photos", "photos", "--pseudo-sketches", "--backbone", "timm:mobilenetv2_100",
        "--option", "pad_type=same", "--mode", "one_way", "--semantics", "words.npz", "--teacher-backbone", "timm:b",
        "--teacher-weights", "teacher.safetensors", "--teacher-size", "288", "--teacher-option", "depth=2",
        "--knowledge-names", "names.txt", "--tensorboard", "board", "--precision", "bf16", "--device", "cuda",
        "--training", "semantics_weight=0.2", "--training", "stroke_augmentation=0.5", "--training", "head=cosine",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "made from the photos" in ran.out and "timm:b" in ran.out and "words.npz" in ran.out
    policy = sbka("retrain", "show", "gallery", "--json").json()["policy"]
    assert policy["sketches"] is None
    assert (policy["semantics"], policy["knowledge_names"]) == (str(place / "words.npz"), str(place / "names.txt"))
    assert [policy[f"teacher_{name}"] for name in ("backbone", "weights", "size", "options")] == [
        "timm:b", str(place / "teacher.safetensors"), 288, {"depth": 2},
    ]  # fmt: skip
    assert (policy["tensorboard"], policy["precision"], policy["device"]) == (str(place / "board"), "bf16", "cuda")
    options = policy["options"]
    assert (options["mode"], options["pseudo_sketches"], options["head"]) == ("one_way", True, "cosine")
    assert (options["semantics_weight"], options["stroke_augmentation"]) == (0.2, 0.5)


def test_a_teacher_of_another_size_is_else_as_the_student(sbka: Sbka, place: Path) -> None:
    ran = set_policy(sbka, "--backbone", "timm:a", "--option", "pad_type=same", "--teacher-size", "96")
    assert ran.code == 0, ran.err
    policy = sbka("retrain", "show", "gallery", "--json").json()["policy"]
    assert (policy["teacher_backbone"], policy["teacher_size"]) == ("timm:a", 96)
    assert policy["teacher_options"] == {"pad_type": "same"}


def test_verdicts_make_a_retraining_due(sbka: Sbka, place: Path) -> None:
    set_policy(sbka, "--after-pairs", "2")
    sbka("feedback", "add", SKETCH, "photos/cat/1.png", "photos/cat/2.png", "-g", "gallery", "--accept")
    shown = sbka("retrain", "show", "gallery", "--json").json()
    assert shown["due"] == {"trigger": "feedback", "why": "feedback: 2 new verdicts, 2 start one"}
    assert shown["new_pairs"] == 2
    assert "Due now (feedback)" in sbka("retrain", "show", "gallery").out


def test_photos_of_another_kind_make_a_retraining_due(sbka: Sbka, place: Path) -> None:
    set_policy(sbka, "--on-drift", "0.25")
    add_photos(Gallery.open(place / "gallery"), [f"/more/{number}.jpg" for number in range(60)], seed=1, shift=3)
    shown = sbka("retrain", "show", "gallery", "--json").json()
    assert shown["due"]["trigger"] == "drift"
    assert shown["drift"]["n_new"] == 60


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--every", "soon"), "'soon' is no time. Write 90m, 24h or 7d."),
        (("--held-out", "nowhere"), "nowhere does not exist"),
        (("--held-out", "sketches"), "4 of the 4 held-out sketches"),
        (("--split", "nowhere.json"), "nowhere.json does not exist"),
        (("--on-drift", "-1"), "drift_above"),
        (("--training", "epoch=3"), "options.epoch"),
        (("--backbone", "resnet"), "'resnet' is not of the form"),
        (("--weights", "nowhere.safetensors"), "nowhere.safetensors does not exist"),
        (("--semantics", "nowhere.npz"), "nowhere.npz does not exist"),
        (("--training", "semantics_weight=0.2"), "needs word vectors"),
        (("--teacher", "nowhere"), "nowhere is no model bundle"),
        (("--mode", "ce", "--teacher-size", "96"), "Mode ce has no teacher"),
        (("--training", "validation_share=0.9"), "4 seen categories are too few"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(sbka: Sbka, place: Path, more: tuple[str, ...], says: str) -> None:
    ran = set_policy(sbka, *more)
    assert ran.code == 1
    assert says in ran.err
    assert not (place / "gallery" / "retraining.json").exists()
    assert registered(place / "sbka-workspace") == []


def test_a_policy_without_sketches_says_what_it_can_be_given(sbka: Sbka, place: Path) -> None:
    ran = sbka("retrain", "set", "gallery", "--photos", "photos")
    assert ran.code == 1
    assert "Give --sketches, or --pseudo-sketches" in ran.err


def test_a_gallery_without_a_policy_says_how_to_set_one(sbka: Sbka, place: Path) -> None:
    for command in ("show", "off"):
        ran = sbka("retrain", command, "gallery")
        assert ran.code == 1
        assert "sbka retrain set" in ran.err


def test_the_policy_is_json_that_people_can_read(sbka: Sbka, place: Path) -> None:
    set_policy(sbka)
    content = json.loads((place / "gallery" / "retraining.json").read_text())
    assert content["photos"] == str(place / "photos")
    assert content["enabled"] is True
