"""Photos of a version in Milvus: written, deleted, counted and read back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.catalogue import OpenVersion
from sbka_milvus.store.filters import milvus_name
from sbka_milvus.store.limits import require_rows
from sbka_milvus.store.pages import PAGE_BYTES, READ_BYTES, Record, page_rows, read_pages
from sbka_milvus.store.session import Session
from sbka_milvus.store.uris import decode_uri, encode_uri
from sbka_milvus.types import Embeddings, GalleryRows, IntArray, Metadata, Scalar, StoredRows, VersionInfo

_IDS_PER_DELETE = 1000
"""An id takes up to 19 digits in the filter that a delete is sent as."""

_URI_BYTES = 128
_FIXED_BYTES = 32


def insert_rows(session: Session, version: OpenVersion, rows: GalleryRows) -> None:
    """Writes photos into the partitions of their clusters; those that are already there are replaced.

    By upsert on a server, where an insert makes a second row of an id; by insert on Milvus Lite, where that replaces
    too, and an upsert looks for each row's forerunner in every segment. Either replaces within its partition
    alone: a photo that went to another cluster would stay in the old one too, on Milvus Lite and on a server.

    Where it fails, some of the rows are there; writing all of them again is right.

    Raises:
        InvalidValue: The rows do not fit the version.
    """
    ids = require_rows(version.info, rows)
    write = "insert" if session.is_lite else "upsert"
    members: dict[str, list[int]] = {}
    for row, cluster in enumerate(rows.cluster_ids.tolist()):
        members.setdefault(version.layout.names[cluster], []).append(row)
    for partition in sorted(members):
        for batch in _batches(members[partition], rows):
            records = [
                _metadata_record(version.info, rows, row)
                | {
                    "id": int(ids[row]),
                    "uri": encode_uri(rows.embeddings.uris[row]),
                    "cluster_id": int(rows.cluster_ids[row]),
                    "vector": rows.embeddings.vectors[row],
                }
                for row in batch
            ]
            with session.writing:
                session.call(write, version.photos, records, partition_name=partition, long=True)


def delete_rows(session: Session, version: OpenVersion, ids: IntArray) -> None:
    """Deletes photos by id; ids that are not there are ignored."""
    for start in range(0, len(ids), _IDS_PER_DELETE):
        with session.writing:
            session.call("delete", version.photos, ids=ids[start : start + _IDS_PER_DELETE].tolist())


def count_rows(session: Session, version: OpenVersion) -> int:
    """How many photos there are, all acknowledged writes included."""
    # Milvus Lite counts by walking all rows.
    answer = session.call(
        "query", version.photos, filter="", output_fields=["count(*)"], consistency_level="Strong", long=True
    )
    return int(answer[0]["count(*)"])


def scan_rows(session: Session, version: OpenVersion, batch_size: int) -> Iterator[GalleryRows]:
    """All photos with their vectors, partition by partition.

    Raises:
        InvalidValue: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise InvalidValue(f"batch_size must be at least 1, not {batch_size}.")
    return _scan(session, version, batch_size)


def _scan(session: Session, version: OpenVersion, batch_size: int) -> Iterator[GalleryRows]:
    names = {field.name: milvus_name(version.info.fields, field.name) for field in version.info.fields}
    page = page_rows(4 * version.info.dim + _URI_BYTES + _FIXED_BYTES * (1 + len(names)))
    for partition in version.layout.partitions:
        fields = ["id", "uri", "cluster_id", "vector", *names.values()]
        for records in read_pages(session, version.photos, fields, page, partition):
            for start in range(0, len(records), batch_size):
                yield _read(records[start : start + batch_size], names)


def audit_rows(session: Session, version: OpenVersion, *, vectors: bool = True) -> Iterator[StoredRows]:
    """All rows of a version, from every partition that the collection has, with no value looked at."""
    fields = ["id", "uri", "cluster_id", *(["vector"] if vectors else [])]
    page = page_rows((4 * version.info.dim if vectors else 0) + _URI_BYTES + _FIXED_BYTES, READ_BYTES)
    for partition in session.call("list_partitions", version.photos):
        held = sorted(version.layout.members.get(str(partition), ()))
        for records in read_pages(session, version.photos, fields, page, str(partition)):
            clusters = np.array([record["cluster_id"] for record in records], dtype=np.int64)
            yield StoredRows(
                ids=np.array([record["id"] for record in records], dtype=np.int64),
                uris=tuple(decode_uri(record["uri"]) for record in records),
                cluster_ids=clusters,
                misplaced=~np.isin(clusters, held),
                vectors=np.array([record["vector"] if vectors else () for record in records], dtype=np.float32),
            )


def _metadata_record(info: VersionInfo, rows: GalleryRows, row: int) -> dict[str, Scalar | None]:
    said = rows.metadata[row] if rows.metadata else {}
    return {milvus_name(info.fields, field.name): said.get(field.name) for field in info.fields}


def _metadata_of(record: Record, names: dict[str, str]) -> Metadata:
    return {name: record[field] for name, field in names.items() if record.get(field) is not None}


def _read(records: list[Record], names: dict[str, str]) -> GalleryRows:
    vectors = np.array([record["vector"] for record in records], dtype=np.float32)
    embeddings = Embeddings(tuple(decode_uri(record["uri"]) for record in records), vectors)
    clusters = np.array([record["cluster_id"] for record in records], dtype=np.int64)
    metadata = tuple(_metadata_of(record, names) for record in records) if names else ()
    return GalleryRows(embeddings, clusters, metadata)


def _batches(members: list[int], rows: GalleryRows) -> Iterator[list[int]]:
    """Members in runs that fit into one message each."""
    batch: list[int] = []
    size = 0
    for row in members:
        needs = 4 * rows.embeddings.dim + len(encode_uri(rows.embeddings.uris[row]).encode()) + _FIXED_BYTES
        if rows.metadata:
            needs += sum(_FIXED_BYTES + len(str(value).encode()) for value in rows.metadata[row].values())
        if batch and size + needs > PAGE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += needs
    if batch:
        yield batch
