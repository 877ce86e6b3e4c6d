"""Export: the photos of a gallery with their own vectors, as one file that other programs read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.newest import ids_of, newest_rows
from sbka_milvus.embeddings.shards import list_shards, read_metadata, read_shard
from sbka_milvus.errors import GalleryError, SettingsError
from sbka_milvus.files import replacing
from sbka_milvus.pipelines.metadata import in_kinds, metadata_fields
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.store.filters import URI_COLUMN, column_fields, matches, parse_filter
from sbka_milvus.store.uris import encode_uri
from sbka_milvus.types import IntArray, VersionInfo

SUFFIXES = (".parquet", ".npz")
NO_CLUSTER = -1
"""In an npz file, of a photo that the served version does not hold; in a parquet file there is no value."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export.

    Attributes:
        vectors: whether the vectors are written too.
        where: a filter such as ``year > 2020``; none: all photos.
    """

    vectors: bool = True
    where: str | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported.

    Attributes:
        path: the file.
        photos: in it.
        model: fingerprint of the model that made the vectors.
        dim: length of a vector; 0 where there is no photo.
        bytes: of the file.
        seconds: wall time.
    """

    path: str
    photos: int
    model: str
    dim: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ClusterOf:
    """The clusters of a version's photos: 16 bytes a photo.

    Attributes:
        ids: shape (N,), int64, ascending.
        clusters: shape (N,), int64.
    """

    ids: IntArray
    clusters: IntArray

    @classmethod
    def of(cls, store: GalleryStore, info: VersionInfo) -> ClusterOf:
        """Those of a version.

        Raises:
            StoreError: Milvus refused.
        """
        parts = [(rows.ids, rows.cluster_ids) for rows in store.audit(info, vectors=False)]
        none = np.empty(0, dtype=np.int64)
        ids, clusters = (np.concatenate([none, *(part[side] for part in parts)]) for side in (0, 1))
        order = np.argsort(ids, kind="stable")
        return cls(ids[order], clusters[order])

    def __call__(self, ids: IntArray) -> IntArray:
        """The cluster of each photo; :data:`NO_CLUSTER` where the version does not hold it."""
        if len(self.ids) == 0:
            return np.full(len(ids), NO_CLUSTER, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[places] == ids, self.clusters[places], NO_CLUSTER).astype(np.int64)


def export_gallery(
    gallery: Gallery, target: Path, clusters: ClusterOf | None, options: ExportOptions, progress: Progress
) -> ExportReport:
    """Writes every photo once, with the newest of its vectors, shard by shard.

    A parquet file is written as shards are read; an npz file is put together in memory. ``sbka import`` reads both.

    Args:
        gallery: whose photos; their own vectors, also where the served version holds lifted ones.
        target: a ``.parquet`` or ``.npz`` file; replaced in one step when all is written.
        clusters: in which cluster each photo is; none where that is not known.
        options: what to write.
        progress: what shows how far it is.

    Raises:
        SettingsError: The file's suffix is another one.
        FilterError: The filter cannot be read, or names a column that there is not.
        GalleryError: The gallery holds no photos, or a shard is damaged.
        EncoderMismatch: A shard was made by another encoder.
        OutputError: The file cannot be written.
    """
    start = time.perf_counter()
    if target.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"Nothing can be exported as {target.name}.", "Name it .parquet or .npz.")
    parts = _chosen(gallery, options.where, progress)
    write = _write_parquet if target.suffix.lower() == ".parquet" else _write_npz
    photos, dim = write(gallery, target, parts, clusters, options.vectors)
    return ExportReport(
        str(target), photos, gallery.fingerprint, dim, target.stat().st_size, time.perf_counter() - start
    )


def _chosen(gallery: Gallery, where: str | None, progress: Progress) -> Iterator[PhotoRecords]:
    paths = list_shards(gallery.shard_folder)
    if not paths:
        raise GalleryError(f"The gallery {gallery.root} holds no photos.", "Ingest some first.")
    said = read_metadata(gallery.shard_folder) if where is not None else {}
    fields = metadata_fields(said.values())
    asked = None if where is None else parse_filter(where, column_fields(fields))
    newest = newest_rows(paths)

    def parts() -> Iterator[PhotoRecords]:
        with progress.stage("Exporting", len(paths), "shards") as advance:
            for path, rows in zip(paths, newest, strict=True):
                part, kept = read_shard(path, gallery.fingerprint), rows.tolist()
                if part is None:
                    advance(1)
                    continue
                if asked is not None:
                    known = (in_kinds(fields, said.get(part.uris[row], {})) for row in kept)
                    kept = [
                        row
                        for row, one in zip(kept, known, strict=True)
                        if matches(asked, {**one, URI_COLUMN: encode_uri(part.uris[row])})
                    ]
                advance(1)
                if kept:
                    yield part.rows(kept)

    return parts()


def _write_parquet(
    gallery: Gallery, target: Path, parts: Iterator[PhotoRecords], clusters: ClusterOf | None, vectors: bool
) -> tuple[int, int]:
    photos, dim, writer = 0, 0, None
    with replacing(target) as file:
        try:
            for part in parts:
                table = _table(part, clusters, vectors)
                if writer is None:
                    said = {b"sbka.model": gallery.fingerprint.encode(), b"sbka.gallery": gallery.name.encode()}
                    writer = pq.ParquetWriter(
                        file, table.schema.with_metadata(said), compression="zstd", use_dictionary=False
                    )
                writer.write_table(table)
                photos, dim = photos + len(part), part.vectors.shape[1]
            if writer is None:
                raise _nothing(gallery)
        finally:
            if writer is not None:
                writer.close()
    return photos, dim


def _table(part: PhotoRecords, clusters: ClusterOf | None, vectors: bool) -> Any:
    found = np.full(len(part), NO_CLUSTER) if clusters is None else clusters(ids_of(part.uris))
    columns: dict[str, Any] = {
        "uri": pa.array([encode_uri(uri) for uri in part.uris], pa.string()),
        "content_hash": pa.array(part.content_hashes, pa.string()),
        "size": part.sizes,
        "mtime_ns": part.mtimes_ns,
        "width": part.widths,
        "height": part.heights,
        "cluster_id": pa.array(found, pa.int64(), mask=found == NO_CLUSTER),
        "metadata": pa.array(metadata_texts(part), pa.string()),
    }
    if vectors:
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(part.vectors.reshape(-1)), part.vectors.shape[1])
    return pa.table(columns)


def metadata_texts(part: PhotoRecords) -> list[str | None]:
    """What is said of each photo, as JSON; none where nothing is."""
    known = part.metadata or (None,) * len(part)
    return [None if one is None else json.dumps(dict(one), ensure_ascii=False) for one in known]


def _write_npz(
    gallery: Gallery, target: Path, parts: Iterator[PhotoRecords], clusters: ClusterOf | None, vectors: bool
) -> tuple[int, int]:
    held = list(parts)
    if not held:
        raise _nothing(gallery)
    uris = [uri for part in held for uri in part.uris]
    arrays: dict[str, Any] = {
        # Bytes, as file names are; a text of numpy takes four bytes a character.
        "uri": np.array([uri.encode("utf-8", "surrogateescape") for uri in uris]),
        "content_hash": np.array([said.encode() for part in held for said in part.content_hashes]),
        "cluster_id": np.full(len(uris), NO_CLUSTER) if clusters is None else clusters(ids_of(uris)),
        "metadata": np.array([(text or "").encode() for part in held for text in metadata_texts(part)]),
        "model": np.array(gallery.fingerprint),
    }
    for name, attribute in (("size", "sizes"), ("mtime_ns", "mtimes_ns"), ("width", "widths"), ("height", "heights")):
        arrays[name] = np.concatenate([getattr(part, attribute) for part in held])
    if vectors:
        arrays["vector"] = np.concatenate([part.vectors for part in held])
    with replacing(target) as file:
        np.savez(file, **arrays)
    return len(uris), held[0].vectors.shape[1]


def _nothing(gallery: Gallery) -> GalleryError:
    return GalleryError(f"No photo of the gallery {gallery.root} meets the filter.", "Ask for others.")
