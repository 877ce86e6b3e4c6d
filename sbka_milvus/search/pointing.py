"""Finding the best photos by their codes, and asking the store for those alone.

The codes say which photos can be among the k best, and their fine codes how they score, as well as float32 knows it.
The store is asked for those, by their ids: what they are called, and whether they are there still. Where others may
enter for them, those are asked for too. What was never asked for is bounded by its code's error or its cluster's
radius: a result can be certain.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.search.bounds import SLACK
from sbka_milvus.search.looks import Looks, Seen
from sbka_milvus.search.one_query import OneQuery
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.requests import Probed, See, These
from sbka_milvus.search.scores import select_probes
from sbka_milvus.types import Candidates, FloatArray, IntArray

MOST = 1000
"""Hits up to which photos are asked for by their ids: more are quicker had by their clusters."""

_FIRST_LOOK = 54
"""Clusters that are looked at first, where clusters count for nothing; and at least :data:`_LEAST_LOOK`.

The less clusters tell of their members, the more of them tell how far the best may exceed them."""
_LEAST_LOOK = 4
_LOOK = 128
"""Clusters whose codes are compared together."""
_SPARE = 4
_DEEPER = 4
_NONE: IntArray = np.empty(0, dtype=np.int64)
_FETCH = 1024
"""Photos that are asked for together."""


class Pointing(OneQuery):
    """One query on its way through a version that has codes; without a filter, and no fixed number of probes."""

    def __init__(self, looks: Looks, k: int, options: SearchOptions, *, deadline: float | None = None) -> None:
        super().__init__(looks, k, options, deadline=deadline)
        self._asked: IntArray = np.empty(0, dtype=np.int64)
        self._asked_from = math.inf
        self._most = k + _SPARE

    def run(self) -> Generator[These | See, Candidates, Probed]:
        """Asks for what is needed, and says what came of it."""
        looks, certain = self._looks, self._options.certain
        n_first = max(_LEAST_LOOK, math.ceil(_FIRST_LOOK * (1.0 - looks.weight) ** 1.5))
        first = select_probes(looks.scores, n_first, looks.sizes)
        if len(first):
            yield self._look(first)
        if certain:
            yield from self._look_everywhere()
        else:
            while len(left := looks.worth_looking(looks.least(self._k), certain=False, most=_LOOK)):
                yield self._look(left)
        while True:
            looks.refine(self._k, certain=certain)
            wanted = looks.finer(self._wanted())
            if len(wanted):
                self._parts.append((yield These(wanted.ids, wanted.clusters, wanted.members)))
                self._asked = np.sort(np.concatenate([self._asked, wanted.ids]))
                self._probed[wanted.clusters] = True
                self._rank()
            elif (further := self._further()) is not None:
                yield further
            else:
                break
            if self._is_late:
                break
        return self._outcome(exact=self._is_exact, rows=len(self._asked))

    def _look_everywhere(self) -> Generator[See, Candidates, None]:
        """Looks at all clusters that may hold one of the k best, the most promising first, until all such were seen."""
        looks, most = self._looks, _LOOK
        while True:
            # The better it is known what the hits score at least, the fewer others have to be kept in mind.
            looks.refine(self._k, certain=True)
            least = self._floor
            if math.isfinite(least):
                left = np.flatnonzero(looks.unseen(certain=True) >= least - SLACK)
                left = left[np.argsort(-looks.estimates()[left], kind="stable")][:most]
                most = len(looks.sizes)
            else:
                left = looks.worth_looking(least, certain=True, most=_LOOK)
            if len(left) == 0 or (math.isfinite(least) and self._is_late):
                return
            yield self._look(left)

    def _seen(self, certain: bool) -> Seen:
        """Members that were seen by their codes and not asked for yet."""
        seen = self._looks.seen
        left = seen.only(~contained(seen.ids, self._asked)) if len(self._asked) else seen
        return left if certain else left.with_errors_of(self._looks.usual_error)

    def _wanted(self) -> Seen:
        """Members that may be among the hits, the best first; no more clusters of them than are allowed."""
        if self._least >= self._asked_from:
            return self._looks.seen.only(_NONE)
        seen, least = self._seen(self._options.certain), self._least
        if not np.isfinite(least):
            # Fewer than k were found: as many again. Codes may have the k-th best of them too high.
            least = self._looks.least(self._k, seen.at_least)
        seen = seen.only(seen.fused + seen.errors >= least - SLACK)
        n_wanted = len(seen)
        seen = seen.only(np.lexsort((seen.ids, -seen.fused))[:_FETCH])
        if self._options.max_probe is None or len(seen) == 0:
            # Unless others are seen, only a lower score than this would ask for more.
            self._asked_from = least if len(seen) == n_wanted else math.inf
            return seen
        _, first, which = np.unique(seen.clusters, return_index=True, return_inverse=True)
        known = self._probed[seen.clusters]
        fresh = np.sort(first[~known[first]])[: self._room]
        return seen.only(known | contained(first[which], fresh))

    def _further(self) -> See | None:
        """What to look at that may hold one of the hits; none where nothing does, or no more is allowed."""
        looks, certain = self._looks, self._options.certain
        if self._room == 0:
            return None
        # Members that were seen are asked for already, as far as they may be among the hits.
        left = np.flatnonzero(self._may_enter(looks.unseen(certain=certain)))
        if len(left) == 0:
            return None
        fresh = looks.worth_looking(self._least - SLACK, certain=certain, most=_LOOK)
        if len(fresh):
            return self._look(fresh)
        self._most *= _DEEPER
        return self._look(left)

    def _look(self, clusters: IntArray) -> See:
        self._asked_from = math.inf
        floor = self._floor
        above = self._options.certain and math.isfinite(floor)
        return See(self._looks, clusters, None if above else self._most, floor)

    @property
    def _floor(self) -> float:
        """What scores less than k others that were seen do, or were found, is none of the hits."""
        looks = self._looks
        return min(looks.least(self._k, looks.seen.at_least), self._least if self._parts else math.inf)

    def _may_enter(self, scores: FloatArray) -> NDArray[np.bool_]:
        """Which scores would be among those of the hits."""
        return np.isfinite(scores) & (scores >= self._least - SLACK)

    @property
    def _is_exact(self) -> bool:
        """Whether nothing that was not asked for can be one of the hits."""
        left = self._seen(certain=True)
        return not (
            self._may_enter(self._looks.unseen(certain=True)).any() or self._may_enter(left.fused + left.errors).any()
        )


def contained(values: IntArray, among: IntArray) -> NDArray[np.bool_]:
    """Which values are among others, which are in order: for few of both, where numpy's ``isin`` takes 0.1 ms.

    >>> contained(np.array([3, 9, 1]), np.array([1, 2, 3])).tolist()
    [True, False, True]
    >>> contained(np.array([3]), np.array([], dtype=np.int64)).tolist()
    [False]
    """
    if len(among) == 0:
        return np.zeros(len(values), dtype=np.bool_)
    at = np.minimum(np.searchsorted(among, values), len(among) - 1)
    return np.asarray(among[at] == values)
