"""Searching the partitions of some clusters of a version in Milvus."""

from __future__ import annotations

from typing import Any

import numpy as np

from sbka_milvus.store.catalogue import OpenVersion
from sbka_milvus.store.limits import require_search
from sbka_milvus.store.session import Session
from sbka_milvus.store.uris import decode_uri
from sbka_milvus.types import Candidates, FloatArray, IntArray

_RESULTS_PER_CALL = 65_536
"""Bounds the answer: at some 150 bytes a result this is about 10 MB."""

_QUERIES_PER_CALL = 64


def search_rows(
    session: Session, version: OpenVersion, queries: FloatArray, cluster_ids: IntArray, limit: int
) -> list[Candidates]:
    """The photos of the named clusters with the highest member scores, for each query.

    Where more photos tie at the limit than fit, Milvus chooses which of them it returns.

    Args:
        queries: shape (Q, D), float32, unit rows.
        cluster_ids: shape (P,), int64.
        limit: 1 to :data:`~sbka_milvus.store.limits.MAX_LIMIT`.

    Raises:
        InvalidValue: An argument is out of its range.
    """
    wanted = require_search(version.info, queries, cluster_ids, limit)
    if len(wanted) == 0:
        # Milvus takes an empty list of partitions for all of them.
        return [_candidates([]) for _ in queries]
    partitions, condition = version.layout.select(wanted)
    step = max(1, min(_QUERIES_PER_CALL, _RESULTS_PER_CALL // limit))
    results: list[Candidates] = []
    for start in range(0, len(queries), step):
        batch = list(queries[start : start + step])
        answer = session.call(
            "search",
            version.photos,
            data=batch,
            anns_field="vector",
            filter=condition,
            limit=limit,
            # Without it Milvus Lite sends every field, vectors included.
            output_fields=["uri", "cluster_id"],
            partition_names=partitions,
            search_params={"metric_type": "COSINE"},
            # Sees what this client wrote; Strong would make each search on a server wait for its clock, some 0.2 s.
            consistency_level="Session",
            # The timeout is for one sketch that somebody waits for.
            long=len(batch) > 1,
        )
        results.extend(_candidates(list(hits)) for hits in answer)
    return results


def _candidates(hits: list[Any]) -> Candidates:
    ids = np.array([hit["id"] for hit in hits], dtype=np.int64)
    scores = np.array([hit["distance"] for hit in hits], dtype=np.float32)
    order = np.lexsort((ids, -scores))
    entities = [hits[row]["entity"] for row in order]
    return Candidates(
        ids=ids[order],
        uris=tuple(decode_uri(entity["uri"]) for entity in entities),
        cluster_ids=np.array([entity["cluster_id"] for entity in entities], dtype=np.int64),
        member_scores=scores[order],
    )
