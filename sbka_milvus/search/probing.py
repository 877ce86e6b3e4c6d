"""Which clusters one query looks into, and how much it asks of them: until nothing better can be left.

Clusters are looked into in waves. Each wave is one search of the store, or more of them until its best members are
certain; whoever drives :meth:`Probing.run` sends the candidates in, so that requests of many queries may go together.
A cluster none of whose members can reach the k-th best score found is left out: by its bound, and the result is exact;
or by an estimate (:mod:`~sbka_milvus.search.looks`).
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search.bounds import SLACK
from sbka_milvus.search.looks import Looks
from sbka_milvus.search.one_query import OneQuery
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.requests import BestOf, Probed, See
from sbka_milvus.search.scores import select_probes
from sbka_milvus.search.served import NOTHING, merged
from sbka_milvus.types import Candidates, FloatArray, IntArray

_FIRST_LIMIT = 64
_GROWTH = 4
_FIRST_WAVE = 4
"""Clusters of the first wave where there are no codes; each wave after it has twice as many."""
_LOOK = 128
"""Clusters whose codes are compared together."""
_FEW = 256
"""A gallery of no more photos is searched whole, in one wave."""


class Probing(OneQuery):
    """One query on its way through a version, cluster by cluster.

    Args:
        max_limit: the most results of one request; the others are those of :class:`OneQuery`.
    """

    def __init__(
        self, looks: Looks, k: int, options: SearchOptions, *, max_limit: int, deadline: float | None = None
    ) -> None:
        super().__init__(looks, k, options, deadline=deadline)
        self._max_limit = max_limit

    def run(self) -> Generator[BestOf | See, Candidates, Probed]:
        """Asks for what is needed, and says what came of it.

        Raises:
            InvalidValue: The k and a probed cluster are both larger than the largest limit.
        """
        looks = self._looks
        wave = self._first()
        while len(wave):
            yield from self._ask(wave)
            self._probed[wave] = True
            if self._options.n_probe is not None or self._is_late:
                break
            wave = yield from self._next()
        # Where an index may miss photos, so may every answer.
        exact = looks.served.info.is_exact and not len(self._open(looks.bounds))
        return self._outcome(exact=exact, rows=int(looks.sizes[self._probed].sum()))

    def _first(self) -> IntArray:
        """The clusters of the first wave."""
        looks, n_probe = self._looks, self._options.n_probe
        if n_probe is not None:
            return select_probes(looks.scores, n_probe, looks.sizes)
        nearest = select_probes(looks.scores, len(looks.scores), looks.sizes)
        if looks.sizes.sum() <= _FEW:
            return self._capped(nearest)
        enough = int(np.searchsorted(np.cumsum(looks.sizes[nearest]), self._k)) + 1
        return self._capped(nearest[: max(_FIRST_WAVE, enough)])

    def _next(self) -> Generator[See, Candidates, IntArray]:
        """The clusters of the next wave: of those that may hold a better photo, the most promising."""
        looks, certain = self._looks, self._options.certain
        if looks.has_codes and np.isfinite(self._least):
            while len(left := looks.worth_looking(self._least - SLACK, certain=certain, most=_LOOK)):
                yield See(looks, left, 1)
        estimates = looks.estimates()
        wanted = self._open(looks.bounds if certain else estimates)
        most = _FIRST_WAVE << len(self._parts)
        return self._capped(wanted[np.argsort(-estimates[wanted], kind="stable")][:most])

    def _capped(self, clusters: IntArray) -> IntArray:
        return clusters[: self._room]

    def _open(self, bounds: FloatArray) -> IntArray:
        """Clusters that were not looked into and whose bound is that of one of the hits."""
        return np.flatnonzero((self._looks.sizes > 0) & ~self._probed & (bounds >= self._least - SLACK))

    def _ask(self, clusters: IntArray) -> Generator[BestOf, Candidates, None]:
        """The members of some clusters, enough of them that the k best of all waves so far are among the candidates.

        Of equal photos one counts: those that were not returned enter no more than any other unseen member does.
        """
        looks = self._looks
        available = int(looks.sizes[clusters].sum())
        self._parts.append(NOTHING)
        if min(self._k, available) > self._max_limit:
            yield from self._ask_one_by_one(clusters)
            return
        limit = max(1, min(available, self._max_limit, max(_FIRST_LIMIT, _GROWTH * self._k)))
        while True:
            found = yield BestOf(clusters, limit)
            self._put(found)
            if len(found) < limit or limit >= available or self._is_certain(clusters, found):
                break
            if limit >= self._max_limit:
                yield from self._ask_one_by_one(clusters)
                break
            limit = min(available, self._max_limit, limit * _GROWTH)
        wave = self._parts[-1]
        looks.note(wave.member_scores - looks.scores[wave.cluster_ids])

    def _ask_one_by_one(self, clusters: IntArray) -> Generator[BestOf, Candidates, None]:
        """The k best members of each cluster: within a cluster the fused order is that of the member scores."""
        parts: list[Candidates] = []
        for cluster in clusters:
            size = int(self._looks.sizes[cluster])
            if min(self._k, size) > self._max_limit:
                raise InvalidValue(
                    f"k is {self._k}, and one cluster holds {size} photos: "
                    f"the store returns at most {self._max_limit}.",
                    f"Ask for at most {self._max_limit} hits, or index the gallery with more clusters.",
                )
            # Of equal photos more are needed than are shown.
            limit = min(self._k if self._looks.served.copies is None else size, self._max_limit)
            parts.append((yield BestOf(cluster.reshape(1), limit)))
        self._put(merged(parts))

    def _put(self, wave: Candidates) -> None:
        """Takes what the last wave brought, in the place of less of it."""
        self._parts[-1] = wave
        self._rank()

    def _is_certain(self, clusters: IntArray, wave: Candidates) -> bool:
        """Whether no member of a wave's clusters that was not returned can be among the hits.

        It scores at most as the last returned one, so its fused score is bounded by that and by its cluster's score.
        """
        looks = self._looks
        if not np.isfinite(self._least):
            return False
        finished = np.bincount(wave.cluster_ids, minlength=len(looks.sizes))[clusters] >= looks.sizes[clusters]
        if self._options.per_cluster is not None:
            shown = np.bincount(self._found.cluster_ids[self._order], minlength=len(looks.sizes))[clusters]
            finished |= shown >= self._options.per_cluster
        unfinished = clusters[~finished]
        if len(unfinished) == 0:
            return True
        last = float(wave.member_scores[-1])
        bounds = looks.weight * looks.scores[unfinished] + (1.0 - looks.weight) * last
        return bool(self._least > np.minimum(looks.bounds[unfinished], bounds).max())
