"""Embedding shards: atomic parquet files of photo records. A shard that exists is whole.

A shard may also say of photos that they are taken out: what the shards before it hold of these counts no more, and what
it holds itself, or a later one, counts. So a removal is one new file, and happens wholly or not at all; nothing that is
there is ever rewritten, and whoever reads or writes other shards meanwhile need not know of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sbka_milvus.embeddings.records import PhotoRecords
from sbka_milvus.errors import EncoderMismatch, GalleryError, InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.types import Embeddings, Metadata

_NAME = re.compile(r"photos-(\d{6,})-[0-9a-f]{8}\.parquet")
_FINGERPRINT = b"sbka.fingerprint"
_FORMAT = b"sbka.format"
_FORMAT_VERSION = b"1"
_FORMAT_REMOVING = b"2"
"""Of shards that take photos out: a release that does not know of that must not read on as if they did not."""
_KNOWN_COLUMNS = ("uri", "size", "mtime_ns")
_REMOVED = "removed"
"""Whether a row takes its photo out; the other columns of such a row mean nothing. Most shards have no such column."""
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


def write_shard(
    folder: Path,
    records: PhotoRecords | None,
    fingerprint: str,
    name: str | None = None,
    *,
    removed: Collection[str] = (),
) -> Path:
    """Writes one shard; when this returns, it is on the disk.

    Args:
        folder: the gallery's shard folder.
        records: photos; none where some are only taken out.
        fingerprint: of the encoder that made the vectors.
        name: from :func:`shard_name`, which replaces a shard of this name; by default a new one, behind all others.
        removed: URIs of photos that the shards before this one hold and that count no more.

    Raises:
        InvalidValue: There is nothing to write.
        OutputError: The disk is full or the folder cannot be written.
    """
    if not removed and not records:
        raise InvalidValue("A shard holds no photo.", "Give it one, or the URI of one to take out.")
    table = _to_table(records, sorted(removed))
    form = _FORMAT_REMOVING if removed else _FORMAT_VERSION
    table = table.replace_schema_metadata({_FINGERPRINT: fingerprint.encode(), _FORMAT: form})
    path = folder / (name or shard_name(next_shard_number(folder), secrets.token_hex(8)))
    with replacing(path) as file:
        # Vectors hardly compress and dictionaries only cost time on them.
        # Without checksums a flipped bit would go unseen in most vectors.
        pq.write_table(table, file, compression="zstd", use_dictionary=False, write_page_checksum=True)
    return path


def read_records(folder: Path, fingerprint: str) -> Iterator[PhotoRecords]:
    """The records of every shard, oldest first. A URI may come again: the last one counts. None of photos taken out.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    shards = list_shards(folder)
    # Known before the first record is given out: it may be a later shard that takes its photo out.
    last_removed = {uri: number for number, path in enumerate(shards) for uri in read_removals(path)}
    for number, path in enumerate(shards):
        records = read_shard(path, fingerprint)
        if records is not None and last_removed:
            records = records.rows([row for row, uri in enumerate(records.uris) if last_removed.get(uri, 0) <= number])
        if records:
            yield records


def require_own(table: Any, path: Path, fingerprint: str) -> None:
    """Refuses a shard of another encoder.

    Raises:
        EncoderMismatch: Naming both.
    """
    found = fingerprint_of(table)
    if found != fingerprint:
        raise EncoderMismatch(
            f"The shard {path} was made with the model {found or 'unknown'}, not {fingerprint}.",
            "Ingest with the gallery's own model, or into a new gallery folder.",
        )


def fingerprint_of(table: Any) -> str:
    """Of the encoder that a shard says made its vectors; empty where it says nothing."""
    return str((table.schema.metadata or {}).get(_FINGERPRINT, b"").decode(errors="replace"))


def read_removals(path: Path) -> list[str]:
    """The photos that a shard takes out.

    Raises:
        GalleryError: It is damaged.
    """
    return _parted(_read(path, ["uri", _REMOVED]))[1] if _REMOVED in _names(path) else []


def read_uris(path: Path) -> tuple[list[str], list[str]]:
    """The photos that a shard holds, row by row, and those that it takes out.

    Raises:
        GalleryError: It is damaged.
    """
    (uris,), removed = columns_of(path, ("uri",))
    return uris, removed


def read_shard(path: Path, fingerprint: str) -> PhotoRecords | None:
    """All photos that one shard holds; none where it only takes some out.

    Raises:
        EncoderMismatch: It was made by another encoder.
        GalleryError: It is damaged.
    """
    table, _ = read_table(path)
    require_own(table, path, fingerprint)
    return to_records(table, path) if len(table) else None


def keep_rows(path: Path, kept: NDArray[np.bool_], target: Path) -> None:
    """Writes a shard without some of its photos; what it takes out of earlier shards stays taken out.

    Args:
        path: the shard.
        kept: shape (N,), bool: which of its photos.
        target: the new shard.

    Raises:
        GalleryError: The shard is damaged.
        OutputError: The disk is full or the folder cannot be written.
    """
    table = _read(path)
    mask = np.ones(len(table), dtype=np.bool_)
    removing = table[_REMOVED].to_numpy() if _REMOVED in table.column_names else ~mask
    mask[~removing] = kept
    with replacing(target) as file:
        pq.write_table(table.filter(mask), file, compression="zstd", use_dictionary=False, write_page_checksum=True)


def read_embeddings(folder: Path, fingerprint: str) -> Embeddings | None:
    """All photos of a gallery, the newest vector of each URI, ordered by URI; none where there are no shards.

    The shards are gone through twice, first for the URIs alone, so that no vector is in memory twice.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    newest: dict[str, int] = {}
    count = 0
    for _, (uris,), removed in read_columns(folder, ("uri",)):
        for uri in removed:
            newest.pop(uri, None)
        for uri in uris:
            newest[uri] = count
            count += 1
    ordered = tuple(sorted(newest))
    targets = np.full(count, -1, dtype=np.int64)
    targets[[newest.pop(uri) for uri in ordered]] = np.arange(len(ordered))
    vectors = None
    start = 0
    for path in list_shards(folder):
        part = read_shard(path, fingerprint)
        if part is None:
            continue
        if vectors is None:
            vectors = np.empty((len(ordered), part.vectors.shape[1]), dtype=np.float32)
        of_part = targets[start : start + len(part)]
        if len(of_part) != len(part) or vectors.shape[1] != part.vectors.shape[1]:
            raise damaged(path, ValueError("it changed while it was read, or its vectors have another length"))
        rows = np.flatnonzero(of_part >= 0)
        vectors[of_part[rows]] = part.vectors[rows]
        start += len(part)
    return None if vectors is None or not ordered else Embeddings(ordered, vectors)


def read_known(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Size in bytes and modification time in nanoseconds of every embedded photo, by URI.

    Raises:
        GalleryError: A shard is damaged.
    """
    known: dict[str, tuple[int, int]] = {}
    for _, (uris, sizes, mtimes), removed in read_columns(folder, _KNOWN_COLUMNS):
        for uri in removed:
            known.pop(uri, None)
        known.update({uri: (size, mtime) for uri, size, mtime in zip(uris, sizes, mtimes, strict=True)})
    return known


def read_columns(
    folder: Path, columns: Sequence[str], *, without: Collection[str] = ()
) -> Iterator[tuple[Path, list[list[Any]], list[str]]]:
    """Some columns of every shard, oldest first, without the vectors.

    Args:
        folder: the gallery's shard folder.
        columns: their names; ``uri`` gives texts. A column that a shard does not have is of nothing but none.
        without: names of shards to be passed over.

    Yields:
        The shard; its columns; and the URIs that it takes out: those are to be forgotten before its own rows count.

    Raises:
        GalleryError: A shard is damaged.
    """
    for path in list_shards(folder):
        if path.name not in without:
            yield path, *columns_of(path, columns)


def columns_of(path: Path, columns: Sequence[str]) -> tuple[list[list[Any]], list[str]]:
    """Some columns of one shard, as :func:`read_columns` has them, and the URIs that it takes out.

    Raises:
        GalleryError: It is damaged.
    """
    table, removed = read_table(path, list(columns))
    try:
        return [_values(table, name) for name in columns], removed
    except (KeyError, AttributeError) as error:
        raise damaged(path, error) from error


def _values(table: Any, column: str) -> list[Any]:
    if column not in table.column_names and (column == _METADATA or not len(table)):
        return [None] * len(table)
    values: list[Any] = table[column].to_pylist()
    return [_decode(uri) for uri in values] if column == "uri" else values


def read_metadata(folder: Path) -> dict[str, Metadata]:
    """What is known of the photos beside their pixels, by URI; photos of which nothing is known are not there.

    Raises:
        GalleryError: A shard is damaged.
    """
    found: dict[str, Metadata] = {}
    shards = list_shards(folder)
    speaking = [number for number, path in enumerate(shards) if _METADATA in _names(path)]
    if not speaking:
        return found
    silent = {path.name for path in shards[: speaking[0]]}
    for path, (uris, texts), removed in read_columns(folder, ("uri", _METADATA), without=silent):
        for uri in removed:
            found.pop(uri, None)
        for uri, text in zip(uris, texts, strict=True):
            if text is not None:
                found[uri] = _said(text, path)
            elif uri in found:
                del found[uri]
    return found


def _said(text: str, path: Path) -> Metadata:
    try:
        said: Metadata = json.loads(text)
    except ValueError as error:
        raise damaged(path, error) from error
    return said


def read_table(path: Path, columns: list[str] | None = None) -> tuple[Any, list[str]]:
    """The photos of a shard as a pyarrow table, and the URIs that it takes out.

    Args:
        path: the shard.
        columns: those to be read; by default all. What only takes photos out has none but ``uri``.

    Raises:
        GalleryError: It is damaged.
    """
    if columns is None:
        return _parted(_read(path))
    held = _names(path)
    return _parted(_read(path, [name for name in (*columns, _REMOVED) if name in held]))


def _read(path: Path, columns: list[str] | None = None) -> Any:
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error
    written = (table.schema.metadata or {}).get(_FORMAT, _FORMAT_VERSION)
    if written not in (_FORMAT_VERSION, _FORMAT_REMOVING):
        raise GalleryError(
            f"The shard {path} has format {written.decode(errors='replace')}; "
            f"this version reads {_FORMAT_VERSION.decode()} and {_FORMAT_REMOVING.decode()}.",
            "Upgrade sbka-milvus.",
        )
    return table


def _names(path: Path) -> list[str]:
    """The columns of a shard; only its end is read."""
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def _parted(table: Any) -> tuple[Any, list[str]]:
    """The rows of photos, and the URIs of those that are taken out."""
    if _REMOVED not in table.column_names:
        return table, []
    marked = table[_REMOVED]
    gone = [_decode(uri) for uri in table.filter(marked)["uri"].to_pylist()]
    return table.filter(pc.invert(marked)).drop_columns([_REMOVED]), gone


def damaged(path: Path, error: Exception) -> GalleryError:
    """Says that a shard cannot be used."""
    return GalleryError(
        f"The shard {path} is damaged or unreadable: {error}.",
        "Move it away and run `sbka ingest` again: the photos it held are embedded anew.",
    )


def _to_table(records: PhotoRecords | None, removed: Sequence[str]) -> Any:
    photos = [] if not records else [_photo_table(records)]
    if not removed:
        return photos[0]
    marked = [photo.append_column(_REMOVED, pa.array([False] * len(photo))) for photo in photos]
    gone = {"uri": pa.array([_encode(uri) for uri in removed], pa.binary()), _REMOVED: pa.array([True] * len(removed))}
    return pa.concat_tables([*marked, pa.table(gone)], promote_options="default")


def _photo_table(records: PhotoRecords) -> Any:
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


def to_records(table: Any, path: Path) -> PhotoRecords:
    """The photos of a table that :func:`read_table` has read with all its columns.

    Raises:
        GalleryError: It is damaged.
    """
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
        raise damaged(path, error) from error


def _metadata_of(table: Any) -> tuple[Metadata | None, ...]:
    if _METADATA not in table.column_names:
        return ()
    return tuple(None if text is None else json.loads(text) for text in table[_METADATA].to_pylist())


def _encode(uri: str) -> bytes:
    """File names that are not UTF-8 survive as the bytes they are."""
    return uri.encode("utf-8", "surrogateescape")


def _decode(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape")
