"""Searching a gallery: cluster scores, probes, one search in those partitions, the fused order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import CollectionMissing, EncoderMismatch, InvalidValue
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.search.fusion import DEFAULT_CLUSTER_WEIGHT, rerank
from sbka_milvus.search.scores import score_clusters, select_probes
from sbka_milvus.types import Candidates, ClusterTable, FloatArray, Hit, IntArray, SearchResult, VersionInfo

DEFAULT_N_PROBE = 16
DEFAULT_MAX_LIMIT = 16_384
"""The most results of one Milvus search."""

_FIRST_LIMIT = 64
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Attributes:
        n_probe: clusters to look into; none for all of them.
        cluster_weight: of the cluster score in the fused score; 0 ranks photos one-to-one.
    """

    n_probe: int | None = DEFAULT_N_PROBE
    cluster_weight: float = DEFAULT_CLUSTER_WEIGHT

    def __post_init__(self) -> None:
        if self.n_probe is not None and self.n_probe < 1:
            raise InvalidValue(f"n_probe is {self.n_probe}; at least one cluster must be probed.")
        if not 0.0 <= self.cluster_weight <= 1.0:
            raise InvalidValue(f"The cluster weight is {self.cluster_weight}; it must lie in [0, 1].")


@dataclass(frozen=True, slots=True)
class _Served:
    """A version and its clusters, read together so that a search never mixes two versions."""

    info: VersionInfo
    table: ClusterTable


class GallerySearcher:
    """Answers query vectors from the served version of one gallery. Threads may share it.

    Args:
        store: where the gallery is.
        gallery: its name.
        max_limit: the most results that one search of the store may ask for.

    Raises:
        InvalidValue: ``max_limit`` is below 1.
    """

    def __init__(self, store: GalleryStore, gallery: str, *, max_limit: int = DEFAULT_MAX_LIMIT) -> None:
        if max_limit < 1:
            raise InvalidValue(f"max_limit is {max_limit}; a search must be able to ask for one result.")
        self._store = store
        self._gallery = gallery
        self._max_limit = max_limit
        self._cached: _Served | None = None

    def require_encoder(self, fingerprint: str) -> None:
        """Refuses an encoder that is not the gallery's.

        Raises:
            EncoderMismatch: Naming both fingerprints.
            CollectionMissing: The gallery is not in the store.
        """
        served = self._served()
        if served.info.fingerprint != fingerprint:
            raise EncoderMismatch(
                f"The gallery {self._gallery!r} was embedded with the model {served.info.fingerprint}, and this query "
                f"was with {fingerprint}: their vectors cannot be compared.",
                "Search with the gallery's own model, or ingest the photos again with the new one.",
            )

    @property
    def n_clusters(self) -> int:
        """Clusters of the served version."""
        return len(self._served().table)

    def count(self) -> int:
        """Photos of the served version."""
        return self._store.count(self._served().info)

    def search(self, queries: FloatArray, k: int, options: SearchOptions) -> list[SearchResult]:
        """The k photos with the highest fused scores among the probed clusters, for each query.

        The result is exact for the probed clusters: the store is asked for more members until no unseen one can enter.

        Args:
            queries: shape (Q, D), float32, unit rows.
            k: how many hits, at least 1; fewer come back where the probed clusters hold fewer.
            options: how to search.

        Raises:
            InvalidValue: ``k`` is below 1, the queries' shape does not fit the gallery, or ``k`` and a probed cluster
                are both larger than the store's largest limit.
            CollectionMissing: The gallery is not in the store.
            StoreUnavailable: The store cannot be reached now.
        """
        if k < 1:
            raise InvalidValue(f"k is {k}; at least one hit must be asked for.")
        served = self._served()
        while True:
            scores = score_clusters(queries, served.table.centroids)
            try:
                return [self._search_one(served, queries[row], scores[row], k, options) for row in range(len(queries))]
            except CollectionMissing:
                # The version was dropped while it was searched: start over on the one that is served now.
                fresh = self._served()
                if fresh.info == served.info:
                    raise
                served = fresh

    def _served(self) -> _Served:
        info = self._store.served(self._gallery)
        while True:
            cached = self._cached
            if cached is not None and cached.info == info:
                return cached
            try:
                self._cached = _Served(info, self._store.clusters(info))
            except CollectionMissing:
                # It was dropped after it was named.
                fresh = self._store.served(self._gallery)
                if fresh == info:
                    raise
                info = fresh

    def _search_one(
        self, served: _Served, query: FloatArray, scores: FloatArray, k: int, options: SearchOptions
    ) -> SearchResult:
        probes = select_probes(scores, options.n_probe or len(scores))
        candidates = self._candidates(served, query, scores, probes, k, options)
        order, fused = rerank(candidates, scores, options.cluster_weight)
        hits = tuple(
            Hit(
                rank=rank,
                score=float(score),
                uri=candidates.uris[position],
                photo_id=int(candidates.ids[position]),
                cluster_id=int(candidates.cluster_ids[position]),
                cluster_score=float(scores[candidates.cluster_ids[position]]),
                member_score=float(candidates.member_scores[position]),
                cluster_weight=options.cluster_weight,
            )
            for rank, (position, score) in enumerate(zip(order[:k].tolist(), fused[:k].tolist(), strict=True), start=1)
        )
        return SearchResult(hits, served.info.gallery, served.info.version, tuple(probes.tolist()))

    def _candidates(
        self, served: _Served, query: FloatArray, scores: FloatArray, probes: IntArray, k: int, options: SearchOptions
    ) -> Candidates:
        """Members of the probed clusters, enough of them that the k best by fused score are among them.

        A member that was not returned scores at most as the last returned one, so its fused score is bounded by that
        and by its cluster's score; a cluster whose members all came back is out of the question.
        """
        available = int(served.table.sizes[probes].sum())
        if min(k, available) > self._max_limit:
            return self._cluster_by_cluster(served, query, probes, k)
        limit = max(1, min(available, self._max_limit, max(_FIRST_LIMIT, _GROWTH * k)))
        while True:
            found = self._store.search(served.info, query[np.newaxis], probes, limit)[0]
            if len(found) < limit or limit >= available or _is_certain(found, served, scores, probes, k, options):
                return found
            if limit >= self._max_limit:
                return self._cluster_by_cluster(served, query, probes, k)
            limit = min(available, self._max_limit, limit * _GROWTH)

    def _cluster_by_cluster(self, served: _Served, query: FloatArray, probes: IntArray, k: int) -> Candidates:
        """The k best members of each probed cluster: within a cluster the fused order is that of the member scores."""
        found: list[Candidates] = []
        for cluster in probes:
            size = int(served.table.sizes[cluster])
            if min(k, size) > self._max_limit:
                raise InvalidValue(
                    f"k is {k}, and one cluster holds {size} photos: the store returns at most {self._max_limit}.",
                    f"Ask for at most {self._max_limit} hits, or index the gallery with more clusters.",
                )
            limit = min(k, self._max_limit)
            found.extend(self._store.search(served.info, query[np.newaxis], cluster.reshape(1), limit))
        return _merged(found)


def _merged(parts: list[Candidates]) -> Candidates:
    ids = np.concatenate([part.ids for part in parts])
    uris = [uri for part in parts for uri in part.uris]
    cluster_ids = np.concatenate([part.cluster_ids for part in parts])
    member_scores = np.concatenate([part.member_scores for part in parts])
    order = np.lexsort((ids, -member_scores))
    return Candidates(ids[order], tuple(uris[row] for row in order), cluster_ids[order], member_scores[order])


def _is_certain(
    found: Candidates, served: _Served, scores: FloatArray, probes: IntArray, k: int, options: SearchOptions
) -> bool:
    if len(found) < k:
        return False
    returned = np.bincount(found.cluster_ids, minlength=len(served.table))
    unfinished = probes[returned[probes] < served.table.sizes[probes]]
    if len(unfinished) == 0:
        return True
    weight = options.cluster_weight
    bound = weight * float(scores[unfinished].max()) + (1.0 - weight) * float(found.member_scores[-1])
    _, fused = rerank(found, scores, weight)
    return bool(fused[k - 1] > bound)
