"""Searching the partitions of some clusters of a version in Milvus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sbka_milvus.store.catalogue import OpenVersion
from sbka_milvus.store.filters import URI_COLUMN, column_fields, milvus_name, parse_filter, to_milvus
from sbka_milvus.store.indexes import search_params
from sbka_milvus.store.limits import require_search
from sbka_milvus.store.session import Session
from sbka_milvus.store.uris import decode_uri
from sbka_milvus.types import CANDIDATE_FIELDS, CandidateField, Candidates, FloatArray, IntArray, VersionInfo

_RESULTS_PER_CALL = 65_536
"""Bounds the answer: at some 150 bytes a result this is about 10 MB."""

_QUERIES_PER_CALL = 64


def search_rows(
    session: Session,
    version: OpenVersion,
    queries: FloatArray,
    cluster_ids: IntArray,
    limit: int,
    where: str | None = None,
    fields: Sequence[CandidateField] = CANDIDATE_FIELDS,
) -> list[Candidates]:
    """The photos of the named clusters with the highest member scores, for each query.

    Where more photos tie at the limit than fit, Milvus chooses which of them it returns.

    Args:
        queries: shape (Q, D), float32, unit rows.
        cluster_ids: shape (P,), int64.
        limit: 1 to :data:`~sbka_milvus.store.limits.MAX_LIMIT`.
        where: a filter: see :mod:`sbka_milvus.store.filters.grammar`.
        fields: what is needed of each photo beside its id and score.

    Raises:
        InvalidValue: An argument is out of its range.
        FilterError: The filter cannot be read, or names a column that there is not.
    """
    wanted = require_search(version.info, queries, cluster_ids, limit)
    asked = None if where is None else _said_to_milvus(version.info, where)
    if len(wanted) == 0:
        # Milvus takes an empty list of partitions for all of them.
        return [_candidates([], limit) for _ in queries]
    scopes = [(partitions, _both(condition, asked)) for partitions, condition in version.layout.scopes(wanted)]
    step = max(1, min(_QUERIES_PER_CALL, _RESULTS_PER_CALL // limit))
    results: list[Candidates] = []
    for start in range(0, len(queries), step):
        batch = list(queries[start : start + step])
        found: list[list[Any]] = [[] for _ in batch]
        for partitions, condition in scopes:
            answer = session.call(
                "search",
                version.photos,
                data=batch,
                anns_field="vector",
                filter=condition,
                limit=limit,
                # Without any Milvus Lite sends every field, vectors included.
                output_fields=list(fields) or ["id"],
                partition_names=partitions,
                search_params=search_params(version.info.index, limit),
                # Sees what this client wrote; Strong would make each search on a server wait for its clock, some 0.2 s.
                consistency_level="Session",
                # The timeout is for one sketch that somebody waits for.
                long=len(batch) > 1,
            )
            for hits, more in zip(found, answer, strict=True):
                hits.extend(more)
        results.extend(_candidates(hits, limit) for hits in found)
    return results


def _both(condition: str, asked: str | None) -> str:
    if asked is None:
        return condition
    return f"({condition}) and ({asked})" if condition else asked


def _said_to_milvus(info: VersionInfo, where: str) -> str:
    condition = parse_filter(where, column_fields(info.fields))
    return to_milvus(condition, lambda name: name if name == URI_COLUMN else milvus_name(info.fields, name))


def _candidates(hits: list[Any], limit: int) -> Candidates:
    ids = np.array([hit["id"] for hit in hits], dtype=np.int64)
    scores = np.array([hit["distance"] for hit in hits], dtype=np.float32)
    order = np.lexsort((ids, -scores))[:limit]
    entities = [hits[row]["entity"] for row in order]
    return Candidates(
        ids=ids[order],
        uris=tuple(decode_uri(entity.get("uri", "")) for entity in entities),
        cluster_ids=np.array([entity.get("cluster_id", -1) for entity in entities], dtype=np.int64),
        member_scores=scores[order],
    )
