"""Rows from elsewhere: those that a gallery holds already are not written again."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.newest import ids_of
from sbka_milvus.embeddings.shards import read_records
from sbka_milvus.types import IntArray


class KnownRows:
    """What a gallery holds of each photo, told by a digest of its row: 16 bytes a photo.

    Attributes:
        ids: shape (N,), int64, ascending.
    """

    def __init__(self, ids: IntArray, digests: NDArray[np.uint64]) -> None:
        self.ids = ids
        self._digests = digests

    @classmethod
    def of(cls, gallery: Gallery) -> KnownRows:
        """What the shards of a gallery's model hold.

        Raises:
            EncoderMismatch: A shard was made by another encoder.
            GalleryError: A shard is damaged.
        """
        parts = [
            (ids_of(part.uris), _digests(part)) for part in read_records(gallery.shard_folder, gallery.fingerprint)
        ]
        ids = np.concatenate([np.empty(0, dtype=np.int64), *(part[0] for part in parts)])
        digests = np.concatenate([np.empty(0, dtype=np.uint64), *(part[1] for part in parts)])
        kept, from_end = np.unique(ids[::-1], return_index=True)
        return cls(kept, digests[::-1][from_end])

    def has(self, records: PhotoRecords) -> NDArray[np.bool_]:
        """Which rows the gallery holds exactly so: shape (n,), bool."""
        if len(self.ids) == 0:
            return np.zeros(len(records), dtype=np.bool_)
        ids = ids_of(records.uris)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.asarray((self.ids[places] == ids) & (self._digests[places] == _digests(records)))


def _digests(records: PhotoRecords) -> NDArray[np.uint64]:
    numbers = np.stack([records.sizes, records.mtimes_ns, records.widths, records.heights], axis=1)
    found = np.empty(len(records), dtype=np.uint64)
    for row, said in enumerate(records.metadata or (None,) * len(records)):
        digest = hashlib.blake2b(records.vectors[row].tobytes(), digest_size=8)
        digest.update(numbers[row].tobytes())
        digest.update(records.content_hashes[row].encode())
        digest.update(json.dumps(dict(said), sort_keys=True).encode() if said else b"")
        found[row] = int.from_bytes(digest.digest(), "big")
    return found
