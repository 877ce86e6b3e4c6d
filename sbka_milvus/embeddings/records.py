"""Embedded photos with what identifies their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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

    def rows(self, rows: Sequence[int]) -> PhotoRecords:
        """Some of the photos, in the order of ``rows``."""
        chosen = np.asarray(rows, dtype=np.int64)
        return PhotoRecords(
            uris=tuple(self.uris[row] for row in rows),
            content_hashes=tuple(self.content_hashes[row] for row in rows),
            sizes=self.sizes[chosen],
            mtimes_ns=self.mtimes_ns[chosen],
            widths=self.widths[chosen],
            heights=self.heights[chosen],
            vectors=self.vectors[chosen],
            metadata=tuple(self.metadata[row] for row in rows) if self.metadata else (),
        )

    @classmethod
    def joined(cls, parts: Sequence[PhotoRecords]) -> PhotoRecords:
        """Records one behind the other.

        Raises:
            InvalidValue: There are none, or their vectors have several lengths.
        """
        if len({part.vectors.shape[1] for part in parts}) != 1:
            raise InvalidValue("Records of vectors of one length are needed.")
        said = any(part.metadata for part in parts)
        return cls(
            uris=tuple(uri for part in parts for uri in part.uris),
            content_hashes=tuple(found for part in parts for found in part.content_hashes),
            sizes=np.concatenate([part.sizes for part in parts]),
            mtimes_ns=np.concatenate([part.mtimes_ns for part in parts]),
            widths=np.concatenate([part.widths for part in parts]),
            heights=np.concatenate([part.heights for part in parts]),
            vectors=np.concatenate([part.vectors for part in parts]),
            metadata=tuple(one for part in parts for one in (part.metadata or (None,) * len(part))) if said else (),
        )
