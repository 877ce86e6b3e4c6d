"""The model bundle: a folder with a model's weights (safetensors) and its manifest (JSON). It is never unpickled."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.manifest import MANIFEST_FILE, Manifest, read_manifest
from sbka_milvus.encoders.rebuild import rebuild
from sbka_milvus.encoders.statistics import STATISTICS_FILE, read_statistics
from sbka_milvus.errors import BundleError, SbkaError

WEIGHTS_FILE = "model.safetensors"
HISTORY_FILE = "history.jsonl"
"""Epoch by epoch, beside the model; none where the model was not trained here."""
PLOT_FILE = "training.png"
"""The same as a picture."""


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """A backbone ready to serve, and what is known of it.

    Attributes:
        backbone: in eval mode.
        manifest: its description.
        path: the folder it lies in; none before it is saved.
    """

    backbone: Backbone
    manifest: Manifest
    path: Path | None = None

    @property
    def fingerprint(self) -> str:
        """Two bundles with one fingerprint make the same vectors."""
        return self.manifest.fingerprint

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.manifest.dim


@dataclass(frozen=True, slots=True)
class BundleNotes:
    """What a bundle tells beside its weights: see :class:`~sbka_milvus.encoders.manifest.Manifest`."""

    name: str
    classes: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)


def save_bundle(backbone: Backbone, notes: BundleNotes, folder: Path) -> ModelBundle:
    """Writes a bundle; a reader sees the old one, for a moment none, then the new one, and never half of either.

    Raises:
        BundleError: The folder holds something that is no bundle, or cannot be written.
    """
    check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            fresh = Path(temporary) / "bundle"
            fresh.mkdir()
            manifest = _write(backbone, notes, fresh)
            _exchange(folder, fresh, Path(temporary) / "old")
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"The model bundle {folder} cannot be written: {_reason(error)}.", "Check space and permissions."
        ) from error
    return ModelBundle(backbone.eval(), manifest, folder)


def check_target(folder: Path) -> None:
    """Refuses a folder that :func:`save_bundle` would refuse, so that hours of training need not end there.

    Raises:
        BundleError: The folder holds something that is no part of a bundle, or is a file.
    """
    try:
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise BundleError(f"{folder} cannot hold a model: {_reason(error)}.", "Name an empty or new folder.") from error
    parts = {WEIGHTS_FILE, MANIFEST_FILE, HISTORY_FILE, PLOT_FILE, STATISTICS_FILE}
    if names - parts or (names and MANIFEST_FILE not in names):
        raise BundleError(f"{folder} holds other files and was left alone.", "Name an empty or new folder.")


def _exchange(folder: Path, fresh: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _write(backbone: Backbone, notes: BundleNotes, folder: Path) -> Manifest:
    state = {name: value.detach().cpu().contiguous() for name, value in backbone.net.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    preprocessing = backbone.preprocessing.to_dict()
    manifest = Manifest(
        name=notes.name,
        backbone=str(backbone.spec),
        options=backbone.options,
        preprocessing=preprocessing,
        dim=backbone.feature_dim,
        classes=notes.classes,
        training=notes.training,
        fingerprint=fingerprint(backbone, state),
        weights_digest=_digest(folder / WEIGHTS_FILE),
    )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def fingerprint(backbone: Backbone, state: dict[str, torch.Tensor]) -> str:
    """16 hex digits that name what decides a vector: architecture, weights, preprocessing, dimension.

    Args:
        backbone: its name counts without the tag, which says only where the weights came from.
        state: the weights by name, on the CPU.
    """
    spec = backbone.spec
    architecture = [spec.library, spec.model, backbone.options]
    digest = hashlib.blake2b(digest_size=8)
    described = [architecture, backbone.preprocessing.to_dict(), backbone.feature_dim]
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    for name in sorted(state):
        value = state[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def load_bundle(folder: Path) -> ModelBundle:
    """Loads a bundle, in eval mode on the CPU.

    Raises:
        BundleError: There is no bundle, or a part of it is damaged.
    """
    manifest = read_manifest(folder)
    weights = folder / WEIGHTS_FILE
    try:
        # The file is looked through while libraries are imported and the network is built.
        with ThreadPoolExecutor(1, "sbka-digest") as beside:
            digest = beside.submit(_digest, weights)
            try:
                backbone = rebuild(manifest, load_file(weights))
            finally:
                # Before anything else that is wrong, which may come of it.
                _require_intact(manifest, weights, digest.result())
    except BundleError:
        raise
    except (OSError, SafetensorError, RuntimeError, SbkaError) as error:
        raise _unloadable(folder, error) from error
    return ModelBundle(backbone.eval(), manifest, folder)


def read_bundle(folder: Path) -> tuple[Manifest, dict[str, torch.Tensor]]:
    """A bundle's manifest and its weights by name, with no network built of them.

    Raises:
        BundleError: There is no bundle, or a part of it is damaged.
    """
    manifest = read_manifest(folder)
    weights = folder / WEIGHTS_FILE
    try:
        _require_intact(manifest, weights, _digest(weights))
        return manifest, load_file(weights)
    except (OSError, SafetensorError) as error:
        raise _unloadable(folder, error) from error


def _require_intact(manifest: Manifest, weights: Path, digest: str) -> None:
    if digest != manifest.weights_digest:
        raise BundleError(f"{weights} is damaged: it is not the file that was saved.", "Make the bundle again.")


def _unloadable(folder: Path, error: Exception) -> BundleError:
    return BundleError(f"The model bundle {folder} cannot be loaded: {error}", "Make the bundle again.")


def copy_bundle(source: Path, target: Path) -> None:
    """Copies a bundle beside a gallery, unless it is there already; hard links where the file system allows.

    Statistics that the source was given after it was copied are brought after it.

    Raises:
        BundleError: The copy cannot be written, or the source's statistics are damaged.
    """
    if (source / MANIFEST_FILE).is_file():
        read_statistics(source)
    if (target / MANIFEST_FILE).is_file():
        _bring_statistics(source, target)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            fresh = Path(temporary) / "bundle"
            fresh.mkdir()
            for name in (WEIGHTS_FILE, MANIFEST_FILE):
                _link_or_copy(source / name, fresh / name)
            if (source / STATISTICS_FILE).is_file():
                _link_or_copy(source / STATISTICS_FILE, fresh / STATISTICS_FILE)
            fresh.rename(target)
    except OSError as error:
        raise BundleError(
            f"The model {source} cannot be copied to {target}: {_reason(error)}.", "Check space and permissions."
        ) from error


def _bring_statistics(source: Path, target: Path) -> None:
    known = source / STATISTICS_FILE
    same = read_manifest(source).fingerprint == read_manifest(target).fingerprint
    if not same or not known.is_file() or (target / STATISTICS_FILE).is_file():
        return
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            _link_or_copy(known, Path(temporary) / STATISTICS_FILE)
            (Path(temporary) / STATISTICS_FILE).rename(target / STATISTICS_FILE)
    except OSError as error:
        raise BundleError(
            f"The statistics of {source} cannot be copied to {target}: {_reason(error)}.",
            "Check space and permissions.",
        ) from error


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
