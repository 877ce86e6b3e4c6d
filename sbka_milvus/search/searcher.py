"""Searching a gallery: cluster scores, probes, one search in those partitions, the fused order."""

from __future__ import annotations

import numpy as np

from sbka_milvus.errors import CollectionMissing, InvalidValue, MatchingError
from sbka_milvus.protocols import CopiesOf, GalleryStore, Judge, Matching, MatchingOf
from sbka_milvus.search.copies import names_of
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.scores import score_clusters, select_probes
from sbka_milvus.search.served import Served, find_matching, only, require_model
from sbka_milvus.types import Candidates, FloatArray, Hit, IntArray, SearchResult, VersionInfo, photo_id

DEFAULT_MAX_LIMIT = 16_384
"""The most results of one Milvus search."""

_FIRST_LIMIT = 64
_GROWTH = 4


class GallerySearcher:
    """Answers query vectors from the served version of one gallery. Threads may share it.

    Args:
        store: where the gallery is.
        gallery: its name.
        version: search this one instead of the one that is served.
        max_limit: the most results that one search of the store may ask for.
        matching_of: finds what the vectors of a version were lifted by. Without it versions of the form *linear* are
            refused.
        copies_of: finds which photos of a version are equal: they are shown once. Without it each is a hit of its own.

    Raises:
        InvalidValue: ``max_limit`` is below 1.
    """

    def __init__(
        self,
        store: GalleryStore,
        gallery: str,
        *,
        version: VersionInfo | None = None,
        max_limit: int = DEFAULT_MAX_LIMIT,
        matching_of: MatchingOf | None = None,
        copies_of: CopiesOf | None = None,
    ) -> None:
        if max_limit < 1:
            raise InvalidValue(f"max_limit is {max_limit}; a search must be able to ask for one result.")
        self._store = store
        self._gallery = gallery
        self._version = version
        self._max_limit = max_limit
        self._matching_of = matching_of
        self._copies_of = copies_of
        self._cached: Served | None = None

    def require_encoder(self, fingerprint: str) -> None:
        """Refuses an encoder that is not the gallery's.

        Raises:
            EncoderMismatch: Naming both fingerprints.
            CollectionMissing: The gallery is not in the store.
        """
        require_model(self._info(), fingerprint)

    @property
    def fingerprint(self) -> str:
        """Of the model that made the vectors of the version that is searched now."""
        return self._info().fingerprint

    @property
    def n_clusters(self) -> int:
        """Clusters of the version that is searched now."""
        return len(self._served().table)

    @property
    def matching(self) -> Matching | None:
        """What the vectors of the version that is searched now were lifted by; none: they are the photos' own."""
        return self._served().matching

    def count(self) -> int:
        """Photos of the version that is searched now."""
        return self._store.count(self._served().info)

    def search(
        self,
        queries: FloatArray,
        k: int,
        options: SearchOptions,
        *,
        fingerprint: str | None = None,
        judge: Judge | None = None,
    ) -> list[SearchResult]:
        """The k photos with the highest scores among the probed clusters, for each query.

        The result is exact for the probed clusters. Where the vectors were lifted, the store's own order is that of the
        scores; else it is asked for more members until no unseen one can enter by its fused score.

        Args:
            queries: shape (Q, D), float32, unit rows.
            k: how many hits, at least 1; fewer come back where the probed clusters hold fewer. Equal photos are one
                hit, where it is known which are equal.
            options: how to search.
            fingerprint: of the encoder that made the queries: the very version that answers must be of the same one.
            judge: says how sure the results are, knowing the clusters of the very version that answered.

        Returns:
            Q results, all of one version.

        Raises:
            InvalidValue: ``k`` is below 1, the queries' shape does not fit the gallery, ``k`` and a probed cluster
                are both larger than the store's largest limit, or a weight is asked for that is not the version's own.
            EncoderMismatch: The version that is served now is of another encoder than ``fingerprint``.
            FilterError: The filter cannot be read, or names a column that there is not.
            CollectionMissing: The gallery is not in the store.
            MatchingError: What the version is matched by is missing or damaged.
            StoreUnavailable: The store cannot be reached now.
        """
        if k < 1:
            raise InvalidValue(f"k is {k}; at least one hit must be asked for.")
        served = self._served()
        while True:
            if fingerprint is not None:
                require_model(served.info, fingerprint)
            weight = served.fusion_weight(options)
            lifted = served.queries(queries)
            scores = score_clusters(lifted, served.table.centroids)
            try:
                found = [
                    self._search_one(served, query, of_clusters, k, options, weight)
                    for query, of_clusters in zip(lifted, scores, strict=True)
                ]
                return found if judge is None else judge(queries, served.table, found, served.matching)
            except CollectionMissing:
                # The version was dropped while it was searched: start over on the one that is served now.
                fresh = self._served()
                if fresh.info == served.info:
                    raise
                served = fresh

    def _info(self) -> VersionInfo:
        return self._version or self._store.served(self._gallery)

    def _served(self) -> Served:
        info = self._info()
        while True:
            cached = self._cached
            if cached is not None and cached.info == info:
                return cached
            try:
                copies = None if self._copies_of is None else self._copies_of(info)
                found = Served(info, self._store.clusters(info), find_matching(info, self._matching_of), copies)
            except (CollectionMissing, MatchingError):
                # It was dropped after it was named.
                fresh = self._info()
                if fresh == info:
                    raise
                info = fresh
            else:
                self._cached = found
                return found

    def _search_one(
        self, served: Served, query: FloatArray, scores: FloatArray, k: int, options: SearchOptions, weight: float
    ) -> SearchResult:
        probes = select_probes(scores, options.n_probe or len(scores), served.table.sizes)
        candidates = self._candidates(served, query, scores, probes, k, options, weight)
        order, fused = served.ranked(candidates, scores, weight)
        best = only(candidates, order[:k])
        parts = served.parts(query, best, fused[:k], scores, weight)
        names = names_of(served.copies, candidates, best, filtered=options.where is not None)
        hits = tuple(
            Hit(
                rank=row + 1,
                score=float(parts.scores[row]),
                uri=uri,
                photo_id=photo_id(uri),
                cluster_id=int(best.cluster_ids[row]),
                cluster_score=float(parts.cluster_scores[row]),
                member_score=float(parts.member_scores[row]),
                cluster_weight=parts.cluster_weight,
                level=float(parts.levels[row]),
                duplicates=duplicates,
            )
            for row, (uri, duplicates) in enumerate(names)
        )
        info = served.info
        return SearchResult(hits, info.gallery, info.version, tuple(probes.tolist()), info.fingerprint)

    def _candidates(
        self,
        served: Served,
        query: FloatArray,
        scores: FloatArray,
        probes: IntArray,
        k: int,
        options: SearchOptions,
        weight: float,
    ) -> Candidates:
        """Members of the probed clusters, enough of them that the k best by fused score are among them.

        Of equal photos one counts: those that were not returned enter no more than any other unseen member does.
        A member that was not returned scores at most as the last returned one, so its fused score is bounded by that
        and by its cluster's score; a cluster whose members all came back is out of the question.
        """
        available = int(served.table.sizes[probes].sum())
        if min(k, available) > self._max_limit:
            return self._cluster_by_cluster(served, query, probes, k, options)
        limit = max(1, min(available, self._max_limit, max(_FIRST_LIMIT, _GROWTH * k)))
        while True:
            found = self._store.search(served.info, query[np.newaxis], probes, limit, where=options.where)[0]
            if len(found) < limit or limit >= available or _is_certain(found, served, scores, probes, k, weight):
                return found
            if limit >= self._max_limit:
                return self._cluster_by_cluster(served, query, probes, k, options)
            limit = min(available, self._max_limit, limit * _GROWTH)

    def _cluster_by_cluster(
        self, served: Served, query: FloatArray, probes: IntArray, k: int, options: SearchOptions
    ) -> Candidates:
        """The k best members of each probed cluster: within a cluster the fused order is that of the member scores."""
        found: list[Candidates] = []
        for cluster in probes:
            size = int(served.table.sizes[cluster])
            if min(k, size) > self._max_limit:
                raise InvalidValue(
                    f"k is {k}, and one cluster holds {size} photos: the store returns at most {self._max_limit}.",
                    f"Ask for at most {self._max_limit} hits, or index the gallery with more clusters.",
                )
            # Of equal photos more are needed than are shown.
            limit = min(k if served.copies is None else size, self._max_limit)
            one = cluster.reshape(1)
            found.extend(self._store.search(served.info, query[np.newaxis], one, limit, where=options.where))
        return _merged(found)


def _merged(parts: list[Candidates]) -> Candidates:
    ids = np.concatenate([part.ids for part in parts])
    uris = tuple(uri for part in parts for uri in part.uris)
    cluster_ids = np.concatenate([part.cluster_ids for part in parts])
    member_scores = np.concatenate([part.member_scores for part in parts])
    return only(Candidates(ids, uris, cluster_ids, member_scores), np.lexsort((ids, -member_scores)))


def _is_certain(found: Candidates, served: Served, scores: FloatArray, probes: IntArray, k: int, weight: float) -> bool:
    _, fused = served.ranked(found, scores, weight)
    if len(fused) < k:
        return False
    returned = np.bincount(found.cluster_ids, minlength=len(served.table))
    unfinished = probes[returned[probes] < served.table.sizes[probes]]
    if len(unfinished) == 0:
        return True
    last = float(found.member_scores[-1])
    bound = weight * float(scores[unfinished].max()) + (1.0 - weight) * last
    return bool(fused[k - 1] > bound)
