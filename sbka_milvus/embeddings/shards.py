"""Embedding shards: atomic parquet files of photo records. A shard that exists is whole."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbka_milvus.embeddings.records import PhotoRecords
from sbka_milvus.errors import EncoderMismatch, GalleryError, InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.types import Embeddings

_NAME = re.compile(r"photos-(\d{6,})-[0-9a-f]{8}\.parquet")
_FINGERPRINT = b"sbka.fingerprint"
_FORMAT = b"sbka.format"
_FORMAT_VERSION = b"1"
_KNOWN_COLUMNS = ("uri", "size", "mtime_ns")


def list_shards(folder: Path) -> list[Path]:
    """The shards of a folder, oldest first."""
    if not folder.is_dir():
        return []
    numbered = [(int(match.group(1)), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def write_shard(folder: Path, records: PhotoRecords, fingerprint: str) -> Path:
    """Writes one shard; when this returns, the records are on the disk.

    Args:
        folder: the gallery's shard folder.
        records: at least one photo.
        fingerprint: of the encoder that made the vectors.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    existing = list_shards(folder)
    number = 1 + (int(existing[-1].name.split("-")[1]) if existing else 0)
    path = folder / f"photos-{number:06d}-{secrets.token_hex(4)}.parquet"
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
        table = _read(path)
        found = (table.schema.metadata or {}).get(_FINGERPRINT, b"").decode()
        if found != fingerprint:
            raise EncoderMismatch(
                f"The shard {path} was made with the model {found or 'unknown'}, not {fingerprint}.",
                "Ingest with the gallery's own model, or into a new gallery folder.",
            )
        yield _from_table(table, path)


def read_embeddings(folder: Path, fingerprint: str) -> Embeddings | None:
    """All photos of a gallery, the newest vector of each URI, ordered by URI; none where there are no shards.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    parts = list(read_records(folder, fingerprint))
    if not parts:
        return None
    uris = [uri for part in parts for uri in part.uris]
    vectors = np.concatenate([part.vectors for part in parts])
    newest = {uri: row for row, uri in enumerate(uris)}
    ordered = sorted(newest)
    return Embeddings(tuple(ordered), vectors[[newest[uri] for uri in ordered]])


def read_known(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Size in bytes and modification time in nanoseconds of every embedded photo, by URI.

    Raises:
        GalleryError: A shard is damaged.
    """
    known: dict[str, tuple[int, int]] = {}
    for path in list_shards(folder):
        table = _read(path, list(_KNOWN_COLUMNS))
        try:
            uris, sizes, mtimes = (table[name].to_pylist() for name in _KNOWN_COLUMNS)
            known.update({_decode(uri): (size, mtime) for uri, size, mtime in zip(uris, sizes, mtimes, strict=True)})
        except (KeyError, AttributeError) as error:
            raise _damaged(path, error) from error
    return known


def _read(path: Path, columns: list[str] | None = None) -> Any:
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    written = (table.schema.metadata or {}).get(_FORMAT, _FORMAT_VERSION)
    if written != _FORMAT_VERSION:
        raise GalleryError(
            f"The shard {path} has format {written.decode(errors='replace')}; "
            f"this version reads {_FORMAT_VERSION.decode()}.",
            "Upgrade sbka-milvus.",
        )
    return table


def _damaged(path: Path, error: Exception) -> GalleryError:
    return GalleryError(
        f"The shard {path} is damaged or unreadable: {error}.",
        "Move it away and run `sbka ingest` again: the photos it held are embedded anew.",
    )


def _to_table(records: PhotoRecords) -> Any:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(records.vectors.reshape(-1)), records.vectors.shape[1])
    return pa.table(
        {
            "uri": pa.array([_encode(uri) for uri in records.uris], pa.binary()),
            "content_hash": pa.array(records.content_hashes, pa.string()),
            "size": records.sizes,
            "mtime_ns": records.mtimes_ns,
            "width": records.widths,
            "height": records.heights,
            "vector": vectors,
        }
    )


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
        )
    except (KeyError, AttributeError, InvalidValue) as error:
        raise _damaged(path, error) from error


def _encode(uri: str) -> bytes:
    """File names that are not UTF-8 survive as the bytes they are."""
    return uri.encode("utf-8", "surrogateescape")


def _decode(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape")
