"""Which clusters one query looks into, and how much it asks of them: until nothing better can be left.

Clusters are looked into in waves. Each wave is one search of the store, or more of them until its best members are
certain; whoever drives :meth:`Probing.run` sends the candidates in, so that requests of many queries may go together.
A cluster none of whose members can reach the k-th best score found is left out: by its bound, and the result is exact;
or by an estimate (:mod:`~sbka_milvus.search.looks`).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search.bounds import SLACK
from sbka_milvus.search.looks import Looks
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.requests import BestOf, Probed
from sbka_milvus.search.scores import select_probes
from sbka_milvus.search.served import Served, merged
from sbka_milvus.types import Candidates, FloatArray, IntArray

_FIRST_LIMIT = 64
_GROWTH = 4
_FIRST_WAVE = 4
"""Clusters of the first wave where there are no codes; each wave after it has twice as many."""
_LOOK = 128
"""Clusters whose codes are compared together."""
_FEW = 256
"""A gallery of no more photos is searched whole, in one wave."""


@dataclass(slots=True)
class _Wave:
    clusters: IntArray
    found: Candidates


class Probing:
    """One query on its way through a version.

    Args:
        served: the version.
        query: shape (D,), float32: as the version is searched.
        scores: shape (K,), float32: cosines of the query and the centroids.
        k: hits that are wanted, those that are left out by the offset included.
        options: how to search.
        weight: of the cluster score.
        max_limit: the most results of one request.
        deadline: of :func:`time.monotonic`, after which no wave begins; none: for as long as it takes.
    """

    def __init__(
        self,
        served: Served,
        query: FloatArray,
        scores: FloatArray,
        k: int,
        options: SearchOptions,
        weight: float,
        *,
        max_limit: int,
        deadline: float | None = None,
    ) -> None:
        self._served = served
        self._looks = Looks(served, query, scores, weight)
        self._k = k
        self._options = options
        self._max_limit = max_limit
        self._deadline = deadline
        self._probed = np.zeros(len(scores), dtype=np.bool_)
        self._waves: list[_Wave] = []

    def run(self) -> Generator[BestOf, Candidates, Probed]:
        """Asks for what is needed, and says what came of it.

        Raises:
            InvalidValue: The k and a probed cluster are both larger than the largest limit.
        """
        wave = self._first()
        while len(wave):
            yield from self._ask(wave)
            self._probed[wave] = True
            if self._options.n_probe is not None or self._is_late():
                break
            wave = self._next()
        found, order, fused = self._ranked()
        looks, clusters = self._looks, np.flatnonzero(self._probed)
        return Probed(
            found=found,
            order=order,
            fused=fused,
            clusters=clusters[np.argsort(-looks.scores[clusters], kind="stable")],
            exact=not len(self._open(looks.bounds, self._least(fused))),
            rows=int(looks.sizes[clusters].sum()),
            codes=looks.n_seen,
        )

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

    def _next(self) -> IntArray:
        """The clusters of the next wave: of those that may hold a better photo, the most promising."""
        looks, certain = self._looks, self._options.certain
        least = self._least(self._ranked()[2])
        if looks.has_codes and np.isfinite(least):
            while len(left := looks.worth_looking(least - SLACK, certain=certain, most=_LOOK)):
                looks.look(left, 1)
        estimates = looks.estimates()
        wanted = self._open(looks.bounds if certain else estimates, least)
        most = _FIRST_WAVE << len(self._waves)
        return self._capped(wanted[np.argsort(-estimates[wanted], kind="stable")][:most])

    def _capped(self, clusters: IntArray) -> IntArray:
        most = self._options.max_probe
        return clusters if most is None else clusters[: max(0, most - int(self._probed.sum()))]

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _open(self, bounds: FloatArray, least: float) -> IntArray:
        return np.flatnonzero((self._looks.sizes > 0) & ~self._probed & (bounds >= least - SLACK))

    def _ranked(self) -> tuple[Candidates, IntArray, FloatArray]:
        found = merged([wave.found for wave in self._waves])
        looks = self._looks
        order, fused = self._served.ranked(found, looks.scores, looks.weight, self._options.per_cluster)
        return found, order, fused

    def _least(self, fused: FloatArray) -> float:
        """The score that a photo must have to be among the hits."""
        return float(fused[self._k - 1]) if len(fused) >= self._k else -np.inf

    def _ask(self, clusters: IntArray) -> Generator[BestOf, Candidates, None]:
        """The members of some clusters, enough of them that the k best of all waves so far are among the candidates.

        Of equal photos one counts: those that were not returned enter no more than any other unseen member does.
        """
        available = int(self._looks.sizes[clusters].sum())
        wave = _Wave(clusters, merged([]))
        self._waves.append(wave)
        if min(self._k, available) > self._max_limit:
            yield from self._ask_one_by_one(wave)
            return
        limit = max(1, min(available, self._max_limit, max(_FIRST_LIMIT, _GROWTH * self._k)))
        while True:
            wave.found = yield BestOf(clusters, limit)
            if len(wave.found) < limit or limit >= available or self._is_certain(wave):
                break
            if limit >= self._max_limit:
                yield from self._ask_one_by_one(wave)
                break
            limit = min(available, self._max_limit, limit * _GROWTH)
        self._looks.note(wave.found.member_scores - self._looks.scores[wave.found.cluster_ids])

    def _ask_one_by_one(self, wave: _Wave) -> Generator[BestOf, Candidates, None]:
        """The k best members of each cluster: within a cluster the fused order is that of the member scores."""
        parts: list[Candidates] = []
        for cluster in wave.clusters:
            size = int(self._looks.sizes[cluster])
            if min(self._k, size) > self._max_limit:
                raise InvalidValue(
                    f"k is {self._k}, and one cluster holds {size} photos: "
                    f"the store returns at most {self._max_limit}.",
                    f"Ask for at most {self._max_limit} hits, or index the gallery with more clusters.",
                )
            # Of equal photos more are needed than are shown.
            limit = min(self._k if self._served.copies is None else size, self._max_limit)
            parts.append((yield BestOf(cluster.reshape(1), limit)))
        wave.found = merged(parts)

    def _is_certain(self, wave: _Wave) -> bool:
        """Whether no member of a wave that was not returned can be among the hits.

        It scores at most as the last returned one, so its fused score is bounded by that and by its cluster's score.
        """
        looks = self._looks
        found, order, fused = self._ranked()
        least = self._least(fused)
        if not np.isfinite(least):
            return False
        returned = np.bincount(wave.found.cluster_ids, minlength=len(looks.sizes))[wave.clusters]
        finished = returned >= looks.sizes[wave.clusters]
        if self._options.per_cluster is not None:
            shown = np.bincount(found.cluster_ids[order], minlength=len(looks.sizes))[wave.clusters]
            finished |= shown >= self._options.per_cluster
        unfinished = wave.clusters[~finished]
        if len(unfinished) == 0:
            return True
        last = float(wave.found.member_scores[-1])
        bounds = looks.weight * looks.scores[unfinished] + (1.0 - looks.weight) * last
        return bool(least > np.minimum(looks.bounds[unfinished], bounds).max())
