"""Searching a gallery: cluster scores, probes, one search in those partitions, the fused order."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from sbka_milvus.errors import CollectionMissing, InvalidValue, MatchingError, SbkaError, StoreUnavailable
from sbka_milvus.protocols import CodesOf, CopiesOf, GalleryStore, Judge, Matching, MatchingOf
from sbka_milvus.search.hits import result_of
from sbka_milvus.search.looks import Looks
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.pointing import MOST, Pointing
from sbka_milvus.search.probing import Probing
from sbka_milvus.search.requests import Fetched, Probed, Request, See, candidates_of, fetches, searches, see
from sbka_milvus.search.reranking import Reranking, require_depth
from sbka_milvus.search.scores import score_clusters
from sbka_milvus.search.served import NOTHING, Served, find_matching, require_model
from sbka_milvus.types import Candidates, FloatArray, SearchResult, VersionInfo, require_unit_rows

DEFAULT_MAX_LIMIT = 16_384
"""The most results of one Milvus search."""

_MOST_SWITCHES = 5
"""Switches to another version that one query follows."""


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
        codes_of: finds the photos of a version in short. Without it, clusters are chosen by their centroids and radii.

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
        codes_of: CodesOf | None = None,
    ) -> None:
        if max_limit < 1:
            raise InvalidValue(f"max_limit is {max_limit}; a search must be able to ask for one result.")
        self._store = store
        self._gallery = gallery
        self._version = version
        self._max_limit = max_limit
        self._matching_of = matching_of
        self._copies_of = copies_of
        self._codes_of = codes_of
        self._cached: Served | None = None

    def require_encoder(self, fingerprint: str) -> None:
        """Refuses an encoder that is not the gallery's.

        Raises:
            EncoderMismatch: Naming both fingerprints.
            CollectionMissing: The gallery is not in the store.
        """
        require_model(self._info(), fingerprint)

    @property
    def info(self) -> VersionInfo:
        """The version that is searched now."""
        return self._info()

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
        judged: int = 1,
    ) -> list[SearchResult]:
        """The k photos with the highest scores, for each query.

        The result is exact for the clusters that were looked into: the store is asked for more of their members until
        no unseen one can enter by its fused score. Which clusters those are is told in
        :mod:`~sbka_milvus.search.probing`; each result says whether it is exact for the whole gallery.

        Args:
            queries: shape (Q, D), float32, unit rows.
            k: how many hits, at least 1; fewer come back where the probed clusters hold fewer. Equal photos are one
                hit, where it is known which are equal.
            options: how to search.
            fingerprint: of the encoder that made the queries: the very version that answers must be of the same one.
            judge: says how sure the results are, knowing the clusters of the very version that answered. With a
                re-ranker it sees the best of its candidates in the order of their one-to-many scores.
            judged: hits that the judge should see; fewer are shown where k is smaller. Counts with a re-ranker alone.

        Returns:
            Q results, all of one version.

        Raises:
            InvalidValue: ``k`` is below 1, the queries' shape does not fit the gallery, ``k`` and a probed cluster
                are both larger than the store's largest limit, ``k`` or the offset is beyond what is re-ranked, or a
                weight is asked for that is not the version's own.
            EncoderMismatch: The version that is served now is of another encoder than ``fingerprint``.
            FilterError: The filter cannot be read, or names a column that there is not.
            CollectionMissing: The gallery is not in the store.
            MatchingError: What the version is matched by is missing or damaged.
            StoreUnavailable: The store cannot be reached now.
            RerankerError: The re-ranker failed, or gave no scores.
        """
        if k < 1:
            raise InvalidValue(f"k is {k}; at least one hit must be asked for.")
        served = self._cached or self._served()
        for _ in range(_MOST_SWITCHES):
            # The version that was served last is searched at once, and looked up afterwards, where no answer has told
            # that it is the one: if it is served still, it was all along. Else it starts over on the one that is,
            # whatever came of it.
            try:
                fetched = Fetched(follows=self._version is None)
                found, shown = self._search(served, queries, k, options, fingerprint, judged if judge else 0, fetched)
            except StoreUnavailable:
                raise
            except SbkaError:
                fresh = self._served()
                if fresh.info == served.info:
                    raise
                served = fresh
                continue
            if fetched.is_served:
                break
            fresh = self._served()
            if fresh.info == served.info:
                break
            served = fresh
        else:
            # It is switched faster than it is searched.
            fetched = Fetched(follows=False)
            found, shown = self._search(served, queries, k, options, fingerprint, judged if judge else 0, fetched)
            self._store.confirm(served.info)
        if judge is None:
            return found
        sure = judge(queries, served.table, shown, served.matching)
        return [replace(one, confidence=of.confidence) for one, of in zip(found, sure, strict=True)]

    def _search(
        self,
        served: Served,
        queries: FloatArray,
        k: int,
        options: SearchOptions,
        fingerprint: str | None,
        judged: int,
        fetched: Fetched,
    ) -> tuple[list[SearchResult], list[SearchResult]]:
        """The results of one version, which is not asked whether it is there; and those that a judge should see.

        Args:
            judged: how many hits it should see at least where the results are re-ranked; 0: there is no judge.
            fetched: takes what is fetched.
        """
        reranker = options.chosen_reranker
        depth = 0 if reranker is None else require_depth(options, k)
        wanted = options.offset + k if reranker is None else max(depth, judged)
        if fingerprint is not None:
            require_model(served.info, fingerprint)
        weight = served.fusion_weight(options)
        lifted = served.queries(queries)
        scores = score_clusters(lifted, served.table.centroids)
        require_unit_rows(lifted, "queries")
        probed = self._probed(served, lifted, scores, wanted, options, weight, fetched)
        if reranker is None:
            found = _results(served, lifted, scores, probed, options, weight, k)
            return found, found
        reranking = Reranking(self._store, served, reranker, depth, weight)
        again = reranking.reranked(lifted, scores, probed, fetched.vectors)
        fetched.untold += 1
        found = _results(served, lifted, scores, again, options, weight, k)
        if judged == 0:
            return found, found
        plain = replace(options, reranker=None, rerank_depth=None, offset=0)
        return found, _results(served, lifted, scores, probed, plain, weight, wanted)

    def _info(self) -> VersionInfo:
        if self._version is None:
            return self._store.served(self._gallery)
        self._store.confirm(self._version)
        return self._version

    def _served(self) -> Served:
        info = self._info()
        while True:
            cached = self._cached
            if cached is not None and cached.info == info:
                return cached
            try:
                copies = None if self._copies_of is None else self._copies_of(info)
                codes = None if self._codes_of is None else self._codes_of(info)
                matching = find_matching(info, self._matching_of)
                found = Served(info, self._store.clusters(info), matching, copies, codes)
            except (CollectionMissing, MatchingError):
                # It was dropped after it was named.
                fresh = self._info()
                if fresh == info:
                    raise
                info = fresh
            else:
                self._cached = found
                return found

    def _probed(
        self,
        served: Served,
        queries: FloatArray,
        scores: FloatArray,
        wanted: int,
        options: SearchOptions,
        weight: float,
        fetched: Fetched,
    ) -> list[Probed]:
        """All queries, each looking into the clusters that it needs; requests that agree go together."""
        deadline = None if options.deadline_ms is None else time.monotonic() + options.deadline_ms / 1000
        by_clusters = options.where or options.n_probe or options.per_cluster
        pointed = served.codes is not None and wanted <= MOST and not by_clusters
        runs: list[Generator[Request, Candidates, Probed]] = []
        turned = queries if served.codes is None else served.codes.turned(queries)
        for query, to_clusters in zip(turned, scores, strict=True):
            looks = Looks(served, to_clusters, weight, query)
            if pointed:
                runs.append(Pointing(looks, wanted, options, deadline=deadline).run())
            else:
                limit = self._max_limit
                runs.append(Probing(looks, wanted, options, max_limit=limit, deadline=deadline).run())
        results: dict[int, Probed] = {}
        asked: dict[int, Request] = {}
        answers: dict[int, Candidates | None] = dict.fromkeys(range(len(runs)))
        while answers:
            while answers:
                for row, answer in answers.items():
                    try:
                        asked[row] = next(runs[row]) if answer is None else runs[row].send(answer)
                    except StopIteration as done:
                        results[row] = done.value
                # Before anything is asked of the store, so that all queries ask it together.
                looking = {row: one for row, one in asked.items() if isinstance(one, See)}
                see(list(looking.values()))
                answers = dict.fromkeys(looking, NOTHING)
                for row in looking:
                    del asked[row]
            for rows, request in searches(asked):
                fetched.untold += 1
                found = self._store.search(
                    served.info, queries[rows], request.clusters, request.limit, options.where, unchecked=True
                )
                answers.update(zip(rows, found, strict=True))
            pointed_at, ids, clusters = fetches(asked)
            if pointed_at:
                # Fine codes give the scores: only a re-ranker needs vectors.
                reranked = options.reranker is not None
                stored = self._store.fetch(
                    served.info, ids, clusters, unchecked=True, served=fetched.follows, vectors=reranked
                )
                fetched.take(stored, vectors=reranked)
                answers.update((row, candidates_of(one, stored)) for row, one in pointed_at.items())
            asked.clear()
        return [results[row] for row in range(len(runs))]


def _results(
    served: Served,
    queries: FloatArray,
    scores: FloatArray,
    probed: Sequence[Probed],
    options: SearchOptions,
    weight: float,
    k: int,
) -> list[SearchResult]:
    return [
        result_of(served, query, of_clusters, one, options, weight, k)
        for query, of_clusters, one in zip(queries, scores, probed, strict=True)
    ]
