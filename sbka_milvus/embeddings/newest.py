"""Which rows of shards count: of each photo the last one, unless it was taken out after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sbka_milvus.embeddings.shards import read_uris
from sbka_milvus.types import IntArray, photo_id


def newest_rows(paths: list[Path]) -> list[IntArray]:
    """The rows of each shard that no later row of the same photo replaces, and no later shard takes out; ascending.

    Args:
        paths: the shards, oldest first.

    Raises:
        GalleryError: One is damaged.
    """
    # What a shard takes out comes before what it holds: so a photo that moved is in one shard out and in.
    ids, rows, shards = [], [], []
    for number, (uris, removed) in enumerate(map(read_uris, paths)):
        ids += [ids_of(removed), ids_of(uris)]
        rows += [np.full(len(removed), -1, dtype=np.int64), np.arange(len(uris), dtype=np.int64)]
        shards.append(np.full(len(removed) + len(uris), number, dtype=np.int64))
    if not paths:
        return []
    all_rows, all_shards = np.concatenate(rows), np.concatenate(shards)
    _, from_end = np.unique(np.concatenate(ids)[::-1], return_index=True)
    last = np.sort(len(all_rows) - 1 - from_end)
    last = last[all_rows[last] >= 0]
    return np.split(all_rows[last], np.searchsorted(all_shards[last], np.arange(1, len(paths))))


def ids_of(uris: tuple[str, ...] | list[str]) -> IntArray:
    """Photo ids of URIs: shape (N,), int64."""
    return np.fromiter((photo_id(uri) for uri in uris), dtype=np.int64, count=len(uris))
