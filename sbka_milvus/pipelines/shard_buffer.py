"""Rows of photos on their way to the disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.images import DecodedPhoto
from sbka_milvus.types import FloatArray


class ShardBuffer:
    """Collects rows and writes them as shards.

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
        self._parts: list[PhotoRecords] = []

    def add_photos(self, photos: Sequence[DecodedPhoto], vectors: FloatArray) -> None:
        """Takes embedded photos.

        Args:
            photos: N of them.
            vectors: shape (N, D), float32, unit rows.

        Raises:
            OutputError: A shard was full and cannot be written.
        """
        # The pictures themselves are dropped here: a shard's worth of them would not fit into memory.
        self.add(
            PhotoRecords(
                uris=tuple(photo.file.uri for photo in photos),
                content_hashes=tuple(photo.content_hash for photo in photos),
                sizes=np.asarray([photo.file.size for photo in photos], dtype=np.int64),
                mtimes_ns=np.asarray([photo.file.mtime_ns for photo in photos], dtype=np.int64),
                widths=np.asarray([photo.width for photo in photos], dtype=np.int64),
                heights=np.asarray([photo.height for photo in photos], dtype=np.int64),
                vectors=vectors,
                metadata=tuple(photo.file.metadata for photo in photos),
            )
        )

    def add(self, records: PhotoRecords) -> None:
        """Takes rows.

        Raises:
            OutputError: A shard was full and cannot be written.
        """
        if len(records):
            self._parts.append(records)
        if self._shard_size is not None and sum(map(len, self._parts)) >= self._shard_size:
            self.flush()

    def flush(self) -> None:
        """Writes what is left. Where that fails it is kept, and may be tried again.

        Raises:
            OutputError: The disk is full or the folder cannot be written.
        """
        if not self._parts:
            return
        records = PhotoRecords.joined(self._parts)
        write_shard(self._gallery.shard_folder, records, self._gallery.fingerprint, self._name)
        self.written += len(records)
        self._parts = []
