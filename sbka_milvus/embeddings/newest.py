"""Which rows of shards count: of each photo the last one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sbka_milvus.embeddings.unchecked import scan_uris
from sbka_milvus.types import IntArray, photo_id


def newest_rows(paths: list[Path]) -> list[IntArray]:
    """The rows of each shard that no later row of the same photo replaces, ascending.

    Args:
        paths: the shards, oldest first.

    Raises:
        GalleryError: One is damaged.
    """
    parts = [ids_of(uris) for _, uris in scan_uris(paths)]
    ids = np.concatenate([np.empty(0, dtype=np.int64), *parts])
    _, from_end = np.unique(ids[::-1], return_index=True)
    rows = np.sort(len(ids) - 1 - from_end)
    ends = np.cumsum([len(part) for part in parts])
    cut = np.split(rows, np.searchsorted(rows, ends[:-1])) if parts else []
    return [piece - (end - len(part)) for piece, end, part in zip(cut, ends, parts, strict=True)]


def ids_of(uris: tuple[str, ...] | list[str]) -> IntArray:
    """Photo ids of URIs: shape (N,), int64."""
    return np.fromiter((photo_id(uri) for uri in uris), dtype=np.int64, count=len(uris))
