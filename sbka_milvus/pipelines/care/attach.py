"""Attach: clusters and sketch search beside a collection that somebody else fills, without touching it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.attached import (
    AttachedKeys,
    AttachedRecord,
    read_attached,
    read_attached_keys,
    write_attached,
    write_attached_keys,
)
from sbka_milvus.embeddings.newest import ids_of
from sbka_milvus.embeddings.rewriting import keep_rows, remove_shard
from sbka_milvus.embeddings.shards import list_shards, read_uris
from sbka_milvus.errors import EncoderMismatch, GalleryError, InvalidValue, StoreError
from sbka_milvus.pipelines.care.check_files import UNKNOWN
from sbka_milvus.pipelines.care.comparing import Sample, compare_sample
from sbka_milvus.pipelines.care.rows import KnownRows
from sbka_milvus.pipelines.shard_buffer import ShardBuffer
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.store.limits import require_uri
from sbka_milvus.types import IntArray, normalise

if TYPE_CHECKING:
    from sbka_milvus.store.foreign import ForeignRows

KEY_COLUMN = "milvus_key"
"""Metadata column of the key, by which searches can be filtered."""


class Source(Protocol):
    """A collection that is read."""

    def __call__(self, *, vectors: bool) -> Iterator[ForeignRows]:
        """All its rows, with their vectors or without."""


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """How to attach.

    Attributes:
        check: photos to embed again and compare; 0: none.
        shard_size: photos in a shard.
        seed: of the choice of photos to check.
    """

    check: int = 0
    shard_size: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True)
class AttachReport:
    """What attaching did.

    Attributes:
        collection: that was read.
        rows: of it.
        added: photos that were not there before, or had another vector or name.
        unchanged: photos that were there exactly so.
        removed: photos whose rows are gone from the collection.
        checked: photos that were embedded again and compared.
        worst_cosine: of these; none where none was.
        seconds: wall time.
    """

    collection: str
    rows: int
    added: int
    unchanged: int
    removed: int
    checked: int
    worst_cosine: float | None
    seconds: float


def attach_rows(
    source: Source,
    record: AttachedRecord,
    gallery: Gallery,
    encoder: Encoder | None,
    options: AttachOptions,
    progress: Progress,
) -> AttachReport:
    """Brings a gallery's shards up to a collection. Run again, it takes in what is new and leaves out what is gone.

    A row's photo is called by its URI field, or ``milvus:COLLECTION/KEY`` where there is none; where several rows have
    one URI, each is called ``URI#key=KEY``. Searches tell the keys of their hits.

    Args:
        source: reads the collection.
        record: which it is.
        gallery: an empty one, or one that is attached to the same collection.
        encoder: of the gallery's model, to compare with; none where nothing is to be checked.
        options: see there.
        progress: what shows how far it is.

    Raises:
        GalleryError: The gallery holds photos of something else, or the collection has no rows.
        EncoderMismatch: The vectors are not those that the gallery's encoder makes.
        StoreError: Milvus refused, or a row cannot be used.
        OutputError: The disk is full or the folder cannot be written.
    """
    start = time.perf_counter()
    _require_own(gallery, record)
    doubled = _doubled(source, progress) if record.uri_field else frozenset()
    write_attached(gallery.root, record)
    before = read_attached_keys(gallery.root)
    known = KnownRows.of(gallery)
    writer = ShardBuffer(gallery, options.shard_size)
    sample = Sample(options.check, options.seed)
    ids: list[IntArray] = []
    keys: list[str | int] = []
    unchanged = 0
    fresh: list[PhotoRecords] = []
    with progress.stage("Reading the collection", None, "rows") as advance:
        for rows in source(vectors=True):
            records = _records(rows, record, doubled)
            sample.add(records.uris, records.vectors)
            held = known.has(records)
            unchanged += int(held.sum())
            fresh = [*fresh, records.rows(np.flatnonzero(~held).tolist())]
            if not options.check:  # with a check nothing is written before it has passed
                fresh = _written(writer, fresh)
            ids.append(ids_of(records.uris))
            keys.extend(rows.keys)
            advance(len(rows.keys))
    if not keys:
        raise GalleryError(
            f"The collection {record.collection!r} has no rows{' that meet the filter' if record.where else ''}.",
            "Fill it first, or ask for others.",
        )
    cosines = [] if encoder is None else compare_sample(sample, encoder, progress)
    _written(writer, fresh)
    writer.flush()
    removed = _remove_gone(gallery, np.concatenate(ids), before)
    _write_keys(gallery, np.concatenate(ids), keys)
    write_attached(gallery.root, replace(record, photos=len(keys)))
    return AttachReport(
        record.collection,
        len(keys),
        writer.written,
        unchanged,
        removed,
        len(cosines),
        min(cosines, default=None),
        time.perf_counter() - start,
    )


def _written(writer: ShardBuffer, fresh: list[PhotoRecords]) -> list[PhotoRecords]:
    for records in fresh:
        writer.add(records)
    return []


def _require_own(gallery: Gallery, record: AttachedRecord) -> None:
    """Refuses a gallery that holds anything else: what is not in the collection would be taken for gone."""
    known = read_attached(gallery.root)
    if known is None and list_shards(gallery.shard_folder):
        raise GalleryError(
            f"The gallery {gallery.root} holds photos of its own.", "Attach the collection to a new gallery folder."
        )
    if known is not None and (known.collection, known.place) != (record.collection, record.place):
        raise GalleryError(
            f"The gallery {gallery.root} is attached to the collection {known.collection!r} of {known.place}.",
            "Attach this one to a new gallery folder.",
        )


def _doubled(source: Source, progress: Progress) -> frozenset[int]:
    """Ids of the URIs that several rows have."""
    with progress.stage("Reading names", None, "rows") as advance:
        parts = []
        for rows in source(vectors=False):
            parts.append(ids_of(rows.uris))
            advance(len(rows.keys))
    ids, counts = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *parts]), return_counts=True)
    return frozenset(ids[counts > 1].tolist())


def _records(rows: ForeignRows, record: AttachedRecord, doubled: frozenset[int]) -> PhotoRecords:
    names = [_name(uri, key, record) for uri, key in zip(rows.uris, rows.keys, strict=True)]
    if doubled:
        own = ids_of(names).tolist()
        names = [
            f"{name}#key={key}" if one in doubled and uri else name
            for name, one, key, uri in zip(names, own, rows.keys, rows.uris, strict=True)
        ]
    norms = np.linalg.norm(rows.vectors.astype(np.float64), axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        raise StoreError(
            f"The row {rows.keys[bad[0]]!r} of {record.collection!r} has a vector that is zero or not finite.",
            f"Leave it out: --where '{record.key_field} != {rows.keys[bad[0]]!r}'.",
        )
    for name, key in zip(names, rows.keys, strict=True):
        try:
            require_uri(name)
        except InvalidValue as error:
            raise StoreError(
                f"The row {key!r} of {record.collection!r} cannot be named: {error.problem}", error.remedy
            ) from error
    unknown = np.full(len(names), UNKNOWN, dtype=np.int64)
    none = np.zeros(len(names), dtype=np.int64)
    return PhotoRecords(
        uris=tuple(names),
        content_hashes=("",) * len(names),
        sizes=unknown,
        mtimes_ns=unknown,
        widths=none,
        heights=none,
        vectors=normalise(rows.vectors),
        metadata=tuple({KEY_COLUMN: key} for key in rows.keys),
    )


def _name(uri: str, key: str | int, record: AttachedRecord) -> str:
    return uri or f"milvus:{record.collection}/{key}"


def _remove_gone(gallery: Gallery, ids: IntArray, before: AttachedKeys | None) -> int:
    """Takes photos out of the shards whose rows are gone; the rest of a shard is written before it is removed."""
    removed: set[int] = set()
    wanted = np.unique(ids)
    for path in list_shards(gallery.shard_folder):
        held = ids_of(read_uris(path)[0])
        # What came into the gallery in another way is none of the collection's.
        gone = ~np.isin(held, wanted) & (np.isin(held, before.ids) if before is not None else True)
        if gone.any():
            removed |= set(held[gone].tolist())
            keep_rows(path, ~gone)
            remove_shard(path)
    return len(removed)


def _write_keys(gallery: Gallery, ids: IntArray, keys: list[str | int]) -> None:
    order = np.argsort(ids, kind="stable")
    held = np.array([key.encode() if isinstance(key, str) else key for key in keys])
    write_attached_keys(gallery.root, AttachedKeys(ids[order], held[order]))


def require_dim(collection: str, field: str, dim: int, model: int) -> None:
    """Refuses vectors of another length than the model's.

    Raises:
        EncoderMismatch: Naming both.
    """
    if dim != model:
        raise EncoderMismatch(
            f"The field {field!r} of the collection {collection!r} has vectors of {dim} numbers, and the model's have "
            f"{model}.",
            "Name the model that made them with --model, or another field with --vector-field.",
        )
