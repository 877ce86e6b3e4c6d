"""Embedded photos with what identifies their files."""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray, Metadata, require_unit_rows


@dataclass(frozen=True, slots=True)
class PhotoRecords:
    """N embedded photos: one shard, or a part of one.

    Attributes:
        uris: absolute local paths, members of archives, addresses.
        content_hashes: BLAKE2b of the files, hexadecimal.
        sizes: shape (N,), int64, bytes.
        mtimes_ns: shape (N,), int64, nanoseconds since 1970.
        widths: shape (N,), int64, pixels of the upright original.
        heights: shape (N,), int64.
        vectors: shape (N, D), float32, unit rows.
        metadata: of each photo; none for a photo of which nothing was said; empty where that is so of all.
    """

    uris: tuple[str, ...]
    content_hashes: tuple[str, ...]
    sizes: IntArray
    mtimes_ns: IntArray
    widths: IntArray
    heights: IntArray
    vectors: FloatArray
    metadata: tuple[Metadata | None, ...] = ()

    def __post_init__(self) -> None:
        require_unit_rows(self.vectors, "vectors")
        for name in ("uris", "content_hashes", "sizes", "mtimes_ns", "widths", "heights"):
            if len(getattr(self, name)) != len(self.vectors):
                raise InvalidValue(f"{name} has {len(getattr(self, name))} entries for {len(self.vectors)} vectors.")
        if self.metadata and len(self.metadata) != len(self.vectors):
            raise InvalidValue(f"metadata has {len(self.metadata)} entries for {len(self.vectors)} vectors.")

    def __len__(self) -> int:
        return len(self.uris)
