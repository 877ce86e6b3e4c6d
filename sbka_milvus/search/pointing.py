"""Finding the best photos by their codes, and scoring those alone by their vectors in the store.

The codes say which photos can be among the k best; the store is asked for those, by their ids, and their true scores
decide. Where it turns out that others may still enter (photos were deleted meanwhile, or codes were off), those are
asked for too. What was never asked for is bounded by its code's error or its cluster's radius: a result can be certain.
"""

from __future__ import annotations

import time
from collections.abc import Generator

import numpy as np

from sbka_milvus.search.bounds import SLACK
from sbka_milvus.search.looks import Looks, Seen
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.requests import Probed, These
from sbka_milvus.search.scores import select_probes
from sbka_milvus.search.served import Served, merged
from sbka_milvus.types import Candidates, FloatArray, IntArray

MOST = 1000
"""Hits up to which photos are asked for by their ids: more are quicker had by their clusters."""

_FIRST_LOOK = 16
_LOOK = 128
"""Clusters whose codes are compared together."""
_SPARE = 4
_DEEPER = 4
_FETCH = 1024
"""Photos that are asked for together."""


class Pointing:
    """One query on its way through a version that has codes.

    Args:
        served: the version.
        query: shape (D,), float32: as the version is searched.
        scores: shape (K,), float32: cosines of the query and the centroids.
        k: hits that are wanted, those that are left out by the offset included.
        options: how to search; no filter, no fixed number of probes.
        weight: of the cluster score.
        deadline: of :func:`time.monotonic`, after which nothing more is asked for; none: for as long as it takes.
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
        deadline: float | None = None,
    ) -> None:
        self._served = served
        self._looks = Looks(served, query, scores, weight)
        self._k = k
        self._options = options
        self._deadline = deadline
        self._parts: list[Candidates] = []
        self._asked: IntArray = np.empty(0, dtype=np.int64)
        self._probed = np.zeros(len(scores), dtype=np.bool_)

    def run(self) -> Generator[These, Candidates, Probed]:
        """Asks for what is needed, and says what came of it."""
        looks, certain = self._looks, self._options.certain
        looks.look(select_probes(looks.scores, _FIRST_LOOK, looks.sizes), self._k + _SPARE)
        while len(left := looks.worth_looking(looks.least(self._k), certain=certain, most=_LOOK)):
            looks.look(left, self._k + _SPARE)
        least = -np.inf
        while True:
            wanted = self._wanted(least)
            if len(wanted):
                self._parts.append((yield These(wanted.ids, wanted.clusters)))
                self._asked = np.concatenate([self._asked, wanted.ids])
                self._probed[wanted.clusters] = True
                fused = self._ranked()[2]
                least = float(fused[self._k - 1]) if len(fused) >= self._k else -np.inf
            elif not self._look_further(least):
                break
            if self._deadline is not None and time.monotonic() >= self._deadline:
                break
        found, order, fused = self._ranked()
        clusters = np.flatnonzero(self._probed)
        return Probed(
            found=found,
            order=order,
            fused=fused,
            clusters=clusters[np.argsort(-looks.scores[clusters], kind="stable")],
            exact=not self._open(least, certain=True).any(),
            rows=len(self._asked),
            codes=looks.n_seen,
        )

    def _seen(self, certain: bool) -> Seen:
        """Members that were seen by their codes and not asked for yet."""
        seen = self._looks.seen
        left = seen.only(~np.isin(seen.ids, self._asked)) if len(self._asked) else seen
        return left if certain else left.with_errors_of(self._looks.usual_error)

    def _wanted(self, least: float) -> Seen:
        """Members that may score ``least``, the best first; no more clusters of them than are allowed.

        Args:
            least: the score; -inf: whatever is best.
        """
        seen = self._seen(self._options.certain)
        if not np.isfinite(least):
            # Fewer than k were found: as many again. Codes may have the k-th best of them too high.
            least = self._looks.least(self._k, seen) - self._looks.usual_error
        seen = seen.only(seen.fused + seen.errors >= least - SLACK)
        seen = seen.only(np.lexsort((seen.ids, -seen.fused))[:_FETCH])
        most = self._options.max_probe
        if most is None or len(seen) == 0:
            return seen
        _, first, which = np.unique(seen.clusters, return_index=True, return_inverse=True)
        known = self._probed[seen.clusters]
        fresh = np.sort(first[~known[first]])[: max(0, most - int(self._probed.sum()))]
        return seen.only(known | np.isin(first[which], fresh))

    def _look_further(self, least: float) -> bool:
        """Looks at what may hold a photo that scores ``least``; false where nothing does, or no more is allowed."""
        looks = self._looks
        most = self._options.max_probe
        if most is not None and self._probed.sum() >= most:
            return False
        left = looks.worth_looking(least - SLACK, certain=self._options.certain, most=_LOOK)
        if len(left):
            looks.look(left, self._k + _SPARE)
            return True
        deeper = np.flatnonzero(self._open(least, certain=self._options.certain))
        deeper = deeper[looks.depths[deeper] < looks.sizes[deeper]]
        if len(deeper) == 0:
            return False
        looks.look(deeper, int(min(looks.depths[deeper].max() * _DEEPER, looks.sizes[deeper].max())))
        return True

    def _open(self, least: float, *, certain: bool) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Clusters that may hold a photo which was not asked for and scores ``least``."""
        looks = self._looks
        rest = np.where(looks.looked, -np.inf, looks.bounds if certain else looks.estimates())
        left = self._seen(certain)
        np.maximum.at(rest, left.clusters, left.fused + left.errors)
        # Of a cluster that was not seen to its end: none of the others is better than the last one that was.
        seen = looks.seen if certain else looks.seen.with_errors_of(looks.usual_error)
        last = np.full(len(rest), np.inf, dtype=np.float32)
        np.minimum.at(last, seen.clusters, seen.fused + seen.errors)
        cut = looks.looked & (looks.depths < looks.sizes)
        rest[cut] = np.maximum(rest[cut], last[cut])
        return (looks.sizes > 0) & np.isfinite(rest) & (rest >= least - SLACK)

    def _ranked(self) -> tuple[Candidates, IntArray, FloatArray]:
        found = merged(self._parts)
        order, fused = self._served.ranked(found, self._looks.scores, self._looks.weight)
        return found, order, fused
