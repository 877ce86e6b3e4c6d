"""Benchmarks of small students, their cost, and unfinished drawings, on a small tree of the real one's form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from sbka_milvus.encoders.backbones import BuildRequest, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, save_bundle
from sbka_milvus.encoders.spec import BackboneSpec

ROOT = Path(__file__).parents[3]
SEEN, UNSEEN = ("bar", "box", "dot", "pole"), ("cross", "ring", "roof", "step")
EACH = 4
ROWS = {"one-to-one", "one-to-many", "linear system"}


def run(program: str, data: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"benchmarks/{program}.py", *map(str, arguments)]
    environment = {**os.environ, "SBKA_REAL_DATA": str(data), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False, env=environment)


def draw(path: Path, category: str, number: int, *, photo: bool) -> None:
    rng = np.random.default_rng([len(category), ord(category[0]), number, photo])
    ground = rng.integers(150, 220, (64, 64, 3), dtype=np.uint8) if photo else np.full((64, 64, 3), 255, np.uint8)
    image = Image.fromarray(ground)
    pen, shift = ImageDraw.Draw(image), int(rng.integers(-4, 5))
    index = (*SEEN, *UNSEEN).index(category)
    pen.arc((10 + shift, 10, 50 + shift, 50), 40 * index, 40 * index + 200, fill="black", width=3)
    pen.line((10, 8 * index + 4, 54, 60 - shift), fill="black", width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for category in (*SEEN, *UNSEEN):
        for number in range(EACH):
            draw(root / "sketchy-mini" / "photos" / category / f"n_{number}.jpg", category, number, photo=True)
            draw(root / "sketchy-mini" / "sketches" / category / f"n_{number}-1.png", category, number, photo=False)
    draw(root / "quickdraw-seen" / "bar" / "1.png", "bar", 99, photo=False)
    (root / "splits").mkdir()
    (root / "splits" / "sketchy_ext_25.json").write_text(json.dumps({"seen": SEEN, "unseen": UNSEEN}))
    return root


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nothing, as a training of the ladder leaves it."""
    from sbka_milvus.training.data import hold_out

    folder = tmp_path_factory.mktemp("ladder") / "sketchy_ext_25-one_way-0"
    torch.manual_seed(0)
    request = BuildRequest(BackboneSpec("timm", "test_efficientnet"), pretrained=False, size=32)
    held_out = hold_out(SEEN, 0.1, 0)[1]
    notes = BundleNotes("teacher", training={"validation_classes": list(held_out)})
    bundle = save_bundle(build_backbone(request).backbone, notes, folder / "model")
    (folder / "run.json").write_text(json.dumps({"split": "sketchy_ext_25", "arm": "one_way", "seed": 0}))
    rng = np.random.default_rng(0)
    arrays = {}
    for part, names in (("seen", SEEN), ("unseen", UNSEEN)):
        for kind, suffix in (("s", "-1.png"), ("p", ".jpg")):
            vectors = rng.standard_normal((EACH * len(names), bundle.dim)).astype(np.float32)
            arrays[f"{part}_{kind}"] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            arrays[f"{part}_{kind}c"] = np.repeat(names, EACH)
            arrays[f"{part}_{kind}n"] = np.tile([f"n_{number}{suffix}" for number in range(EACH)], len(names))
    np.savez(folder / "vectors.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def student(data: Path, teacher: Path) -> Path:
    out = teacher.with_name("sketchy_ext_25-student-0")
    found = run(
        "student_train", data, "--teacher", teacher, "--out", out, "--epochs", "1", "--frozen-stages", "0",
        "--sketches-per-batch", "4", "--photos-per-batch", "4",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    again = run("student_train", data, "--teacher", teacher, "--out", out)
    assert "is there already" in again.stdout
    return out


def test_a_student_is_trained_beside_its_teacher(student: Path) -> None:
    told = json.loads((student / "run.json").read_text())
    assert (told["arm"], told["seed"], told["options"]["levels"], told["options"]["input_size"]) == (
        "student",
        0,
        4,
        32,
    )
    manifest = json.loads((student / "model" / "manifest.json").read_text())
    assert manifest["options"] == {"levels": 4}
    assert {"category", "embedding", "alignment"} == set(manifest["training"]["history"]["epochs"][0]["losses"])
    with np.load(student / "vectors.npz") as kept:
        assert kept["unseen_p"].shape == (EACH * len(UNSEEN), manifest["dim"])


def test_the_pair_is_compared(data: Path, teacher: Path, student: Path, tmp_path: Path) -> None:
    found = run("cost", data, "--pairs", f"{teacher}={student}", "--rounds", "2", "--out", tmp_path / "cost.json")
    assert found.returncode == 0, found.stderr
    (one,) = json.loads((tmp_path / "cost.json").read_text())["pairs"]
    assert 0 < one["student over teacher"]["parameters"] < 1
    assert 0 < one["student over teacher"]["multiplications"] < 1
    assert one["student"]["bytes"] == (student / "model" / "model.safetensors").stat().st_size
    assert set(one["kept"]) == ROWS
    for row, kept in one["kept"].items():
        assert kept == pytest.approx(one["student"]["mAP@all"][row] / one["teacher"]["mAP@all"][row])
    for times in one["encoding"].values():
        assert times["ratio_quartiles"][0] <= times["ratio"] <= times["ratio_quartiles"][1]
    assert "a quarter of the size" in found.stdout


@pytest.fixture(scope="module")
def committee(data: Path, teacher: Path) -> Path:
    """Of the teacher and a second one, whose vectors miss a category and come in another order."""
    second = teacher.with_name("sketchy_ext_25-one_way-1")
    shutil.copytree(teacher, second)
    with np.load(teacher / "vectors.npz") as kept:
        arrays = dict(kept)
    for part in ("seen_s", "seen_p"):
        rows = np.flatnonzero(arrays[f"{part}c"] != SEEN[0])[::-1]
        arrays |= {name: arrays[name][rows] for name in (part, f"{part}c", f"{part}n")}
    np.savez(second / "vectors.npz", **arrays)
    for folder in (teacher, second):
        told = json.loads((folder / "run.json").read_text()) | {"seconds": 2.0, "processor_seconds": 3.0}
        (folder / "run.json").write_text(json.dumps(told))
    out = teacher.with_name("sketchy_ext_25-committee")
    found = run("committee", data, "--members", teacher, second, "--out", out)
    assert found.returncode == 0, found.stderr
    return out


def test_a_committee_ranks_by_the_mean_of_its_members(teacher: Path, committee: Path) -> None:
    assert json.loads((committee / "run.json").read_text())["processor_seconds"] == 6.0
    with np.load(teacher / "vectors.npz") as one, np.load(committee / "vectors.npz") as both:
        assert list(both["unseen_sn"]) == list(one["unseen_sn"])
        scores = both["unseen_s"] @ both["unseen_p"].T
        np.testing.assert_allclose(scores, one["unseen_s"] @ one["unseen_p"].T, atol=1e-5)
        assert set(both["seen_sc"]) == set(SEEN) - {SEEN[0]}
        rows = np.flatnonzero(one["seen_sc"] != SEEN[0])
        np.testing.assert_allclose(
            both["seen_s"] @ both["seen_s"].T, one["seen_s"][rows] @ one["seen_s"][rows].T, atol=1e-5
        )


@pytest.fixture(scope="module")
def taught(data: Path, teacher: Path, committee: Path) -> Path:
    """The teacher, which has learned from the committee it is a member of."""
    out = committee.with_name("sketchy_ext_25-taught-0")
    found = run(
        "student_train", data, "--teacher", committee, "--member", teacher, "--out", out, "--epochs", "1",
        "--frozen-stages", "0", "--sketches-per-batch", "4", "--photos-per-batch", "4",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return out


def test_a_member_learns_from_its_committee(data: Path, committee: Path, taught: Path, tmp_path: Path) -> None:
    told = json.loads((taught / "run.json").read_text())
    assert (told["arm"], told["seed"], told["teacher"]) == ("taught", 0, committee.name)
    training = json.loads((taught / "model" / "manifest.json").read_text())["training"]
    assert training["teacher"].count("teacher ") == 2
    assert {"category", "relation", "alignment"} == set(training["history"]["epochs"][0]["losses"])
    found = run("cost", data, "--pairs", f"{committee}={taught}", "--rounds", "1", "--out", tmp_path / "cost.json")
    assert found.returncode == 0, found.stderr
    report = json.loads((tmp_path / "cost.json").read_text())
    (one,) = report["pairs"]
    assert report["kinds of pairs"]["committee=taught"]["kept"]["one-to-one"]["mean"] == one["kept"]["one-to-one"]
    assert (one["teacher"]["networks"], one["student"]["networks"]) == (2, 1)
    assert one["student over teacher"] == {"parameters": 0.5, "multiplications": 0.5, "bytes": 0.5}


def test_what_it_was_and_what_it_became_are_averaged(data: Path, teacher: Path, taught: Path, student: Path) -> None:
    out = taught.with_name("sketchy_ext_25-averaged-0")
    found = run("student_average", data, "--student", taught, "--member", teacher, "--out", out)
    assert found.returncode == 0, found.stderr
    told = json.loads((out / "run.json").read_text())
    assert (told["arm"], told["teacher"], told["seed"]) == ("averaged", "sketchy_ext_25-committee", 0)
    assert told["share"] == told["shares"][int(np.argmax(told["validation_map"]))]
    first, last, mean = (load_file(folder / "model" / "model.safetensors") for folder in (teacher, taught, out))
    moved = [name for name in mean if mean[name].is_floating_point() and not torch.equal(first[name], last[name])]
    assert moved
    for name in moved:
        torch.testing.assert_close(mean[name], torch.lerp(first[name], last[name], told["share"]))
    with np.load(out / "vectors.npz") as kept:
        assert set(kept["val_sc"]) == set(
            json.loads((taught / "model" / "manifest.json").read_text())["training"]["validation_classes"]
        )
    found = run("student_average", data, "--student", student, "--member", taught, "--out", out.with_name("no"))
    assert found.returncode == 1
    assert "did not begin as" in found.stderr
    assert not out.with_name("no").exists()


def test_members_of_two_splits_are_refused(data: Path, teacher: Path, tmp_path: Path) -> None:
    shutil.copytree(teacher, tmp_path / "other")
    told = json.loads((teacher / "run.json").read_text()) | {"split": "sketchy_ext_21"}
    (tmp_path / "other" / "run.json").write_text(json.dumps(told))
    found = run("committee", data, "--members", teacher, tmp_path / "other", "--out", tmp_path / "out")
    assert found.returncode == 1
    assert "are of 2 splits" in found.stderr
    assert "two members at least" in run("committee", data, "--members", teacher, "--out", tmp_path / "out").stderr


def test_a_folder_that_is_no_training_is_named(data: Path, teacher: Path, tmp_path: Path) -> None:
    found = run("cost", data, "--pairs", f"{teacher}={tmp_path}")
    assert found.returncode == 1
    assert "no model bundle" in found.stderr
    assert "TEACHER=STUDENT" in run("cost", data, "--pairs", "alone").stderr


def test_drawings_are_searched_while_they_are_made(data: Path, teacher: Path, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawing.json"
    found = run("drawing", data, "--models", teacher, student, "--sketches", "1", "--out", out)
    assert found.returncode == 0, found.stderr
    report = json.loads(out.read_text())
    assert (report["queries"], report["gallery"], len(report["runs"])) == (len(UNSEEN), EACH * len(UNSEEN), 2)
    assert len(report["instance"]) == 4
    assert set(report["instance"]) > ROWS
    for order in ("outline", "chance"):
        for curves in report["while drawing"][order].values():
            for metric in ("mAP@all", "P@10", "drawn photo R@10"):
                assert len(curves[metric]) == len(report["shares"]) == 10
                assert all(0 <= one["min"] <= one["mean"] <= one["max"] <= 1 for one in curves[metric])
    own = [one["instance"]["one-to-one"]["mAP@all"] for one in report["runs"]]
    assert report["instance"]["one-to-one"]["mAP@all"]["mean"] == pytest.approx(np.mean(own))
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "| linear system |" in found.stdout


def test_pictures_that_are_not_there_are_named(teacher: Path, tmp_path: Path) -> None:
    for program, arguments in (
        ("drawing", ("--models", teacher)),
        ("student_train", ("--teacher", teacher, "--out", "x")),
        ("student_average", ("--student", teacher, "--member", teacher, "--out", "x")),
    ):
        found = run(program, tmp_path / "nowhere", *arguments)
        assert found.returncode == 1
        assert "SBKA_REAL_DATA" in found.stderr
