"""Taking rows or whole shards out of a gallery, in steps that leave it usable wherever they are cut short."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.embeddings import shards
from sbka_milvus.embeddings.shards import read_removals, shard_name
from sbka_milvus.errors import OutputError

SET_ASIDE = "set-aside"
"""Folder of a gallery with shards that were taken out of it; nothing reads it."""


def set_aside(root: Path, path: Path) -> Path:
    """Moves a shard out of a gallery's shards; nothing is deleted.

    Args:
        root: the gallery's folder.
        path: the shard.

    Returns:
        Where it is now.

    Raises:
        OutputError: The folder cannot be written.
    """
    target = root / SET_ASIDE / path.name
    try:
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be moved to {target.parent}: {error.strerror or error}.", "Check the permissions."
        ) from error
    return target


def keep_rows(path: Path, kept: NDArray[np.bool_]) -> Path | None:
    """Writes a shard's kept rows as a new shard of the same place among the others; the old one stays.

    The new one has another name, so that versions built from the old one are known to be.

    Args:
        path: the shard.
        kept: shape (N,), bool.

    Returns:
        The new shard; none where nothing of it is left.

    Raises:
        GalleryError: The shard is damaged.
        OutputError: The disk is full or the folder cannot be written.
    """
    if not kept.any() and not read_removals(path):
        return None
    number = int(path.name.split("-")[1])
    target = path.with_name(shard_name(number, secrets.token_hex(8)))
    shards.keep_rows(path, kept, target)
    return target


def remove_shard(path: Path) -> None:
    """Deletes a shard whose rows are not wanted any more.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror or error}.", "Check the permissions.") from error
