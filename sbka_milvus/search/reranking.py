"""Re-ranking what a search found: the best candidates, with their vectors, in the order that a re-ranker gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sbka_milvus.errors import InvalidValue, RerankerError
from sbka_milvus.protocols import GalleryStore, Reranker
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.requests import Probed
from sbka_milvus.search.served import Served, only
from sbka_milvus.types import Candidates, ClusterTable, FloatArray, IntArray, Shortlist, StoredRows


def require_depth(options: SearchOptions, k: int) -> int:
    """How many candidates are re-ranked for a page of k hits; the same for every page of that size.

    Raises:
        InvalidValue: The page begins behind them, or k is greater than they are many.
        RerankerError: The re-ranker says no depth.
    """
    depth = options.depth(k)
    if k > depth:
        raise InvalidValue(f"k is {k}, and {depth} candidates are re-ranked.", f"Give a rerank_depth of at least {k}.")
    if options.offset >= depth:
        raise InvalidValue(
            f"offset is {options.offset}, and {depth} candidates are re-ranked: there is nothing behind them.",
            f"Give a rerank_depth above {options.offset}, the same for every page.",
        )
    return depth


class Reranking:
    """The re-ranking of the results of one search.

    Args:
        store: where the vectors are.
        served: the version that was searched.
        reranker: what scores anew.
        depth: candidates of each query that are re-ranked.
        weight: of the cluster score.
    """

    def __init__(
        self,
        store: GalleryStore,
        served: Served,
        reranker: Reranker,
        depth: int,
        weight: float,
    ) -> None:
        self._store = store
        self._served = served
        self._reranker = reranker
        self._depth = depth
        self._weight = weight

    def reranked(
        self, queries: FloatArray, scores: FloatArray, probed: Sequence[Probed], known: Sequence[StoredRows]
    ) -> list[Probed]:
        """What came of each query, its best candidates alone, in their new order and with their new scores.

        Args:
            queries: shape (Q, D), float32: as the version was searched.
            scores: shape (Q, K), float32: cosines of the queries and the centroids.
            probed: Q.
            known: photos whose vectors were fetched already.

        Raises:
            RerankerError: The re-ranker failed, or gave no scores.
        """
        best = [only(one.found, one.order[: self._depth]) for one in probed]
        vectors = self._vectors(best, known)
        return [
            self._one(query, to_clusters, one, found, vectors)
            for query, to_clusters, one, found in zip(queries, scores, probed, best, strict=True)
        ]

    def _vectors(self, best: Sequence[Candidates], known: Sequence[StoredRows]) -> tuple[IntArray, FloatArray]:
        """Ids and vectors of all candidates that are there, in the order of their ids."""
        wanted = [np.empty(0, np.int64), *(one.ids for one in best)]
        clusters = [np.empty(0, np.int64), *(one.cluster_ids for one in best)]
        ids, first = np.unique(np.concatenate(wanted), return_index=True)
        rows = list(known)
        left = ~np.isin(ids, np.concatenate([np.empty(0, np.int64), *(one.ids for one in known)]))
        if left.any():
            of_these = np.concatenate(clusters)[first][left]
            rows.append(self._store.fetch(self._served.info, ids[left], of_these, unchecked=True))
        if not rows:
            return ids, np.empty((0, self._served.info.dim), dtype=np.float32)
        found, first = np.unique(np.concatenate([one.ids for one in rows]), return_index=True)
        return found, np.concatenate([one.vectors for one in rows])[first]

    def _one(
        self,
        query: FloatArray,
        scores: FloatArray,
        probed: Probed,
        best: Candidates,
        vectors: tuple[IntArray, FloatArray],
    ) -> Probed:
        there = np.flatnonzero(np.isin(best.ids, vectors[0]))  # others were deleted meanwhile
        order = probed.order[: self._depth][there]
        if len(order) == 0:
            return replace(probed, order=order, fused=np.empty(0, dtype=np.float32))
        best = only(best, there)
        parts = self._served.parts(query, best, probed.fused[: self._depth][there], scores, self._weight)
        photos = Shortlist(
            ids=best.ids,
            uris=best.uris,
            cluster_ids=best.cluster_ids,
            vectors=vectors[1][np.searchsorted(vectors[0], best.ids)],
            scores=parts.scores,
            cluster_scores=parts.cluster_scores,
            member_scores=parts.member_scores,
        )
        fresh = scores_of(self._reranker, query.copy(), photos, self._served.table)
        # Where scores tie the order stays as it was.
        rows = np.argsort(-fresh, kind="stable")
        return replace(probed, order=order[rows], fused=fresh[rows])


def scores_of(reranker: Reranker, query: FloatArray, photos: Shortlist, table: ClusterTable) -> FloatArray:
    """What a re-ranker says, checked.

    Args:
        reranker: any, a user's own too.
        query: shape (D,), float32.
        photos: n, at least one.
        table: clusters of the version.

    Returns:
        shape (n,), float32, finite.

    Raises:
        RerankerError: It failed, or gave something else than n finite numbers.
    """
    name = reranker.name
    try:
        given = reranker.scores(query, photos, table)
        found = np.asarray(given)
    except Exception as error:
        raise RerankerError(
            f"The re-ranker {name!r} failed: {type(error).__name__}: {error}",
            "Mend it, or search without it.",
        ) from error
    if found.dtype.kind not in "biuf" or found.shape != (len(photos),):
        raise RerankerError(
            f"The re-ranker {name!r} gave {found.dtype} of shape {found.shape} for {len(photos)} candidates.",
            "It must give one number for each, higher for better ones.",
        )
    with np.errstate(over="ignore"):
        result = found.astype(np.float32)
    if not np.isfinite(result).all():
        at = int(np.flatnonzero(~np.isfinite(result))[0])
        raise RerankerError(
            f"The re-ranker {name!r} gave {found[at]} for {photos.uris[at]}, which has no rank.",
            "It must give finite float32 numbers.",
        )
    return result
