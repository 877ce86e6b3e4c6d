"""Shards as they are, whatever is wrong with them: for those who look for what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbka_milvus.embeddings.shards import damaged, fingerprint_of, read_removals, read_table
from sbka_milvus.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class UncheckedShard:
    """The rows of one shard, with values that were not looked at.

    Attributes:
        path: the file.
        fingerprint: of the encoder that it says made the vectors.
        uris: N URIs.
        content_hashes: N texts; empty where nothing is known of a photo's file.
        sizes: shape (N,), int64, bytes; -1 where that is not known.
        mtimes_ns: shape (N,), int64; -1 where that is not known.
        widths: shape (N,), int64; 0 where that is not known.
        heights: shape (N,), int64; likewise.
        vectors: shape (N, D), float32, of any length and content.
        metadata: N JSON texts, or none for a photo of which nothing was said.
        removed: URIs of photos that it takes out of the shards before it.
    """

    path: Path
    fingerprint: str
    uris: tuple[str, ...]
    content_hashes: tuple[str, ...]
    sizes: IntArray
    mtimes_ns: IntArray
    widths: IntArray
    heights: IntArray
    vectors: FloatArray
    metadata: tuple[str | None, ...]
    removed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.uris)

    def usable(self, dim: int) -> Any:
        """Which rows hold a finite unit vector of a length.

        Returns:
            shape (N,), bool.
        """
        if self.vectors.shape[1] != dim:
            return np.zeros(len(self), dtype=np.bool_)
        norms = np.sqrt(np.einsum("nd,nd->n", self.vectors, self.vectors, dtype=np.float64))
        with np.errstate(invalid="ignore"):
            return np.isfinite(norms) & (np.abs(norms - 1.0) <= 1e-3)


def count_rows(path: Path) -> int:
    """How many photos a shard holds, by its own word: nothing of them is read.

    Raises:
        GalleryError: It is no parquet file, or is cut short.
    """
    try:
        rows = int(pq.ParquetFile(path).metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error
    return rows - len(read_removals(path))


def read_unchecked(path: Path) -> UncheckedShard:
    """All rows of a shard.

    Raises:
        GalleryError: It is damaged: cut short, a page whose checksum is wrong, columns that are missing.
    """
    table, removed = read_table(path)
    fingerprint = fingerprint_of(table)
    if not len(table):
        return _empty(path, fingerprint, removed)
    table = table.combine_chunks()
    try:
        vectors = table["vector"].combine_chunks()
        dim = vectors.type.list_size
        count = len(table)
        texts = table["metadata"].to_pylist() if "metadata" in table.column_names else [None] * count
        return UncheckedShard(
            path=path,
            fingerprint=fingerprint,
            uris=tuple(uri.decode("utf-8", "surrogateescape") for uri in table["uri"].to_pylist()),
            content_hashes=tuple(table["content_hash"].to_pylist()),
            sizes=table["size"].to_numpy(),
            mtimes_ns=table["mtime_ns"].to_numpy(),
            widths=table["width"].to_numpy(),
            heights=table["height"].to_numpy(),
            vectors=vectors.flatten().to_numpy(zero_copy_only=False).reshape(count, dim).astype(np.float32, copy=False),
            metadata=tuple(texts),
            removed=tuple(removed),
        )
    except (KeyError, AttributeError, ValueError, TypeError) as error:
        raise damaged(path, error) from error


def _empty(path: Path, fingerprint: str, removed: list[str]) -> UncheckedShard:
    """A shard that only takes photos out."""
    none = np.empty(0, dtype=np.int64)
    vectors = np.empty((0, 0), dtype=np.float32)
    return UncheckedShard(path, fingerprint, (), (), none, none, none, none, vectors, (), tuple(removed))
