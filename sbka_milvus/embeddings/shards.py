"""Embedding shards: atomic parquet files of photo records. A shard that exists is whole."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbka_milvus.embeddings.records import PhotoRecords
from sbka_milvus.errors import EncoderMismatch, GalleryError
from sbka_milvus.files import replacing
from sbka_milvus.types import Embeddings, Metadata

_NAME = re.compile(r"photos-(\d{6,})-[0-9a-f]{8}\.parquet")
_FINGERPRINT = b"sbka.fingerprint"
_FORMAT = b"sbka.format"
_FORMAT_VERSION = b"1"
_KNOWN_COLUMNS = ("uri", "size", "mtime_ns")
_METADATA = "metadata"
"""A JSON object for each photo of which something is said. Shards without it are older, or have none."""


def list_shards(folder: Path) -> list[Path]:
    """The shards of a folder, oldest first."""
    if not folder.is_dir():
        return []
    numbered = [(int(match.group(1)), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def next_shard_number(folder: Path) -> int:
    """One above the highest number that a shard has."""
    existing = list_shards(folder)
    return 1 + (int(existing[-1].name.split("-")[1]) if existing else 0)


def shard_name(number: int, key: str) -> str:
    """The name of the shard that a piece of work writes, however often it is done.

    >>> shard_name(7, "ingest-1/000003") == shard_name(7, "ingest-1/000003")
    True
    """
    return f"photos-{number:06d}-{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}.parquet"


def write_shard(folder: Path, records: PhotoRecords, fingerprint: str, name: str | None = None) -> Path:
    """Writes one shard; when this returns, the records are on the disk.

    Args:
        folder: the gallery's shard folder.
        records: at least one photo.
        fingerprint: of the encoder that made the vectors.
        name: from :func:`shard_name`, which replaces a shard of this name; by default a new one.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    path = folder / (name or shard_name(next_shard_number(folder), secrets.token_hex(8)))
    table = _to_table(records).replace_schema_metadata({_FINGERPRINT: fingerprint.encode(), _FORMAT: _FORMAT_VERSION})
    with replacing(path) as file:
        # Vectors hardly compress and dictionaries only cost time on them.
        # Without checksums a flipped bit would go unseen in most vectors.
        pq.write_table(table, file, compression="zstd", use_dictionary=False, write_page_checksum=True)
    return path


def read_records(folder: Path, fingerprint: str) -> Iterator[PhotoRecords]:
    """The records of every shard, oldest first. A URI may come again: the last one counts.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    for path in list_shards(folder):
        yield _records_of(path, fingerprint)


def read_embeddings(folder: Path, fingerprint: str) -> Embeddings | None:
    """All photos of a gallery, the newest vector of each URI, ordered by URI; none where there are no shards.

    The shards are gone through twice, first for the URIs alone, so that no vector is in memory twice.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    paths = list_shards(folder)
    newest: dict[str, int] = {}
    count = 0
    for path in paths:
        for uri in _uris(path):
            newest[uri] = count
            count += 1
    ordered = tuple(sorted(newest))
    targets = np.full(count, -1, dtype=np.int64)
    targets[[newest.pop(uri) for uri in ordered]] = np.arange(len(ordered))
    vectors = None
    start = 0
    for path in paths:
        part = _records_of(path, fingerprint)
        if vectors is None:
            vectors = np.empty((len(ordered), part.vectors.shape[1]), dtype=np.float32)
        of_part = targets[start : start + len(part)]
        if len(of_part) != len(part) or vectors.shape[1] != part.vectors.shape[1]:
            raise shard_damaged(path, ValueError("it changed while it was read, or its vectors have another length"))
        rows = np.flatnonzero(of_part >= 0)
        vectors[of_part[rows]] = part.vectors[rows]
        start += len(part)
    return None if vectors is None else Embeddings(ordered, vectors)


def read_known(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Size in bytes and modification time in nanoseconds of every embedded photo, by URI.

    Raises:
        GalleryError: A shard is damaged.
    """
    known: dict[str, tuple[int, int]] = {}
    for path in list_shards(folder):
        table = read_table(path, list(_KNOWN_COLUMNS))
        try:
            uris, sizes, mtimes = (table[name].to_pylist() for name in _KNOWN_COLUMNS)
            known.update({_decode(uri): (size, mtime) for uri, size, mtime in zip(uris, sizes, mtimes, strict=True)})
        except (KeyError, AttributeError) as error:
            raise shard_damaged(path, error) from error
    return known


def read_metadata(folder: Path) -> dict[str, Metadata]:
    """What is known of the photos beside their pixels, by URI; photos of which nothing is known are not there.

    Raises:
        GalleryError: A shard is damaged.
    """
    found: dict[str, Metadata] = {}
    for path in list_shards(folder):
        try:
            held = _METADATA in pq.read_schema(path).names
            if not held and not found:
                continue
            table = read_table(path, ["uri", _METADATA] if held else ["uri"])
            uris = [_decode(uri) for uri in table["uri"].to_pylist()]
            texts = table[_METADATA].to_pylist() if held else [None] * len(uris)
            for uri, text in zip(uris, texts, strict=True):
                if text is not None:
                    found[uri] = json.loads(text)
                elif uri in found:
                    del found[uri]
        except (pa.ArrowException, OSError, KeyError, AttributeError, ValueError) as error:
            raise shard_damaged(path, error) from error
    return found


def _records_of(path: Path, fingerprint: str) -> PhotoRecords:
    table = read_table(path)
    found = (table.schema.metadata or {}).get(_FINGERPRINT, b"").decode()
    if found != fingerprint:
        raise EncoderMismatch(
            f"The shard {path} was made with the model {found or 'unknown'}, not {fingerprint}.",
            "Ingest with the gallery's own model, or into a new gallery folder.",
        )
    return _from_table(table, path)


def _uris(path: Path) -> list[str]:
    table = read_table(path, ["uri"])
    try:
        return [_decode(uri) for uri in table["uri"].to_pylist()]
    except (KeyError, AttributeError) as error:
        raise shard_damaged(path, error) from error


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    """A shard, or some of its columns, as an Arrow table; checksums are looked at, values are not.

    Raises:
        GalleryError: It is damaged, or of a later format.
    """
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise shard_damaged(path, error) from error
    written = (table.schema.metadata or {}).get(_FORMAT, _FORMAT_VERSION)
    if written != _FORMAT_VERSION:
        raise GalleryError(
            f"The shard {path} has format {written.decode(errors='replace')}; "
            f"this version reads {_FORMAT_VERSION.decode()}.",
            "Upgrade sbka-milvus.",
        )
    return table


def shard_damaged(path: Path, error: Exception) -> GalleryError:
    """Says that a shard cannot be read."""
    return GalleryError(
        f"The shard {path} is damaged or unreadable: {error}.",
        "Move it away and run `sbka ingest` again: the photos it held are embedded anew.",
    )


def _to_table(records: PhotoRecords) -> Any:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(records.vectors.reshape(-1)), records.vectors.shape[1])
    columns = {
        "uri": pa.array([_encode(uri) for uri in records.uris], pa.binary()),
        "content_hash": pa.array(records.content_hashes, pa.string()),
        "size": records.sizes,
        "mtime_ns": records.mtimes_ns,
        "width": records.widths,
        "height": records.heights,
        "vector": vectors,
    }
    if any(one is not None for one in records.metadata):
        texts = [None if one is None else json.dumps(dict(one), ensure_ascii=False) for one in records.metadata]
        columns[_METADATA] = pa.array(texts, pa.string())
    return pa.table(columns)


def _from_table(table: Any, path: Path) -> PhotoRecords:
    table = table.combine_chunks()
    try:
        vectors = table["vector"].combine_chunks()
        dim = vectors.type.list_size
        return PhotoRecords(
            uris=tuple(_decode(uri) for uri in table["uri"].to_pylist()),
            content_hashes=tuple(table["content_hash"].to_pylist()),
            sizes=table["size"].to_numpy(),
            mtimes_ns=table["mtime_ns"].to_numpy(),
            widths=table["width"].to_numpy(),
            heights=table["height"].to_numpy(),
            vectors=vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim).astype(np.float32, copy=False),
            metadata=_metadata_of(table),
        )
    except (KeyError, AttributeError, ValueError) as error:
        raise shard_damaged(path, error) from error


def _metadata_of(table: Any) -> tuple[Metadata | None, ...]:
    if _METADATA not in table.column_names:
        return ()
    return tuple(None if text is None else json.loads(text) for text in table[_METADATA].to_pylist())


def _encode(uri: str) -> bytes:
    """File names that are not UTF-8 survive as the bytes they are."""
    return uri.encode("utf-8", "surrogateescape")


def _decode(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape")
