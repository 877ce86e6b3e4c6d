"""Import: vectors made elsewhere, checked, normalised and written as shards; then they are indexed like any others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.newest import ids_of
from sbka_milvus.embeddings.shards import read_metadata
from sbka_milvus.embeddings.vector_files import ColumnNames, VectorBlock, VectorFile, open_vector_file
from sbka_milvus.errors import EncoderMismatch, InvalidValue, SourceError
from sbka_milvus.images.sources.metadata import UnfitValue, plain_metadata
from sbka_milvus.images.uris import is_remote
from sbka_milvus.pipelines.care.check_files import UNKNOWN
from sbka_milvus.pipelines.care.comparing import Sample, compare_sample
from sbka_milvus.pipelines.care.rows import KnownRows
from sbka_milvus.pipelines.shard_buffer import ShardBuffer
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.store.limits import require_uri
from sbka_milvus.store.uris import decode_uri
from sbka_milvus.types import IntArray, Metadata, normalise

_FILE_COLUMNS = {"content_hash": "", "size": UNKNOWN, "mtime_ns": UNKNOWN, "width": 0, "height": 0}
"""What is known of a photo's file, and what stands for not knowing it."""

_LEFT_OUT = ("cluster_id", "model")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import.

    Attributes:
        columns: names of the columns.
        root: folder that relative names are in; none: they stay as they are.
        check: photos to embed again and compare; 0: none.
        shard_size: photos in a shard.
        seed: of the choice of photos to check.
    """

    columns: ColumnNames = field(default_factory=ColumnNames)
    root: Path | None = None
    check: int = 0
    shard_size: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What importing did.

    Attributes:
        rows: of the files.
        imported: photos that were written.
        unchanged: photos that the gallery held exactly so already.
        repeated: rows that a later row of the same photo replaces.
        checked: photos that were embedded again and compared.
        worst_cosine: of these; none where none was.
        seconds: wall time.
    """

    rows: int
    imported: int
    unchanged: int
    repeated: int
    checked: int
    worst_cosine: float | None
    seconds: float


def import_vectors(
    paths: Sequence[Path],
    gallery: Gallery,
    dim: int,
    encoder: Encoder | None,
    options: ImportOptions,
    progress: Progress,
) -> ImportReport:
    """Writes shards of vectors that were made elsewhere. Safe to stop and run again: nothing is written twice.

    Every row of every file is checked before the first is written. Both passes hold one block of rows at a time, and
    16 bytes a photo beside it.

    Args:
        paths: parquet, npz or npy files; of two rows of one photo the last counts.
        gallery: what they go into.
        dim: length of a vector of the gallery's model.
        encoder: of that model, to compare with; none where nothing is to be checked.
        options: see there.
        progress: what shows how far it is.

    Raises:
        SourceError: A file cannot be read, or a row cannot be used: names both.
        EncoderMismatch: The vectors are of another length, or not those that the gallery's encoder makes.
        GalleryError: A shard of the gallery is damaged.
        OutputError: The disk is full or the folder cannot be written.
    """
    start = time.perf_counter()
    files = [open_vector_file(path, options.columns) for path in paths]
    for file in files:
        if file.model not in ("", gallery.fingerprint):
            raise EncoderMismatch(
                f"{file.path} was exported from a gallery of the model {file.model}, and this one's is "
                f"{gallery.fingerprint}: their vectors cannot be compared.",
                "Import into a gallery of that model.",
            )
    last, sample = _check(files, dim, options, progress)
    cosines = [] if encoder is None else compare_sample(sample, encoder, progress)
    says_something = any(_metadata_columns(file) for file in files)
    said = {} if says_something else read_metadata(gallery.shard_folder)
    known = KnownRows.of(gallery)
    writer = ShardBuffer(gallery, options.shard_size)
    unchanged = row = 0
    with progress.stage("Importing", sum(file.rows for file in files), "rows") as advance:
        for block in _blocks(files, options.shard_size):
            records = _records(block, options.root, said)
            numbers = np.arange(row, row + len(block))
            counts = last[numbers]
            fresh = counts & ~known.has(records)
            unchanged += int((counts & ~fresh).sum())
            writer.add(records.rows(np.flatnonzero(fresh).tolist()))
            row += len(block)
            advance(len(block))
    writer.flush()
    return ImportReport(
        rows=row,
        imported=writer.written,
        unchanged=unchanged,
        repeated=int((~last).sum()),
        checked=len(cosines),
        worst_cosine=min(cosines, default=None),
        seconds=time.perf_counter() - start,
    )


def _blocks(files: Sequence[VectorFile], size: int) -> Iterator[VectorBlock]:
    for file in files:
        yield from file.blocks(size)


def _check(
    files: Sequence[VectorFile], dim: int, options: ImportOptions, progress: Progress
) -> tuple[NDArray[np.bool_], Sample]:
    """Looks at every row.

    Returns:
        shape (N,), bool: which rows count; and some photos with their vectors.
    """
    sample = Sample(options.check, options.seed)
    parts: list[IntArray] = []
    total = sum(file.rows for file in files)
    with progress.stage("Checking rows", total, "rows") as advance:
        for block in _blocks(files, options.shard_size):
            uris = [_uri(name, options.root) for name in block.uris]
            _require_rows(block, uris, dim)
            sample.add(uris, block.vectors)
            parts.append(ids_of(uris))
            advance(len(block))
    ids = np.concatenate([np.empty(0, dtype=np.int64), *parts])
    if len(ids) == 0:
        raise SourceError(f"{', '.join(str(file.path) for file in files)}: there is no row.", "Export it again.")
    last = np.zeros(len(ids), dtype=np.bool_)
    last[len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]] = True
    return last, sample


def _require_rows(block: VectorBlock, uris: Sequence[str], dim: int) -> None:
    vectors = block.vectors
    lengths = block.lengths or ([int(vectors.shape[1])] * len(block) if vectors.shape[1] != dim else [])
    for place, length in enumerate(lengths):
        if length != dim:
            raise EncoderMismatch(
                f"Row {block.first + place} of {block.source} has a vector of {length} numbers, not {dim}.",
                "Import vectors of the gallery's own model, or name the model that made them with --model.",
            )
    # In double precision: the norm of large half-precision vectors is beyond that type.
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        what = "is all zeros" if norms[bad[0]] == 0 else "has numbers that are missing or not finite"
        raise SourceError(
            f"Row {block.first + bad[0]} of {block.source} has a vector that {what}.",
            "Leave it out, or export it again.",
        )
    for place, uri in enumerate(uris):
        try:
            require_uri(uri)
        except InvalidValue as error:
            raise SourceError(
                f"Row {block.first + place} of {block.source} names no photo: {error.problem}", error.remedy
            ) from error


def _uri(name: str, root: Path | None) -> str:
    uri = decode_uri(name)
    if root is None or not uri or is_remote(uri):
        return uri
    return os.path.normpath(root.absolute() / uri)


def _metadata_columns(file: VectorFile) -> list[str]:
    return [name for name in file.columns if name not in (*_FILE_COLUMNS, *_LEFT_OUT)]


def _records(block: VectorBlock, root: Path | None, said: Mapping[str, Metadata]) -> PhotoRecords:
    uris = tuple(_uri(name, root) for name in block.uris)

    def known(name: str) -> list[Any]:
        missing = _FILE_COLUMNS[name]
        return [missing if value is None else value for value in block.columns.get(name, [missing] * len(block))]

    try:
        return PhotoRecords(
            uris=uris,
            content_hashes=tuple(str(value) for value in known("content_hash")),
            sizes=np.array(known("size"), dtype=np.int64),
            mtimes_ns=np.array(known("mtime_ns"), dtype=np.int64),
            widths=np.array(known("width"), dtype=np.int64),
            heights=np.array(known("height"), dtype=np.int64),
            vectors=normalise(block.vectors),
            metadata=tuple(_metadata(block, place, said.get(uri)) for place, uri in enumerate(uris)),
        )
    except (ValueError, TypeError) as error:
        raise SourceError(
            f"Rows {block.first} to {block.first + len(block) - 1} of {block.source} cannot be used: {error}.",
            "The columns size, mtime_ns, width and height are whole numbers.",
        ) from error


def _metadata(block: VectorBlock, place: int, said: Metadata | None) -> Metadata | None:
    values = {name: values[place] for name, values in block.columns.items() if name not in (*_FILE_COLUMNS, *_LEFT_OUT)}
    if not values:
        return said
    text = values.pop("metadata", None)
    try:
        more = json.loads(text) if isinstance(text, str) and text else text if isinstance(text, dict) else {}
        if not isinstance(more, dict):
            raise UnfitValue("its metadata is no JSON object")
        plain = {name: value for name, value in {**more, **values}.items() if not isinstance(value, (list, dict))}
        found = plain_metadata(plain)
    except ValueError as error:
        raise SourceError(
            f"Row {block.first + place} of {block.source} cannot be taken: {error}.", "Leave that column out."
        ) from error
    return found or None
