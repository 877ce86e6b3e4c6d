"""Embedded photos on their way to the disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.images import DecodedPhoto, PhotoFile
from sbka_milvus.types import FloatArray


class ShardBuffer:
    """Collects embedded photos and writes them as shards.

    Args:
        gallery: whose shards they are.
        shard_size: photos in one; none: a shard is written when :meth:`flush` is called.
        name: of the shard, where there is one; by default each has a new name.
    """

    def __init__(self, gallery: Gallery, shard_size: int | None = None, name: str | None = None) -> None:
        self.written = 0
        self._gallery = gallery
        self._shard_size = shard_size
        self._name = name
        self._photos: list[tuple[PhotoFile, str, int, int]] = []
        self._vectors: list[FloatArray] = []

    def add(self, photos: Sequence[DecodedPhoto], vectors: FloatArray) -> None:
        """Takes embedded photos.

        Args:
            photos: N of them.
            vectors: shape (N, D), float32, unit rows.

        Raises:
            OutputError: A shard was full and cannot be written.
        """
        # The pictures themselves are dropped here: a shard's worth of them would not fit into memory.
        self._photos.extend((photo.file, photo.content_hash, photo.width, photo.height) for photo in photos)
        self._vectors.append(vectors)
        if self._shard_size is not None and len(self._photos) >= self._shard_size:
            self.flush()

    def flush(self) -> None:
        """Writes what is left.

        Raises:
            OutputError: The disk is full or the folder cannot be written.
        """
        if not self._photos:
            return
        files, hashes, widths, heights = zip(*self._photos, strict=True)
        records = PhotoRecords(
            uris=tuple(file.uri for file in files),
            content_hashes=tuple(hashes),
            sizes=np.asarray([file.size for file in files], dtype=np.int64),
            mtimes_ns=np.asarray([file.mtime_ns for file in files], dtype=np.int64),
            widths=np.asarray(widths, dtype=np.int64),
            heights=np.asarray(heights, dtype=np.int64),
            vectors=np.concatenate(self._vectors),
            metadata=tuple(file.metadata for file in files),
        )
        write_shard(self._gallery.shard_folder, records, self._gallery.fingerprint, self._name)
        self.written += len(records)
        self._photos, self._vectors = [], []
