"""Trainings that are killed and go on: the model is the one that an undisturbed training makes, bit for bit.

Run as a program, this file is the training that is killed: ``python test_train_resume.py FOLDER SECONDS STEP WRITE``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.statistics import STATISTICS_FILE
from sbka_milvus.errors import LeaseLost, TrainingError
from sbka_milvus.images import LabelledImage, Split
from sbka_milvus.pipelines.train import TrainReport, TrainRequest, checkpoint_beside, train_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.checkpoint import CHECKPOINT_FILE
from sbka_milvus.training.identity import digest_of_text
from sbka_milvus.training.options import TrainingOptions

pytestmark = pytest.mark.usefixtures("one_thread")

SEEN = ("bar", "box", "disc", "pole", "ring")
EPOCHS, STEPS = 4, 5
Sbka = Callable[..., Any]
ALWAYS = 1e-9
"""Seconds between checkpoints that make one after each step."""


class Listening(SilentProgress):
    """Keeps what is said and counts the steps of the training."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[int] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Any]:
        def advance(steps: int = 1, note: str = "") -> None:
            if name == "Training":
                self.steps.append(steps)
                self.on_step(sum(self.steps))

        yield advance

    def on_step(self, done: int) -> None:
        """Called after each step of the training."""


class Waiting(Listening):
    """Says when a step is done and then waits for what comes: a signal."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_step(self, done: int) -> None:
        if done == self.step:
            print("here", flush=True)
            sys.stdin.read()


def draw_toys(root: Path) -> None:
    for kind, suffix in (("photos", "jpg"), ("sketches", "png")):
        for number, category in enumerate((*SEEN, "moon")):
            (root / kind / category).mkdir(parents=True)
            for copy in range(6):
                rng = np.random.default_rng([number, copy, kind == "photos"])
                ground = tuple(rng.integers(100, 240, 3).tolist()) if kind == "photos" else "white"
                image = Image.new("RGB", (40, 40), ground)
                x, y = rng.integers(4, 10, 2).tolist()
                corner = (x + 6 + 4 * number, y + 26 - 4 * number)
                ImageDraw.Draw(image).rectangle((x, y, *corner), "navy" if kind == "photos" else None, "black", 2)
                image.save(root / kind / category / f"{copy}.{suffix}")
    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet", num_classes=9).state_dict(), root / "weights.safetensors")


def toy_request(root: Path, **changes: Any) -> TrainRequest:
    """A bidirectional training of four epochs of five steps; channels last, as trainings run by default."""
    options = {"epochs": EPOCHS, "sketches_per_batch": 4, "photos_per_batch": 4, "validation_share": 0.4}
    request = TrainRequest(
        photos=root / "photos",
        sketches=root / "sketches",
        out=root / "model",
        backbone=BuildRequest.parse("timm:test_efficientnet", root / "weights.safetensors", 32, ["drop_rate=0.2"]),
        options=TrainingOptions(**{**options, **changes.pop("options", {})}),
        split=Split("toy", (), ("moon",)),
        device="cpu",
        precision="fp32_channels_last",
        checkpoint=checkpoint_beside(root / "model"),
        checkpoint_every_s=ALWAYS,
    )
    return replace(request, **changes)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toys")
    draw_toys(root)
    return root


@pytest.fixture
def toys(drawn: Path, tmp_path: Path) -> Path:
    """Its own copy of the pictures, so that a test may change them."""
    return shutil.copytree(drawn, tmp_path / "toys")


@pytest.fixture(scope="module")
def undisturbed(drawn: Path) -> TrainReport:
    """Without any checkpoint."""
    return train_model(toy_request(drawn, checkpoint=None, out=drawn.parent / "undisturbed"), SilentProgress())


def figures(report: TrainReport) -> list[Any]:
    """All that a training tells of its epochs but the time."""
    return [replace(record, seconds=0.0) for record in report.history.epochs]


def require_same_model(report: TrainReport, undisturbed: TrainReport) -> None:
    assert report.bundle.fingerprint == undisturbed.bundle.fingerprint
    folders = [one.bundle.path for one in (report, undisturbed)]
    assert folders[0] is not None
    assert folders[1] is not None
    assert folders[0] != folders[1]
    assert (folders[0] / STATISTICS_FILE).read_bytes() == (folders[1] / STATISTICS_FILE).read_bytes()
    assert report.bundle.manifest.weights_digest == undisturbed.bundle.manifest.weights_digest
    assert figures(report) == figures(undisturbed)
    assert report.history.best_epoch == undisturbed.history.best_epoch


def stopped_child(root: Path, step: int, stop: signal.Signals, every_s: float = ALWAYS) -> int:
    """Trains in a process of its own, which is sent ``stop`` in the middle of ``step``; how it ended."""
    with child(root, every_s, step, 0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(stop)
        process.wait(120)
    return process.returncode


def child(root: Path, every_s: float, step: int, write: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, str(root), str(every_s), str(step), str(write)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def stop_at(step: int) -> Listening:
    class Stopping(Listening):
        def on_step(self, done: int) -> None:
            if done >= step:
                raise KeyboardInterrupt

    return Stopping()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "every_s"), [(1, ALWAYS), (2, 1e9)])
def test_a_training_killed_in_both_halves_makes_the_same_model(
    seed: int, every_s: float, toys: Path, undisturbed: TrainReport
) -> None:
    chance = random.Random(seed)
    half = EPOCHS // 2 * STEPS
    steps = [chance.randrange(STEPS + 2, half), chance.randrange(half + STEPS + 2, 2 * half)]
    for step in steps:
        assert stopped_child(toys, step, signal.SIGKILL, every_s) == -signal.SIGKILL
        assert not (toys / "model").exists()
    progress = Listening()
    report = train_model(toy_request(toys, checkpoint_every_s=every_s), progress)
    require_same_model(report, undisturbed)
    # The step in the middle of which it was killed had no checkpoint yet.
    epochs, done = divmod(steps[-1] - 1, STEPS)
    done = done if every_s == ALWAYS else 0
    assert report.resumed_at == (epochs, done)
    assert progress.steps[0] == epochs * STEPS + done
    assert sum(progress.steps) == EPOCHS * STEPS
    assert progress.said == [f"Going on from the checkpoint: {epochs} of {EPOCHS} epochs and {done} steps are done."]
    assert not checkpoint_beside(toys / "model").exists()


@pytest.mark.slow
def test_a_training_killed_while_it_writes_its_checkpoint_goes_on_from_the_last(
    toys: Path, undisturbed: TrainReport
) -> None:
    for write in (7, 6):
        with child(toys, ALWAYS, 0, write) as process:
            process.wait(120)
        assert process.returncode == -signal.SIGKILL
    report = train_model(toy_request(toys), SilentProgress())
    assert report.resumed_at is not None
    assert report.resumed_at >= (1, 0)
    require_same_model(report, undisturbed)


@pytest.mark.slow
def test_ctrl_c_in_the_shell_says_how_to_go_on_and_the_same_command_does(toys: Path, sbka: Sbka) -> None:
    arguments = (
        "train", "--photos", toys / "photos", "--sketches", toys / "sketches", "--backbone", "timm:test_efficientnet",
        "--weights", toys / "weights.safetensors", "--size", "32", "--epochs", "30", "--sketches-per-batch", "4",
        "--photos-per-batch", "4", "--out", toys / "model", "--device", "cpu",
    )  # fmt: skip
    kept = checkpoint_beside(toys / "model") / CHECKPOINT_FILE
    environment = {**os.environ, "SBKA_TRAINING__CHECKPOINT_EVERY_S": "0.001"}
    command = [sys.executable, "-m", "sbka_milvus", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as run:
        deadline = time.monotonic() + 120
        while not kept.exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    assert "run the same command again" in err
    other = sbka(*arguments, "--mode", "one_way", "--epochs", "1", "--out", toys / "other")
    assert "checkpoint" not in other.err, "another model has another checkpoint"
    again = sbka(*arguments, "--json")
    assert again.code == 0, again.err
    assert "Going on from the checkpoint" in again.err
    assert len(again.json()["training"]["history"]["epochs"]) == 30
    assert not kept.parent.exists()


def test_the_shell_starts_anew_where_it_is_told_to_or_where_the_checkpoint_does_not_fit(toys: Path, sbka: Sbka) -> None:
    stopped(toys)
    arguments = (
        "train", "--photos", toys / "photos", "--sketches", toys / "sketches", "--backbone", "timm:test_efficientnet",
        "--weights", toys / "weights.safetensors", "--size", "32", "--epochs", "1", "--sketches-per-batch", "4",
        "--photos-per-batch", "4", "--out", toys / "model", "--device", "cpu",
    )  # fmt: skip
    ran = sbka(*arguments)
    assert ran.code == 0, ran.err
    assert "of another training" in ran.err
    stopped(toys)
    ran = sbka(*arguments, "--fresh")
    assert ran.code == 0, ran.err
    assert "checkpoint" not in ran.err


@pytest.mark.parametrize("step", [1, STEPS, STEPS + 1, 2 * STEPS, 3 * STEPS - 1, EPOCHS * STEPS])
def test_a_training_goes_on_from_any_step(step: int, toys: Path, undisturbed: TrainReport) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_model(toy_request(toys), stop_at(step))
    report = train_model(toy_request(toys), SilentProgress())
    # The step at which it was stopped had no checkpoint yet.
    assert report.resumed_at == (divmod(step - 1, STEPS) if step > 1 else None)
    require_same_model(report, undisturbed)


RECIPE: dict[str, Any] = {
    "schedule": "cosine",
    "warmup_epochs": 1.5,
    "optimiser": "adamw",
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "accumulate": 2,
    "balanced": 2,
    "head": "cosine",
    "label_smoothing": 0.1,
    "contrastive_weight": 0.5,
    "semantics_weight": 0.2,
    "sketch_knowledge_weight": 1.0,
    "backbone_rate_factor": 0.3,
    "frozen_stages": 1,
}


BATCH = {"sketches_per_batch": 4, "photos_per_batch": 4}


def recipe_request(root: Path, **changes: Any) -> TrainRequest:
    np.savez(root / "words.npz", names=np.array(SEEN), vecs=np.random.default_rng(0).normal(size=(len(SEEN), 4)))
    os.utime(root / "words.npz", (1, 1))
    request = toy_request(root, options=RECIPE, **changes)
    return replace(request, semantics=root / "words.npz")


@pytest.fixture(scope="module")
def by_recipe(drawn: Path) -> TrainReport:
    out = drawn.parent / "by recipe"
    return train_model(recipe_request(drawn, checkpoint=None, out=out), SilentProgress())


@pytest.mark.parametrize("step", [2, 4, STEPS, STEPS + 2, 2 * STEPS + 4, EPOCHS * STEPS])
def test_every_part_of_the_recipe_goes_on(step: int, toys: Path, by_recipe: TrainReport) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_model(recipe_request(toys), stop_at(step))
    report = train_model(recipe_request(toys), SilentProgress())
    # Two batches make a change, and what stands between them is kept by no checkpoint.
    epochs, done = divmod(step - 1, STEPS)
    assert report.resumed_at == ((epochs, done - done % 2) if step > 2 else None)
    require_same_model(report, by_recipe)


TEACHER: dict[str, Any] = {
    "teacher_scope": "adapters",
    "teacher_starts": 0.25,
    "teacher_schedule": "restart",
    "teacher_rate_factor": 3.0,
    "relation_weight": 2.0,
    "relation_pictures": "both",
    "embedding_weight": 1.5,
    "trainable": "adapters",
    "adapter_width": 3,
}


def taught_request(root: Path, **changes: Any) -> TrainRequest:
    """A vision transformer with adapters, and a larger teacher of another kind and size that learns, too."""
    for net in ("test_vit", "test_vit2"):
        torch.manual_seed(1)
        path = root / f"{net}.safetensors"
        if not path.exists():
            save_file(timm.create_model(net, num_classes=9).state_dict(), path)
    student, teacher = (
        BuildRequest.parse(f"timm:{net}", root / f"{net}.safetensors", size)
        for net, size in (("test_vit", 32), ("test_vit2", 48))
    )
    return replace(toy_request(root, options=TEACHER, **changes), backbone=student, teacher=teacher)


@pytest.fixture(scope="module")
def taught(drawn: Path) -> TrainReport:
    return train_model(taught_request(drawn, checkpoint=None, out=drawn.parent / "taught"), SilentProgress())


@pytest.mark.parametrize("step", [3, STEPS + 3, 3 * STEPS])
def test_a_teacher_that_learns_goes_on(step: int, toys: Path, taught: TrainReport) -> None:
    assert "teacher_relation" in taught.history.epochs[1].losses
    with pytest.raises(KeyboardInterrupt):
        train_model(taught_request(toys), stop_at(step))
    report = train_model(taught_request(toys), SilentProgress())
    assert report.resumed_at == divmod(step - 1, STEPS)
    require_same_model(report, taught)


@pytest.mark.parametrize(
    ("other", "change"),
    [
        ("options", {"options": {**TEACHER, "teacher_starts": 0.5}}),
        ("teacher", {"teacher": None}),
        ("teacher", {"teacher": "smaller"}),
    ],
)
def test_another_teacher_is_another_training(other: str, change: dict[str, Any], toys: Path) -> None:
    request = taught_request(toys)
    with pytest.raises(KeyboardInterrupt):
        train_model(request, stop_at(3))
    if change.get("teacher") == "smaller":
        assert request.teacher is not None
        change = {"teacher": replace(request.teacher, size=32)}
    if "options" in change:
        change = {"options": request.options.model_copy(update=change["options"])}
    progress = Listening()
    assert train_model(replace(request, **change), progress).resumed_at is None
    assert f"of another training (other {other})" in progress.said[0]


def test_other_word_vectors_are_another_training(toys: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_model(recipe_request(toys), stop_at(4))
    request = recipe_request(toys)
    np.savez(toys / "words.npz", names=np.array(SEEN), vecs=np.random.default_rng(1).normal(size=(len(SEEN), 4)))
    progress = Listening()
    assert train_model(request, progress).resumed_at is None
    assert "of another training (other word vectors)" in progress.said[0]


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "exponential"}, {"warmup_epochs": 1.0}, {"optimiser": "adam"}, {"clip_norm": 2.0},
        {"ema_decay": 0.8}, {"accumulate": 1}, {"balanced": 1}, {"head_temperature": 0.1}, {"label_smoothing": 0.0},
        {"contrastive_weight": 0.4}, {"semantics_weight": 0.1}, {"cross_modal_weight": 2.0}, {"teacher_scope": "all"},
    ],
)  # fmt: skip
def test_every_option_counts(change: dict[str, Any]) -> None:
    """Looked at where it is decided, for a training each would take long."""
    first, second = (TrainingOptions(**{**RECIPE, **more, **BATCH}) for more in ({}, change))
    assert digest_of_text(first.model_dump()) != digest_of_text(second.model_dump())


def test_a_training_that_only_lacked_its_bundle_is_saved(toys: Path, undisturbed: TrainReport) -> None:
    class Full(Listening):
        def stage(self, name: str, total: int | None = None, unit: str = "") -> Any:
            return self.opened(name)

        @contextmanager
        def opened(self, name: str) -> Iterator[Any]:
            yield lambda *_: None
            if name == "Training":
                raise MemoryError

    with pytest.raises(MemoryError):
        train_model(toy_request(toys, checkpoint_every_s=1e9), Full())
    progress = Listening()
    report = train_model(toy_request(toys), progress)
    assert report.resumed_at == (EPOCHS, 0)
    assert progress.steps == [EPOCHS * STEPS]
    require_same_model(report, undisturbed)


def stopped(root: Path, step: int = 8) -> Path:
    with pytest.raises(KeyboardInterrupt):
        train_model(toy_request(root), stop_at(step))
    return checkpoint_beside(root / "model") / CHECKPOINT_FILE


def test_an_epoch_s_end_makes_a_checkpoint_however_short_it_was(toys: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_model(toy_request(toys, checkpoint_every_s=1e9), stop_at(STEPS + 3))
    assert train_model(toy_request(toys), SilentProgress()).resumed_at == (1, 0)


@pytest.mark.parametrize(
    ("other", "changes"),
    [
        ("options", {"options": {"seed": 1}}),
        ("precision", {"precision": "fp32"}),
        ("split", {"split": Split("toy", SEEN, ("moon",))}),
        ("backbone", {"backbone": "other"}),
        ("pictures", {"photos": "touched"}),
    ],
)
def test_the_checkpoint_of_another_training_is_not_taken(other: str, changes: dict[str, Any], toys: Path) -> None:
    stopped(toys)
    if other == "backbone":
        path = toys / "weights.safetensors"
        changes = {}
        torch.manual_seed(1)
        save_file(timm.create_model("test_efficientnet", num_classes=9).state_dict(), path)
    if other == "pictures":
        changes = {}
        os.utime(toys / "photos" / "box" / "0.jpg", (1, 1))
    progress = Listening()
    report = train_model(toy_request(toys, **changes), progress)
    assert report.resumed_at is None
    assert len(progress.said) == 1
    assert f"of another training (other {other})" in progress.said[0]
    assert sum(progress.steps) == EPOCHS * STEPS


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "no checkpoint", "other code"])
def test_a_damaged_checkpoint_is_left_with_a_note(damage: str, toys: Path, undisturbed: TrainReport) -> None:
    path = stopped(toys)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    if damage in ("no checkpoint", "other code"):
        torch.save({"weights": torch.ones(1)} if damage == "no checkpoint" else {"identity": Path("x")}, path)
    else:
        path.write_bytes(content)
    progress = Listening()
    report = train_model(toy_request(toys), progress)
    assert len(progress.said) == 1
    assert "is damaged" in progress.said[0]
    assert report.resumed_at is None
    require_same_model(report, undisturbed)


def test_a_fresh_start_leaves_the_old_one_for_good(toys: Path, undisturbed: TrainReport) -> None:
    path = stopped(toys)
    with pytest.raises(KeyboardInterrupt):
        train_model(toy_request(toys, fresh=True, checkpoint_every_s=1e9), stop_at(1))
    assert not path.exists()
    progress = Listening()
    report = train_model(toy_request(toys), progress)
    assert (report.resumed_at, progress.said) == (None, [])
    require_same_model(report, undisturbed)


def test_the_pictures_may_have_moved_and_the_name_may_change(toys: Path, undisturbed: TrainReport) -> None:
    stopped(toys)
    moved = toys.rename(toys.with_name("moved"))
    report = train_model(toy_request(moved, name="another", note={"job": "7"}), SilentProgress())
    assert report.resumed_at is not None
    require_same_model(report, undisturbed)
    assert report.bundle.manifest.training["note"] == {"job": "7"}
    assert report.bundle.manifest.name == "another"


def test_what_is_raised_before_a_checkpoint_ends_the_training_and_keeps_the_last(toys: Path) -> None:
    calls = []

    def lose() -> None:
        calls.append(len(calls))
        if len(calls) == 4:
            raise LeaseLost("Another worker goes on.")

    with pytest.raises(LeaseLost):
        train_model(toy_request(toys, on_checkpoint=lose), SilentProgress())
    assert train_model(toy_request(toys), SilentProgress()).resumed_at == (0, 3)


def test_a_checkpoint_that_cannot_be_written_is_told_and_the_training_goes_on(
    toys: Path, undisturbed: TrainReport
) -> None:
    blocked = toys / "blocked"
    blocked.write_text("a file where a folder should be")
    progress = Listening()
    report = train_model(toy_request(toys, checkpoint=blocked, checkpoint_every_s=1e9), progress)
    assert len(progress.said) == EPOCHS
    assert "cannot be written" in progress.said[0]
    require_same_model(report, undisturbed)
    assert blocked.read_text() == "a file where a folder should be"


def test_drafts_of_killed_processes_are_cleared_and_other_files_are_not(toys: Path) -> None:
    folder = checkpoint_beside(toys / "model")
    folder.mkdir()
    (folder / ".0123.tmp").write_bytes(b"half")
    (folder / "mine.txt").write_text("keep")
    train_model(toy_request(toys, options={"epochs": 1}), SilentProgress())
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_state_that_does_not_fit_is_refused_with_the_way_out(toys: Path) -> None:
    path = stopped(toys)
    content = torch.load(path, weights_only=True)
    del content["state"]["student"]["seen_head.bias"]
    torch.save(content, path)
    with pytest.raises(TrainingError, match="cannot go on") as caught:
        train_model(toy_request(toys), SilentProgress())
    assert "--fresh" in caught.value.remedy


def test_further_sketches_of_seen_categories_train_and_others_are_left_out(toys: Path) -> None:
    (toys / "feedback").mkdir()
    further = []
    for number, category in enumerate(("Box", "disc", "MOON", "unicorn", "moon")):
        path = toys / "feedback" / f"{number}.png"
        shutil.copy(toys / "sketches" / "box" / "0.png", path)
        further.append(LabelledImage(path, category))
    plain = train_model(toy_request(toys, options={"epochs": 1, "validation_share": 0.0}), SilentProgress())
    request = toy_request(toys, options={"epochs": 1, "validation_share": 0.0}, extra_sketches=tuple(further))
    report = train_model(request, SilentProgress())
    assert report.bundle.manifest.training["sketches"] == plain.bundle.manifest.training["sketches"] + 2 == 32
    assert report.bundle.manifest.classes == SEEN
    assert report.notes == (
        "2 further sketches are of unseen categories and were left out: MOON, moon.",
        "1 further sketches are of unknown categories and were left out: unicorn.",
        *plain.notes,
    )


def main(folder: str, every_s: str, step: str, write: str) -> None:
    """A training that waits in a step to be killed, or that kills itself while it writes a checkpoint."""
    torch.set_num_threads(1)
    writes = 0

    def count() -> None:
        nonlocal writes
        writes += 1
        if writes == int(write):
            threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()

    request = toy_request(Path(folder), checkpoint_every_s=float(every_s), on_checkpoint=count)
    train_model(request, Waiting(int(step)))


if __name__ == "__main__":
    main(*sys.argv[1:])
