"""What an ingest looks at before the first photo: hours of work must not end at something that could be seen before."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import BundleError, InvalidValue, OutputError
from sbka_milvus.protocols import Encoder

MARGIN = 64 * 2**20
"""Bytes that must be left over: records, logs, a list of quarantined files."""

_ROW = 400
"""Bytes of a photo's URI, hash and figures, in a shard and in Milvus together; measured on long paths."""

_COPIES = 3
"""A vector is in its shard, in the version that is built, and in the one that was served before."""


def require_writable(gallery: Gallery) -> None:
    """Refuses a gallery's folder in which no file can be made.

    Raises:
        OutputError: It names the folder and the reason.
    """
    for folder in (gallery.root, gallery.shard_folder):
        draft = folder / f".{uuid4().hex}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft.touch(exist_ok=False)
            draft.unlink()
        except OSError as error:
            raise OutputError(
                f"The gallery's folder {folder} cannot be written: {error.strerror or error}.",
                "Check its permissions and the free space, or choose another folder with --gallery.",
            ) from error


def bytes_needed(photos: int, dim: int) -> int:
    """Disk space that embedding and indexing so many photos takes at most, in bytes.

    >>> bytes_needed(1_000_000, 512) // 2**30
    6
    """
    return photos * (_COPIES * dim * np.dtype(np.float32).itemsize + _ROW)


def require_room(gallery: Gallery, photos: int, dim: int) -> None:
    """Refuses to begin what the disk has no room for.

    Args:
        gallery: whose folder fills.
        photos: that are to be embedded.
        dim: of a vector.

    Raises:
        OutputError: It names what is needed and what is free.
    """
    needed = bytes_needed(photos, dim) + MARGIN
    free = shutil.disk_usage(_existing(gallery.root)).free
    if free < needed:
        raise OutputError(
            f"{photos:,} photos need up to {_mebibytes(needed)} in {gallery.root}, and {_mebibytes(free)} are free.",
            "Free some space, choose a folder on another disk, or ingest fewer photos at a time.",
        )


def require_encoding(encoder: Encoder) -> None:
    """Refuses an encoder that makes no vectors of its length, by one plain picture.

    Raises:
        BundleError: It names the encoder and what came out.
    """
    try:
        vectors = encoder.encode_photos([Image.new("RGB", (64, 64), (127, 90, 60))])
    except (InvalidValue, RuntimeError) as error:
        raise BundleError(
            f"The model {encoder.fingerprint} cannot encode a picture: {error}.", "Train or import it again."
        ) from error
    if vectors.shape != (1, encoder.dim) or not np.isfinite(vectors).all():
        raise BundleError(
            f"The model {encoder.fingerprint} makes vectors of shape {vectors.shape}, not {(1, encoder.dim)}.",
            "Train or import it again.",
        )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return Path(os.fspath(folder))


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
