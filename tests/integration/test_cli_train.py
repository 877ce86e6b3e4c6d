"""``sbka train`` with a recipe and a teacher of its own."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from sbka_milvus.cli.recipe import teacher_backbone
from sbka_milvus.cli.train import train
from sbka_milvus.training.options import TrainingOptions

pytestmark = pytest.mark.usefixtures("one_thread")

Sbka = Callable[..., Any]
CATEGORIES = ("bar", "box", "pole", "square")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    for kind, suffix in (("photos", "jpg"), ("sketches", "png")):
        for number, category in enumerate(CATEGORIES):
            (root / kind / category).mkdir(parents=True)
            for copy in range(4):
                ground = (200, 90 + 30 * copy, 60) if kind == "photos" else "white"
                image = Image.new("RGB", (40, 40), ground)
                box = (4 + copy, 4, 12 + 6 * number, 34 - 6 * number)
                ImageDraw.Draw(image).rectangle(box, "navy" if kind == "photos" else None, "black", 2)
                image.save(root / kind / category / f"{copy}.{suffix}")
    for net in ("test_vit", "test_efficientnet"):
        torch.manual_seed(0)
        save_file(timm.create_model(net, num_classes=9).state_dict(), root / f"{net}.safetensors")
    np.savez(root / "words.npz", names=np.array(CATEGORIES), vecs=np.random.default_rng(0).normal(size=(4, 3)))
    return root


@pytest.fixture
def command(world: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    return (
        "train", "--photos", world / "photos", "--sketches", world / "sketches", "--backbone", "timm:test_efficientnet",
        "--weights", world / "test_efficientnet.safetensors", "--size", "32", "--epochs", "3", "--validation-share",
        "0.5", "--sketches-per-batch", "4", "--photos-per-batch", "4", "-o", tmp_path / "model", "--device", "cpu",
    )  # fmt: skip


def test_a_recipe_and_a_teacher_on_the_command_line(
    command: tuple[str | Path, ...], world: Path, tmp_path: Path, sbka: Sbka
) -> None:
    ran = sbka(
        *command, "--balanced", "2", "--head", "cosine", "--schedule", "cosine", "--warmup-epochs", "0.5",
        "--optimiser", "adamw", "--ema-decay", "0.5", "--contrastive-weight", "0.5", "--accumulate", "2",
        "--semantics", world / "words.npz", "--semantics-weight", "0.1", "--no-detach-targets",
        "--teacher-backbone", "timm:test_vit", "--teacher-weights", world / "test_vit.safetensors",
        "--teacher-size", "48", "--teacher-scope", "adapters", "--teacher-schedule", "restart",
        "--teacher-starts", "0.3", "--relation-weight", "2", "--tensorboard", tmp_path / "board", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    training = ran.json()["training"]
    expected = {
        "balanced": 2, "head": "cosine", "schedule": "cosine", "warmup_epochs": 0.5, "optimiser": "adamw",
        "ema_decay": 0.5, "contrastive_weight": 0.5, "accumulate": 2, "semantics_weight": 0.1, "detach_targets": False,
        "teacher_scope": "adapters", "teacher_schedule": "restart", "teacher_starts": 0.3, "relation_weight": 2.0,
        "trainable": "all",
    }  # fmt: skip
    assert {name: training["options"][name] for name in expected} == expected
    assert training["teacher"] == "timm:test_vit"
    assert [epoch["teacher_learns"] for epoch in training["history"]["epochs"]] == [True, True, True]
    with Image.open(tmp_path / "model" / "training.png") as plot:
        assert plot.format == "PNG"
    assert len(list((tmp_path / "board").glob("events.out.tfevents.*"))) == 3
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "history.jsonl", "manifest.json", "model.safetensors", "statistics.npz", "training.png",
    ]  # fmt: skip
    again = sbka(*command, "--mode", "ce", "--epochs", "1")
    assert again.code == 0, "a bundle with a plot is one that may be replaced"

    other = ("--mode", "one_way", "--teacher", tmp_path / "model", "--relation-weight", "2", "-o", tmp_path / "other")
    small = ("--weights", tmp_path / "model", "--option", "levels=3", "--embedding-weight", "3")
    taught = sbka(*command, *other, *small, "--relation-pictures", "both", "--json")
    assert taught.code == 0, taught.err
    training = taught.json()["training"]
    assert set(training["history"]["epochs"][0]["losses"]) == {"category", "alignment", "relation", "embedding"}
    assert taught.json()["options"]["levels"] == 3
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert training["teacher"] == f"{manifest['name']} {manifest['fingerprint']}"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--balanced", "3"), "sketches_per_batch must be a multiple of the 3 categories"),
        (("--warmup-epochs", "3"), "warmup_epochs must be less than the 3 epochs"),
        (("--semantics-weight", "0.2"), "needs word vectors"),
        (("--teacher", "nowhere", "--relation-weight", "1"), "nowhere is no model bundle"),
        (("--teacher", "nowhere"), "by its features alone"),
        (("--mode", "ce", "--teacher-size", "64"), "Mode ce has no teacher"),
        (("--knowledge-names", "nowhere.txt"), "nowhere.txt cannot be read"),
        (("--trainable", "prompts"), "has no transformer blocks"),
        (("--teacher-option", "pad"), "is not of the form KEY=VALUE"),
    ],
)
def test_mistakes_end_with_one_sentence(
    options: tuple[str, ...], says: str, command: tuple[str | Path, ...], tmp_path: Path, sbka: Sbka
) -> None:
    ran = sbka(*command, *options)
    assert ran.code == 1, ran
    assert ran.err.strip().splitlines()[-1].startswith("Error: ")
    assert says in ran.err
    assert "Traceback" not in ran.err + ran.out
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--semantics", "nowhere"),
        ("--teacher-weights", "nowhere"),
        ("--knowledge-names", "nowhere"),
        ("--teacher", "nowhere"),
        ("--teacher-backbone", "nowhere"),
    ],
)
def test_the_background_is_asked_for_the_same(
    options: tuple[str, ...], command: tuple[str | Path, ...], sbka: Sbka
) -> None:
    """Each is looked at before the work is handed out, for which there is no Redis here."""
    ran = sbka(*command, *options, "--background")
    assert ran.code == 1
    assert "nowhere" in ran.err
    plain = sbka(*command, "--background")
    assert "nowhere" not in plain.err


def test_the_command_s_defaults_are_the_options_own() -> None:
    parameters = inspect.signature(train).parameters
    own = TrainingOptions().model_dump()
    shared = {name: parameters[name].default for name in own if name in parameters}
    assert shared.pop("trainable") is None, "it depends on the backbone"
    assert shared == {name: own[name] for name in shared}
    assert own.keys() - parameters.keys() == set(), "every option can be chosen on the command line"


def test_what_is_not_said_of_a_teacher_is_as_the_student_s() -> None:
    student = {"backbone": "timm:a", "weights": Path("a.st"), "size": 64, "backbone_options": {"x": 1}}
    nothing = {"teacher_backbone": "", "teacher_weights": None, "teacher_size": None, "teacher_option": None}
    assert teacher_backbone({**student, **nothing}) == {}
    assert teacher_backbone({**student, **nothing, "teacher_size": 96}) == {
        "teacher_backbone": "timm:a",
        "teacher_weights": Path("a.st"),
        "teacher_size": 96,
        "teacher_options": {"x": 1},
    }
    assert teacher_backbone({**student, **nothing, "teacher_backbone": "timm:b"}) == {
        "teacher_backbone": "timm:b",
        "teacher_weights": None,
        "teacher_size": None,
        "teacher_options": {},
    }
