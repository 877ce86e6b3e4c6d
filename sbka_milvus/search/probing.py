"""Which clusters one query looks into, and how much it asks of them: until nothing better can be left.

Clusters are looked into in waves. Each wave is one search of the store, of which a :class:`Request` says what it must
be; whoever drives :meth:`Probing.run` sends the candidates in, so that the requests of many queries may go together.

**Bounds.** A member's cosine is at most what its cluster's radius allows (:mod:`~sbka_milvus.search.bounds`), and at
most the best code of its cluster plus that cluster's error (:class:`~sbka_milvus.protocols.MemberCodes`). A cluster
none of whose members can reach the k-th best score found is left out, and the result is exact: that of all clusters.

**Estimates.** Where exactness is not asked for, a cluster that was not looked at is taken to have no member that
exceeds its centroid's score by more than the best of those that were looked at do, the nearest ones.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search.bounds import SLACK, member_bounds
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.scores import select_probes
from sbka_milvus.search.served import Served, merged
from sbka_milvus.types import Candidates, FloatArray, IntArray

_FIRST_LIMIT = 64
_GROWTH = 4
_FIRST_WAVE = 4
"""Clusters of the first wave where there are no codes; each wave after it has twice as many."""
_FIRST_LOOK = 16
_LOOK = 128
"""Clusters whose codes are looked at together."""
_FEW = 256
"""A gallery of no more photos is searched whole, in one wave."""
_CODE_MARGIN = 2e-3
"""By how much the cosine of a code differs from the true one at most as a rule: the bound is some times that."""


@dataclass(frozen=True, slots=True)
class Request:
    """One search of the store: the ``limit`` best members of some clusters."""

    clusters: IntArray
    limit: int


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a query.

    Attributes:
        found: all candidates.
        order: positions of the best among them, best first, shape (n,), int64.
        fused: their scores, shape (n,), float32.
        clusters: those that were looked into, nearest first, shape (P,), int64.
        exact: whether no cluster that was left out can hold a better photo.
        rows: photos of the clusters that were looked into.
        codes: photos that were looked at by their codes alone.
    """

    found: Candidates
    order: IntArray
    fused: FloatArray
    clusters: IntArray
    exact: bool
    rows: int
    codes: int


@dataclass(slots=True)
class _Wave:
    clusters: IntArray
    found: Candidates
    whole: bool = False  # whether all members came back that there are


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
        self._query = query
        self._scores = scores
        self._k = k
        self._options = options
        self._weight = weight
        self._max_limit = max_limit
        self._deadline = deadline
        self._sizes = served.table.sizes
        self._held = self._sizes > 0
        self._probed = np.zeros(len(scores), dtype=np.bool_)
        self._looked = np.zeros(len(scores), dtype=np.bool_)
        self._bounds = self._fused(scores, member_bounds(scores, served.table.radii))
        self._excess = -np.inf
        self._waves: list[_Wave] = []
        self._codes = _Looked(served)

    def run(self) -> Generator[Request, Candidates, Probed]:
        """Asks for what is needed, and says what came of it.

        Raises:
            InvalidValue: The k and a probed cluster are both larger than the largest limit.
        """
        wave, limit = self._first()
        while len(wave):
            yield from self._ask(wave, limit)
            self._probed[wave] = True
            if self._options.n_probe is not None or self._is_late():
                break
            wave, limit = self._next(), None
        found, order, fused = self._ranked()
        clusters = np.flatnonzero(self._probed)
        clusters = clusters[np.argsort(-self._scores[clusters], kind="stable")]
        return Probed(
            found=found,
            order=order,
            fused=fused,
            clusters=clusters,
            exact=not len(self._open(self._bounds, self._least(fused))),
            rows=int(self._sizes[self._probed].sum()),
            codes=int(self._sizes[self._looked].sum()),
        )

    def _first(self) -> tuple[IntArray, int | None]:
        """The clusters of the first wave, and how much to ask of them where that is known."""
        n_probe = self._options.n_probe
        if n_probe is not None:
            return select_probes(self._scores, n_probe, self._sizes), None
        if self._sizes.sum() <= _FEW:
            return self._capped(select_probes(self._scores, len(self._scores), self._sizes)), None
        if self._served.codes is None:
            nearest = select_probes(self._scores, len(self._scores), self._sizes)
            enough = int(np.searchsorted(np.cumsum(self._sizes[nearest]), self._k)) + 1
            return self._capped(nearest[: max(_FIRST_WAVE, enough)]), None
        self._look(select_probes(self._scores, _FIRST_LOOK, self._sizes))
        while True:
            left = self._unlooked(self._codes.least(self._k))
            if not len(left):
                break
            self._look(left)
        clusters, limit = self._codes.needed(self._k, certain=self._options.certain)
        return self._capped(clusters), None if self._options.where is not None else limit

    def _next(self) -> IntArray:
        """The clusters of the next wave: of those that may hold a better photo, the most promising."""
        least = self._least(self._ranked()[2])
        if self._served.codes is not None and np.isfinite(least):
            while len(left := self._unlooked(least)):
                self._look(left)
        estimates = self._estimates()
        wanted = self._open(self._bounds if self._options.certain else estimates, least)
        most = _FIRST_WAVE << len(self._waves)
        if self._served.codes is not None:
            most *= _FIRST_WAVE
        best = wanted[np.argsort(-estimates[wanted], kind="stable")][:most]
        return self._capped(best)

    def _capped(self, clusters: IntArray) -> IntArray:
        most = self._options.max_probe
        return clusters if most is None else clusters[: max(0, most - int(self._probed.sum()))]

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _open(self, bounds: FloatArray, least: float) -> IntArray:
        return np.flatnonzero(self._held & ~self._probed & (bounds >= least - SLACK))

    def _unlooked(self, least: float) -> IntArray:
        """Clusters whose codes are worth a look: the most promising of those that may hold a better photo."""
        bounds = self._bounds if self._options.certain else self._estimates()
        left = self._open(bounds, least)
        left = left[~self._looked[left]]
        return left[np.argsort(-bounds[left], kind="stable")][:_LOOK]

    def _look(self, clusters: IntArray) -> None:
        codes = self._served.codes
        if codes is None:
            return
        scores = self._scores[clusters]
        members, ids = codes.best(self._query, clusters, scores, self._k)
        errors = codes.errors[clusters]
        self._looked[clusters] = True
        self._bounds[clusters] = np.minimum(self._bounds[clusters], self._fused(scores, members[:, 0] + errors))
        self._excess = max(self._excess, float((members[:, 0] - scores).max()))
        self._codes.add(clusters, ids, members, self._fused(scores[:, np.newaxis], members), errors * self._own)

    def _estimates(self) -> FloatArray:
        """How well the best member of each cluster is taken to score."""
        guessed = self._scores + np.float32(self._own * self._excess)
        return np.where(self._looked, self._bounds, np.minimum(self._bounds, guessed))

    @property
    def _own(self) -> float:
        return 1.0 - self._weight

    def _fused(self, scores: FloatArray, members: FloatArray) -> FloatArray:
        return np.asarray(self._weight * scores + self._own * members, dtype=np.float32)

    def _ranked(self) -> tuple[Candidates, IntArray, FloatArray]:
        found = merged([wave.found for wave in self._waves])
        order, fused = self._served.ranked(found, self._scores, self._weight, self._options.per_cluster)
        return found, order, fused

    def _least(self, fused: FloatArray) -> float:
        """The score that a photo must have to be among the hits."""
        return float(fused[self._k - 1]) if len(fused) >= self._k else -np.inf

    def _ask(self, clusters: IntArray, limit: int | None) -> Generator[Request, Candidates, None]:
        """The members of some clusters, enough of them that the k best of all waves so far are among the candidates.

        Of equal photos one counts: those that were not returned enter no more than any other unseen member does.
        """
        available = int(self._sizes[clusters].sum())
        wave = _Wave(clusters, merged([]))
        self._waves.append(wave)
        if min(self._k, available) > self._max_limit:
            yield from self._ask_one_by_one(wave)
            return
        first = limit or max(_FIRST_LIMIT, _GROWTH * self._k)
        asked = max(1, min(available, self._max_limit, first))
        while True:
            wave.found = yield Request(clusters, asked)
            wave.whole = len(wave.found) < asked or asked >= available
            if wave.whole or self._is_certain(wave):
                break
            if asked >= self._max_limit:
                yield from self._ask_one_by_one(wave)
                break
            asked = min(available, self._max_limit, max(_FIRST_LIMIT, asked * _GROWTH))
        if len(wave.found):
            excess = wave.found.member_scores - self._scores[wave.found.cluster_ids]
            self._excess = max(self._excess, float(excess.max()))

    def _ask_one_by_one(self, wave: _Wave) -> Generator[Request, Candidates, None]:
        """The k best members of each cluster: within a cluster the fused order is that of the member scores."""
        parts: list[Candidates] = []
        for cluster in wave.clusters:
            size = int(self._sizes[cluster])
            if min(self._k, size) > self._max_limit:
                raise InvalidValue(
                    f"k is {self._k}, and one cluster holds {size} photos: "
                    f"the store returns at most {self._max_limit}.",
                    f"Ask for at most {self._max_limit} hits, or index the gallery with more clusters.",
                )
            # Of equal photos more are needed than are shown.
            limit = min(self._k if self._served.copies is None else size, self._max_limit)
            parts.append((yield Request(cluster.reshape(1), limit)))
        wave.found = merged(parts)

    def _is_certain(self, wave: _Wave) -> bool:
        """Whether no member of a wave that was not returned can be among the hits.

        It scores at most as the last returned one, so its fused score is bounded by that and by its cluster's score.
        """
        found, order, fused = self._ranked()
        least = self._least(fused)
        if not np.isfinite(least):
            return False
        returned = np.bincount(wave.found.cluster_ids, minlength=len(self._sizes))[wave.clusters]
        finished = returned >= self._sizes[wave.clusters]
        if self._options.per_cluster is not None:
            shown = np.bincount(found.cluster_ids[order], minlength=len(self._sizes))[wave.clusters]
            finished |= shown >= self._options.per_cluster
        unfinished = wave.clusters[~finished]
        if len(unfinished) == 0:
            return True
        last = float(wave.found.member_scores[-1])
        bounds = np.minimum(self._bounds[unfinished], self._weight * self._scores[unfinished] + self._own * last)
        return bool(least > bounds.max())


class _Looked:
    """The photos that were looked at by their codes."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._parts: list[tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]] = []

    def add(
        self, clusters: IntArray, ids: IntArray, members: FloatArray, fused: FloatArray, errors: FloatArray
    ) -> None:
        """Takes the best of some clusters in: ids, members and fused are of shape (P, depth), the others (P,)."""
        depth = ids.shape[1]
        self._parts.append(
            (np.repeat(clusters, depth), ids.ravel(), members.ravel(), fused.ravel(), np.repeat(errors, depth))
        )

    def least(self, k: int) -> float:
        """The score that the k-th best of these has, as far as their codes say; -inf where there are fewer."""
        fused = np.concatenate([part[3] for part in self._parts])
        if len(fused) < k:
            return -np.inf
        return float(np.partition(fused, len(fused) - k)[len(fused) - k])

    def needed(self, k: int, *, certain: bool) -> tuple[IntArray, int]:
        """The clusters that hold the k best, and how many of their members are better than the worst of those."""
        clusters, ids, members, fused, errors = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        there = ids >= 0
        clusters, ids, members, fused, errors = (one[there] for one in (clusters, ids, members, fused, errors))
        if self._served.copies is not None:
            kept = self._served.first_copies(ids, fused)
            distinct = fused[kept]
        else:
            distinct = fused
        least = float(np.partition(distinct, len(distinct) - k)[len(distinct) - k]) if len(distinct) > k else -np.inf
        margin = errors if certain else np.minimum(errors, np.float32(_CODE_MARGIN))
        inside = fused + margin >= least - (margin if certain else 0)
        wanted = np.unique(clusters[inside])
        worst = members[inside].min() - 2 * float(margin.max())
        limit = int((np.isin(clusters, wanted) & (members >= worst)).sum())
        return wanted, limit + 1


def together(asked: Mapping[int, Request]) -> Iterator[tuple[list[int], Request]]:
    """Requests that one search of the store can answer: those for the same clusters.

    Args:
        asked: what each query asks for, by its number.

    Yields:
        The numbers of some queries, and what to ask for all of them; more than one of them asked for comes back to it.
    """
    alike: dict[bytes, list[int]] = {}
    for row, request in asked.items():
        alike.setdefault(np.sort(request.clusters).tobytes(), []).append(row)
    for rows in alike.values():
        limit = max(asked[row].limit for row in rows)
        yield rows, Request(asked[rows[0]].clusters, limit)
