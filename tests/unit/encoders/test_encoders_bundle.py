"""The model bundle: what is saved is what is served, and nothing else is accepted."""

from __future__ import annotations

import errno
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from sbka_milvus.encoders.backbones import Backbone, BuiltBackbone
from sbka_milvus.encoders.bundle import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    BundleNotes,
    ModelBundle,
    _digest,
    copy_bundle,
    load_bundle,
    read_manifest,
    save_bundle,
)
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BundleError

Build = Callable[..., BuiltBackbone]
CANONICAL = [-0.073000, -0.058047, 0.035350, 0.044359, -0.018451, -0.091532, 0.290229, 0.103795]
NOTES = BundleNotes("tiny", ("cat", "dog"), {"epochs": 2})


@pytest.fixture
def bundle(build: Build, tmp_path: Path) -> ModelBundle:
    return save_bundle(build().backbone, NOTES, tmp_path / "models" / "tiny")


def folder_of(bundle: ModelBundle) -> Path:
    assert bundle.path is not None
    return bundle.path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def change_manifest(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps({**values, **changes}))


class FullDisk(nn.Module):
    """A network that fails as a full disk does when it is saved."""

    def state_dict(self, *_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_loaded_bundle_makes_the_same_vectors(
    small_network: Callable[..., Backbone], pictures: Callable[[int], list[Image.Image]], tmp_path: Path
) -> None:
    backbone = small_network(overrides={"fit": "squash"})
    saved = save_bundle(backbone, NOTES, tmp_path / "model")
    loaded = load_bundle(tmp_path / "model")
    assert loaded.manifest == saved.manifest == read_manifest(tmp_path / "model")
    assert (loaded.manifest.name, loaded.manifest.classes, loaded.manifest.training) == (
        "tiny",
        ("cat", "dog"),
        {"epochs": 2},
    )
    assert loaded.backbone.preprocessing == backbone.preprocessing
    assert (loaded.fingerprint, loaded.dim) == (saved.fingerprint, backbone.feature_dim)
    assert not loaded.backbone.training
    first, second = (BundleEncoder(one, device="cpu").encode_photos(pictures(3)) for one in (saved, loaded))
    assert np.array_equal(first, second)


def test_the_canonical_vector_of_a_picture(build: Build, tmp_path: Path) -> None:
    """Weights and picture are made from formulas: another vector means that the preprocessing changed."""
    backbone = build("test_vit", size=64).backbone
    rng = np.random.RandomState(0)  # its stream is fixed for ever
    for name, value in sorted(backbone.net.state_dict().items()):
        noise = torch.from_numpy(rng.standard_normal(tuple(value.shape)))
        if value.ndim > 1:
            value.copy_(noise / np.sqrt(value[0].numel()))
        elif name.endswith(("weight", "gamma")):
            value.fill_(1.0)
        else:
            value.copy_(0.1 * noise)
    encoder = BundleEncoder(save_bundle(backbone, NOTES, tmp_path / "model"), device="cpu")
    y, x, channel = np.mgrid[0:72, 0:100, 0:3]
    picture = Image.fromarray(((x * (2 + channel) + y * (3 - channel) + x * y // 16) % 256).astype(np.uint8))
    vector = encoder.encode_photos([picture])[0]
    assert vector[:8].tolist() == pytest.approx(CANONICAL, abs=1e-4)
    for change in ({"fit": "squash"}, {"interpolation": "bilinear"}, {"mean": (0.48, 0.5, 0.5)}):
        backbone.preprocessing = replace(encoder.bundle.backbone.preprocessing, **change)
        other = BundleEncoder(save_bundle(backbone, NOTES, tmp_path / "other"), device="cpu")
        assert np.abs(other.encode_photos([picture])[0][:8] - CANONICAL).max() > 1e-3, change


def test_a_fingerprint_names_what_decides_a_vector(build: Build, tmp_path: Path) -> None:
    def fingerprint(notes: BundleNotes = NOTES, change: Callable[[Backbone], Any] = lambda _: None) -> str:
        backbone = build("test_efficientnet").backbone
        change(backbone)
        return save_bundle(backbone, notes, tmp_path / "model").fingerprint

    def weights(backbone: Backbone) -> None:
        with torch.no_grad():
            next(backbone.parameters()).view(-1)[0] += 1e-3

    def preprocessing(backbone: Backbone) -> None:
        backbone.preprocessing = replace(backbone.preprocessing, fit="squash")

    def padding(backbone: Backbone) -> None:
        backbone.options = {"pad_type": "same"}

    def tag(backbone: Backbone) -> None:
        backbone.spec = BackboneSpec("timm", "test_efficientnet", "r160_in1k")

    plain = fingerprint()
    assert len(plain) == 16
    assert int(plain, 16) >= 0
    assert fingerprint() == plain
    assert fingerprint(BundleNotes("another name", ("cow",), {"epochs": 9})) == plain
    assert fingerprint(change=tag) == plain
    changed = {fingerprint(change=change) for change in (weights, preprocessing, padding)}
    assert len(changed | {plain}) == 4


def test_one_flipped_bit_of_the_weights_is_noticed(bundle: ModelBundle) -> None:
    path = folder_of(bundle) / WEIGHTS_FILE
    damaged = bytearray(path.read_bytes())
    damaged[-100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(BundleError, match="is damaged") as caught:
        load_bundle(folder_of(bundle))
    assert str(path) in caught.value.problem


@pytest.mark.parametrize("keep", [0, 7, 1000])
def test_truncated_weights_are_noticed(keep: int, bundle: ModelBundle) -> None:
    path = folder_of(bundle) / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BundleError, match="is damaged"):
        load_bundle(folder_of(bundle))


def test_missing_weights_are_noticed(bundle: ModelBundle) -> None:
    (folder_of(bundle) / WEIGHTS_FILE).unlink()
    with pytest.raises(BundleError, match="cannot be loaded"):
        load_bundle(folder_of(bundle))


def test_a_pickle_in_place_of_the_weights_is_not_opened(bundle: ModelBundle, tmp_path: Path) -> None:
    folder, touched = folder_of(bundle), tmp_path / "touched"

    class RunsCode:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.touch, (touched,)

    for write in (
        lambda path: path.write_bytes(pickle.dumps(RunsCode())),
        lambda path: torch.save({"conv1.weight": RunsCode()}, path),
    ):
        write(folder / WEIGHTS_FILE)
        change_manifest(folder, weights_digest=_digest(folder / WEIGHTS_FILE))
        with pytest.raises(BundleError, match="cannot be loaded"):
            load_bundle(folder)
    assert not touched.exists()
    pickle.loads(pickle.dumps(RunsCode()))
    assert touched.exists(), "the pickle would have run its code"


def test_weights_that_do_not_fit_the_manifest_are_refused(bundle: ModelBundle) -> None:
    folder = folder_of(bundle)
    state = load_file(folder / WEIGHTS_FILE)
    state.pop("conv1.0.weight")
    save_file(state, folder / WEIGHTS_FILE)
    change_manifest(folder, weights_digest=_digest(folder / WEIGHTS_FILE))
    with pytest.raises(BundleError, match="Missing key"):
        load_bundle(folder)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.write_text("text")])
def test_what_is_no_bundle_is_named(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "model"
    make(path)
    for read in (load_bundle, read_manifest):
        with pytest.raises(BundleError) as caught:
            read(path)
        assert str(path) in caught.value.problem
        assert caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"colour": "red"}, "is damaged at colour"),
        ({"dim": 0}, "is damaged at dim"),
        ({"dim": "many"}, "is damaged at dim"),
        ({"backbone": None}, "is damaged at backbone"),
        ({"backbone": "timm:no_such_net"}, "timm knows no model"),
        ({"backbone": "no_such_library:x"}, "is not of the form"),
        ({"options": {"colour": 1}}, "timm cannot build"),
        ({"preprocessing": {"size": 64}}, "Preprocessing cannot be made"),
        ({"format_version": 2}, "has format 2; this version reads 1"),
        ({"format_version": 2, "colour": "red", "dim": None}, "has format 2; this version reads 1"),
    ],
)
def test_a_manifest_of_another_form_is_refused(changes: dict[str, Any], problem: str, bundle: ModelBundle) -> None:
    change_manifest(folder_of(bundle), **changes)
    with pytest.raises(BundleError, match=problem):
        load_bundle(folder_of(bundle))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\udcff", "[" * 5000])
def test_a_manifest_that_is_not_json_is_refused(text: str, bundle: ModelBundle) -> None:
    (folder_of(bundle) / MANIFEST_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match="is damaged"):
        read_manifest(folder_of(bundle))


def test_a_folder_with_other_files_is_left_alone(bundle: ModelBundle, build: Build, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("a cat")
    (folder_of(bundle) / "thesis.txt").write_text("years of work")
    for folder in (photos, folder_of(bundle)):
        before = content(folder)
        with pytest.raises(BundleError, match="holds other files"):
            save_bundle(build().backbone, NOTES, folder)
        assert content(folder) == before


def test_a_file_in_place_of_the_folder_is_left_alone(build: Build, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for target in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(BundleError) as caught:
            save_bundle(build().backbone, NOTES, target)
        assert str(target) in caught.value.problem
        assert "None" not in caught.value.problem
    assert (tmp_path / "file").read_text() == "text"


def test_a_bundle_replaces_another_and_leaves_nothing_behind(bundle: ModelBundle, build: Build) -> None:
    folder = folder_of(bundle)
    (folder / "history.jsonl").write_text("{}\n")
    save_bundle(build("test_vit").backbone, BundleNotes("next"), folder)
    assert load_bundle(folder).manifest.name == "next"
    assert sorted(content(folder)) == [MANIFEST_FILE, WEIGHTS_FILE]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert folder.stat().st_mode & 0o777 == 0o755 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_empty_folder_may_be_filled(build: Build, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save_bundle(build().backbone, NOTES, tmp_path / "empty")
    assert load_bundle(tmp_path / "empty").manifest.name == "tiny"


def test_the_old_bundle_outlives_a_failure_while_the_new_one_is_written(
    bundle: ModelBundle, by_hand: Callable[..., Backbone]
) -> None:
    folder = folder_of(bundle)
    before = content(folder)
    failing = by_hand()
    failing.net = FullDisk()
    with pytest.raises(BundleError, match="No space left on device"):
        save_bundle(failing, NOTES, folder)
    assert content(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_old_bundle_outlives_a_failure_of_the_exchange(
    bundle: ModelBundle, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(bundle)
    before = content(folder)
    rename = Path.rename

    def fails_for_the_new_one(self: Path, target: Path) -> Path:
        if self.name == "bundle":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with pytest.raises(BundleError, match="Input/output error"):
        save_bundle(build("test_vit").backbone, NOTES, folder)
    assert content(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_copy_is_the_same_bundle(bundle: ModelBundle, tmp_path: Path) -> None:
    target = tmp_path / "gallery" / "model"
    copy_bundle(folder_of(bundle), target)
    assert load_bundle(target).manifest == bundle.manifest
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_a_copy_does_not_change_when_its_source_is_replaced(bundle: ModelBundle, build: Build, tmp_path: Path) -> None:
    copy_bundle(folder_of(bundle), tmp_path / "copy")
    save_bundle(build("test_vit").backbone, BundleNotes("next"), folder_of(bundle))
    assert load_bundle(tmp_path / "copy").manifest == bundle.manifest
    copy_bundle(folder_of(bundle), tmp_path / "copy")
    assert load_bundle(tmp_path / "copy").manifest == bundle.manifest, "a bundle that is there stays"


def test_a_copy_that_cannot_be_made_is_an_error(bundle: ModelBundle, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "cat.jpg").write_text("a cat")
    for source, target in ((tmp_path / "none", tmp_path / "copy"), (folder_of(bundle), full)):
        with pytest.raises(BundleError, match="cannot be copied"):
            copy_bundle(source, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "models"]
    assert list(content(full)) == ["cat.jpg"]
