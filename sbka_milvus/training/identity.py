"""What decides the outcome of a training, as digests: a checkpoint is taken by the training that it is of alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from sbka_milvus.images import LabelledImage


def digest_of_text(*parts: object) -> str:
    """32 hex digits of a sequence of plain values.

    >>> digest_of_text("a", 1) == digest_of_text("a", 1) != digest_of_text("a1")
    True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def digest_of_tensors(tensors: Iterable[torch.Tensor]) -> str:
    """32 hex digits of the numbers in tensors, wherever they lie."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def digest_of_images(images: Sequence[LabelledImage], rejected: Sequence[tuple[Path, str]]) -> str:
    """32 hex digits of a data set: categories, file names, sizes and times of change, and which files are left out.

    The folders' own place does not count, so that a data set may be mounted elsewhere.
    """
    left_out = {path for path, _ in rejected}
    return digest_of_text(
        [(one.category, one.path.name, *_size_and_time(one.file), one.path in left_out) for one in images]
    )


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1  # a file that vanished is among those left out
    return found.st_size, found.st_mtime_ns
