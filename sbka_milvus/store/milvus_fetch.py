"""Reading some photos of a version by their ids."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sbka_milvus.store.catalogue import OpenVersion
from sbka_milvus.store.limits import require_cluster_ids
from sbka_milvus.store.session import Session
from sbka_milvus.store.uris import decode_uri
from sbka_milvus.types import IntArray, StoredRows

_IDS_PER_CALL = 1024
"""At 4 kB a vector this is an answer of some 4 MB."""

_BOUNDED_S = 10.0
"""A server that is asked with bounded staleness has seen all that was written some 5 s before."""

_written: dict[tuple[str, str], float] = {}
"""Servers, and collections in them that this process has written to: until when, or infinity while it does."""


@contextmanager
def writing_to(session: Session, version: OpenVersion) -> Iterator[None]:
    """In it this process changes photos of a version.

    pymilvus, which sees to it that a client reads what it wrote, knows collections by the name that they are called by:
    by their alias it would not for a while.
    """
    key = (session.place, version.photos)
    _written[key] = math.inf
    try:
        yield
    finally:
        _written[key] = time.monotonic()


def _sees_its_own(session: Session, version: OpenVersion) -> bool:
    """Whether what this process wrote is seen by the alias too."""
    last = _written.get((session.place, version.photos), -math.inf)
    return not session.is_server or time.monotonic() - last > _BOUNDED_S


def fetch_by_alias(
    session: Session, version: OpenVersion, ids: IntArray, cluster_ids: IntArray, *, vectors: bool
) -> StoredRows | None:
    """As :func:`fetch_rows`, of the version that the gallery's alias names at the time: its partitions' names tell it
    from all others.

    Returns:
        None where that cannot be told: another version's partitions have other names, or nothing was found.

    Raises:
        StoreError: As above, from a server.
    """
    if not version.layout.owner or not 0 < len(ids) <= _IDS_PER_CALL or not _sees_its_own(session, version):
        return None
    found = fetch_rows(session, version, ids, cluster_ids, vectors=vectors, by_alias=True)
    return found if len(found) else None


def fetch_rows(
    session: Session,
    version: OpenVersion,
    ids: IntArray,
    cluster_ids: IntArray,
    *,
    vectors: bool,
    by_alias: bool = False,
) -> StoredRows:
    """Photos by their ids; those that are there, in the order of their ids.

    Milvus Lite answers this sooner than a search of the same partitions: it reads the rows that are named, and a search
    walks all of them.

    Args:
        session: the connection.
        version: where they are.
        ids: shape (n,), int64, distinct.
        cluster_ids: shape (n,), int64: the cluster of each.
        vectors: whether to read them.
        by_alias: name the gallery, and not the version.

    Raises:
        InvalidValue: A cluster does not exist.
    """
    require_cluster_ids(version.info, cluster_ids)
    records: list[dict[str, Any]] = []
    # In the order of partitions, so that each call names few.
    order = np.lexsort((ids, cluster_ids))
    for start in range(0, len(ids), _IDS_PER_CALL):
        part = order[start : start + _IDS_PER_CALL]
        partitions = sorted({version.layout.names[cluster] for cluster in cluster_ids[part].tolist()})
        answer = session.call(
            "query",
            version.info.gallery if by_alias else version.photos,
            filter=f"id in {ids[part].tolist()}",
            output_fields=["id", "uri", "cluster_id", *(["vector"] if vectors else [])],
            partition_names=partitions,
            consistency_level="Bounded" if by_alias else "Session",
            # As numbers of numpy: as Python's, 512 of them a photo took a third of the whole call.
            strict_float32=True,
            long=len(ids) > _IDS_PER_CALL,
        )
        records.extend(answer)
    # One that lies in two partitions comes once.
    found = {int(record["id"]): record for record in records}
    rows = [found[one] for one in sorted(found)]
    width = version.info.dim if vectors else 0
    return StoredRows(
        ids=np.array([row["id"] for row in rows], dtype=np.int64),
        uris=tuple(decode_uri(row["uri"]) for row in rows),
        cluster_ids=np.array([row["cluster_id"] for row in rows], dtype=np.int64),
        misplaced=np.zeros(len(rows), dtype=np.bool_),
        vectors=np.array([row["vector"] for row in rows if vectors], dtype=np.float32).reshape(len(rows), width),
    )
