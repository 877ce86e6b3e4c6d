"""What a retraining would be trained on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sbka_milvus.encoders.committee import teaching_manifests
from sbka_milvus.errors import DatasetError
from sbka_milvus.feedback import FeedbackPair
from sbka_milvus.images import LabelledImage, Split, list_images
from sbka_milvus.pipelines.retraining.policy import RetrainingPolicy
from sbka_milvus.pipelines.seen import seen_categories

_FILES = ("weights", "affinity", "semantics", "teacher_weights", "knowledge_names")
"""Entries of a policy that are single files beside the pictures."""


def data_fingerprint(policy: RetrainingPolicy, pairs: Iterable[FeedbackPair]) -> str:
    """32 hex digits that name the training data: files, split and verdicts. Pictures are not opened.

    BLAKE2b over the sorted lines ``kind, category/file, size, modification time in ns`` of the photos and sketches of
    the seen categories and of the files beside them, the split's digest, the fingerprint of a model that teaches, and
    the accepted verdicts.

    Raises:
        DatasetError: The folders or the split do not fit one another, or a file is gone.
        BundleError: The model that teaches is gone.
    """
    split = None if policy.split is None else Split.load(policy.split)
    seen = seen_categories(policy.photos, split)
    lines = []
    for kind, folder in (("photo", policy.photos), ("sketch", policy.sketches)):
        if folder is not None:
            lines += [[kind, *_identity(image)] for image in list_images(folder, seen)]
    files = {name: path for name in _FILES if (path := getattr(policy, name)) is not None}
    lines += [[name, path.name, *_state(path)] for name, path in files.items()]
    state = {
        "files": sorted(lines),
        "split": "" if split is None else split.digest,
        "feedback": _said(pairs),
    }
    if policy.teacher is not None:
        state["teacher"] = " ".join(one.fingerprint for one in teaching_manifests(policy.teacher))
    return hashlib.blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()


def check_data(policy: RetrainingPolicy) -> None:
    """Refuses a policy whose data are not there, or whose gate could not be measured, or not honestly.

    Raises:
        DatasetError: A folder, the split, or a file is missing, or they do not fit one another; or held-out sketches
            are trained on.
        BundleError: The model that teaches is gone.
    """
    data_fingerprint(policy, ())
    if policy.gate.held_out is not None:
        _require_held_out(policy, policy.gate.held_out)


def _require_held_out(policy: RetrainingPolicy, folder: Path) -> None:
    """By the files themselves, so that links to them are found, too; copies are not."""
    trained: set[tuple[int, int]] = set()
    if policy.sketches is not None:
        split = None if policy.split is None else Split.load(policy.split)
        seen = seen_categories(policy.photos, split)
        trained = {_place(image.file) for image in list_images(policy.sketches, seen)}
    held_out = list_images(folder)
    shared = [image.path for image in held_out if _place(image.file) in trained]
    if shared:
        raise DatasetError(
            f"{len(shared)} of the {len(held_out)} held-out sketches in {folder} are trained on, such as {shared[0]}: "
            "a model that knows them by heart would pass.",
            "Name a folder of sketches that the training does not read.",
        )


def _identity(image: LabelledImage) -> Sequence[object]:
    path = image.path
    return f"{path.parent.name}/{path.name}", *_state(image.file)


def _place(file: Path) -> tuple[int, int]:
    found = _look(file)
    return found.st_dev, found.st_ino


def _state(file: Path) -> tuple[int, int]:
    found = _look(file)
    return found.st_size, found.st_mtime_ns


def _look(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except FileNotFoundError as error:
        raise DatasetError(f"The file {file} does not exist.", "Check the path.") from error
    except OSError as error:
        raise DatasetError(f"{file} cannot be looked at: {error.strerror}.", "Leave the data alone for now.") from error


def _said(pairs: Iterable[FeedbackPair]) -> list[list[str]]:
    return sorted([pair.sketch, pair.uri, pair.category or ""] for pair in pairs if pair.verdict == "accepted")
