"""What a gallery's shards hold, looked at by content: equal files have equal hashes, whatever they are called."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sbka_milvus.embeddings.records import PhotoRecords
from sbka_milvus.embeddings.shards import (
    damaged,
    list_shards,
    read_columns,
    read_table,
    require_own,
    to_records,
)
from sbka_milvus.types import IntArray


def read_hashes(folder: Path) -> dict[str, str]:
    """The content hash of every photo of whose file something is known, by URI: not of vectors made elsewhere.

    Raises:
        GalleryError: A shard is damaged.
    """
    found: dict[str, str] = {}
    for _, (uris, hashes), removed in read_columns(folder, ("uri", "content_hash")):
        for uri in removed:
            found.pop(uri, None)
        found.update(zip(uris, hashes, strict=True))
    return {uri: digest for uri, digest in found.items() if digest}


def read_stamps(folder: Path, *, without: Collection[str] = ()) -> IntArray:
    """Size and time of everything that was ever embedded.

    Args:
        folder: the gallery's shard folder.
        without: names of shards to be passed over.

    Returns:
        shape (N, 2), int64: bytes, and nanoseconds since 1970 or what stands for them.

    Raises:
        GalleryError: A shard is damaged.
    """
    parts = [np.empty((0, 2), dtype=np.int64)]
    for path in list_shards(folder):
        if path.name not in without:
            table, _ = read_table(path, ["uri", "size", "mtime_ns"])
            if len(table):
                parts.append(np.stack([_column(table, name, path).to_numpy() for name in ("size", "mtime_ns")], axis=1))
    return np.concatenate(parts)


def find_contents(
    folder: Path, fingerprint: str, hashes: Collection[str], *, without: Collection[str] = ()
) -> PhotoRecords | None:
    """The photos with some contents, each URI once, as they are now; none where there are none.

    Of every shard the names and hashes are read, and the rest of those alone that hold one of the contents.

    Args:
        folder: the gallery's shard folder.
        fingerprint: of the encoder that made the vectors.
        hashes: as :func:`~sbka_milvus.images.content_hash` makes them.
        without: names of shards to be passed over, as if they were not there.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    wanted = pa.array(sorted(hashes), pa.string())
    found: dict[str, PhotoRecords] = {}
    for path in list_shards(folder) if hashes else ():
        if path.name in without:
            continue
        table, removed = read_table(path, ["uri", "content_hash"])
        for uri in removed:
            found.pop(uri, None)
        if not len(table):
            continue
        # A later row of a photo counts instead of an earlier one, also where it is of another content.
        for uri in _those_among(table, found) if found else ():
            del found[uri]
        if pc.any(pc.is_in(_column(table, "content_hash", path), value_set=wanted)).as_py():
            whole, _ = read_table(path)
            require_own(whole, path, fingerprint)
            records = to_records(whole.filter(pc.is_in(whole["content_hash"], value_set=wanted)), path)
            found.update((uri, records.rows([row])) for row, uri in enumerate(records.uris))
    return PhotoRecords.joined([found[uri] for uri in sorted(found)]) if found else None


def _those_among(table: Any, uris: Collection[str]) -> list[str]:
    known = pa.array([uri.encode("utf-8", "surrogateescape") for uri in uris], pa.binary())
    met = table["uri"].filter(pc.is_in(table["uri"], value_set=known)).to_pylist()
    return list({uri.decode("utf-8", "surrogateescape") for uri in met})


def _column(table: Any, name: str, path: Path) -> Any:
    try:
        return table[name]
    except KeyError as error:
        raise damaged(path, error) from error
