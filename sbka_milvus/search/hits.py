"""The hits of a result, and what it says of itself."""

from __future__ import annotations

from sbka_milvus.search.copies import names_of
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.requests import Probed
from sbka_milvus.search.served import Served, only
from sbka_milvus.types import FloatArray, Hit, SearchResult, photo_id


def result_of(
    served: Served, query: FloatArray, scores: FloatArray, probed: Probed, options: SearchOptions, weight: float, k: int
) -> SearchResult:
    """The k best of what came of a query, less those that the offset leaves out.

    Args:
        served: the version.
        query: shape (D,), float32: as the version was searched.
        scores: shape (K,), float32: cosines of the query and the centroids.
        probed: what came of it, re-ranked where the options have a re-ranker.
        options: how it was searched.
        weight: of the cluster score.
        k: hits that are wanted.
    """
    shown = slice(options.offset, options.offset + k)
    best, fused = only(probed.found, probed.order[shown]), probed.fused[shown]
    parts = served.parts(query, best, fused, scores, weight)
    reranker = options.chosen_reranker
    shown_scores = parts.scores if reranker is None else fused
    names = names_of(served.copies, probed.found, best, filtered=options.where is not None)
    columns = zip(
        shown_scores.tolist(),
        names,
        best.uris,
        best.ids.tolist(),
        best.cluster_ids.tolist(),
        parts.cluster_scores.tolist(),
        parts.member_scores.tolist(),
        parts.levels.tolist(),
        strict=True,
    )
    hits = tuple(
        Hit(
            rank=rank,
            score=score,
            uri=uri,
            photo_id=own_id if uri == own_uri else photo_id(uri),
            cluster_id=cluster_id,
            cluster_score=cluster_score,
            member_score=member_score,
            cluster_weight=parts.cluster_weight,
            level=level,
            duplicates=duplicates,
        )
        for rank, (
            score,
            (uri, duplicates),
            own_uri,
            own_id,
            cluster_id,
            cluster_score,
            member_score,
            level,
        ) in enumerate(columns, options.offset + 1)
    )
    info = served.info
    return SearchResult(
        hits,
        info.gallery,
        info.version,
        tuple(probed.clusters.tolist()),
        info.fingerprint,
        exact=probed.exact,
        rows=probed.rows,
        codes=probed.codes,
        halves=probed.halves,
        reranker="" if reranker is None else str(reranker.name),
    )
