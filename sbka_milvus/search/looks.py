"""What one query knows of a version's clusters: bounds of their members' scores, and members seen by their codes.

**Bounds.** A member's cosine is at most what its cluster's radius allows (:mod:`~sbka_milvus.search.bounds`), and at
most its code's plus the error of its cluster's codes (:class:`~sbka_milvus.protocols.MemberCodes`).

**Estimates.** Codes are off by far less than their errors, which are worst cases. And a cluster that was not looked at
is taken to have no member that exceeds its centroid's score by more than the best of those that were looked at do,
which are the nearest ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.protocols import MemberCodes
from sbka_milvus.search.bounds import SLACK
from sbka_milvus.search.served import Served
from sbka_milvus.types import FloatArray, IntArray

_USUAL_ERROR = 2e-3
"""By how much the cosine of a code is off at most, as a rule."""
_REACH = 3
"""Codes of members that may be better than each other differ by no more usual errors: each may be off by one."""
_BELOW = 4 * SLACK
"""So much below what is wanted codes are looked for: what float32 is wrong by leaves nothing out."""
_BOOL = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Seen:
    """Members seen by their codes.

    Attributes:
        clusters: shape (n,), int64.
        ids: shape (n,), int64.
        members: shape (n,), float32: their cosines, as their codes have it.
        fused: shape (n,), float32: their fused scores, likewise.
        errors: shape (n,), float32: by how much the fused scores may be off.
        fine: shape (n,), bool: whether they come from fine codes.
    """

    clusters: IntArray
    ids: IntArray
    members: FloatArray
    fused: FloatArray
    errors: FloatArray
    fine: _BOOL

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, rows: IntArray | _BOOL) -> Seen:
        """Some of them."""
        return Seen(
            self.clusters[rows],
            self.ids[rows],
            self.members[rows],
            self.fused[rows],
            self.errors[rows],
            self.fine[rows],
        )

    def with_errors_of(self, most: float) -> Seen:
        """The same, with errors that are no greater."""
        errors = np.minimum(self.errors, np.float32(most))
        return replace(self, errors=errors)

    @property
    def at_least(self) -> Seen:
        """The same, with scores that are no higher than the true ones."""
        return replace(self, fused=self.fused - self.errors)


_NOTHING = Seen(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.float32),
    np.empty(0, np.float32),
    np.empty(0, np.float32),
    np.empty(0, np.bool_),
)


class Looks:
    """The clusters of a version, as one query sees them.

    Args:
        served: the version.
        scores: shape (K,), float32: cosines of the query and the centroids.
        weight: of the cluster score.
        turned: shape (D,), float32: the query as codes are compared with it; none: there are no codes.

    Attributes:
        served: see above.
        scores: see above.
        weight: see above.
        sizes: shape (K,), int64.
        bounds: shape (K,), float32: no member scores higher.
        errors: shape (K,), float32: by how much the fused score that a code gives may be off.
        fresh: shape (K,), bool: whether there are members, none of which was seen by its code.
        others: shape (K,), float32: the codes of members that are not in ``seen``, of clusters that are not fresh, give
            no fused score that is higher; -inf where there are none.
        seen: members that were seen by their codes, and are kept in mind.
    """

    def __init__(self, served: Served, scores: FloatArray, weight: float, turned: FloatArray | None = None) -> None:
        self.scores = scores
        self.sizes = served.table.sizes
        own = np.float32(1.0 - weight)
        self.bounds = np.float32(weight) * scores + own * served.radii.member_bounds(scores)
        self.errors: FloatArray = np.zeros_like(scores) if served.codes is None else own * served.codes.errors
        self.fresh: _BOOL = self.sizes > 0
        self.others: FloatArray = np.full(len(scores), -np.inf, dtype=np.float32)
        self.seen = _NOTHING
        self.weight = weight
        self.served = served
        self._turned = turned
        self._whole: IntArray = np.zeros(len(scores), dtype=np.int64)
        self._excess = -np.inf
        self._refined = 0
        """For how many members what was seen is refined."""

    @property
    def has_codes(self) -> bool:
        """Whether members can be seen by codes."""
        return self.served.codes is not None

    @property
    def n_seen(self) -> int:
        """Photos of which the whole codes were compared."""
        return int(self._whole.sum())

    @property
    def n_half(self) -> int:
        """Photos of which half a code was compared, and no more."""
        return int(self.sizes[~self.fresh].sum()) - self.n_seen

    @property
    def usual_error(self) -> float:
        """By how much the fused score that a code gives is off at most, as a rule."""
        return (1.0 - self.weight) * _USUAL_ERROR

    @property
    def codes(self) -> MemberCodes:
        """Of the version, which has some."""
        codes = self.served.codes
        assert codes is not None
        return codes

    @property
    def turned(self) -> FloatArray:
        """The query as they are compared with it."""
        assert self._turned is not None
        return self._turned

    def see(
        self,
        clusters: IntArray,
        most: int,
        counts: IntArray,
        members: FloatArray,
        ids: IntArray,
        floor: float = -math.inf,
    ) -> None:
        """Takes what the codes of some clusters say of all their members.

        Args:
            clusters: shape (P,), int64.
            most: so many of the best, equal photos once, and those that may be as good are kept in mind.
            counts: shape (P,), int64: how many members each has: none, where all were removed before codes were made.
            members: shape (n,), float32: their cosines, cluster by cluster.
            ids: shape (n,), int64.
            floor: members that cannot score so much are not kept in mind.
        """
        self._refined = 0
        self._whole[clusters] = counts
        scores, errors, own = self.scores[clusters], self.errors[clusters], np.float32(1.0 - self.weight)
        ends, there = np.cumsum(counts), np.flatnonzero(counts)
        near = np.float32(self.weight) * scores
        found = np.maximum.reduceat(members, (ends - counts)[there])
        self.note(found - scores[there])
        best = np.full(len(clusters), -np.inf, dtype=np.float32)
        best[there] = near[there] + own * found + errors[there]
        self.bounds[clusters] = np.minimum(self.bounds[clusters], best)
        fused = np.repeat(near, counts) + own * members
        least = np.maximum(self._kept_from(fused, ids, most), np.float32(floor - _BELOW) - errors)
        kept = np.flatnonzero(fused >= np.repeat(least, counts))
        rows = np.searchsorted(ends, kept, side="right")
        self._keep(clusters, rows, members[kept], ids[kept])
        n_kept = np.bincount(rows, minlength=len(clusters))
        self.others[clusters] = np.where(n_kept < counts, least, np.float32(-np.inf))

    def _kept_from(self, fused: FloatArray, ids: IntArray, most: int) -> float:
        """The score by its code from which a member may be among the ``most`` best of all of these; -inf for all."""
        while len(fused) > most:
            last = float(np.partition(fused, len(fused) - most)[len(fused) - most])
            least = last - _REACH * self.usual_error - _BELOW
            if self.served.copies is None:
                return least
            best = np.flatnonzero(fused >= least)
            if len(self.served.first_copies(ids[best], fused[best])) >= most:
                return least
            most *= 4
        return -math.inf

    def least_members(self, clusters: IntArray, floor: float) -> FloatArray:
        """The cosine that a member must have to score ``floor``.

        Returns:
            shape (P,), float32, in [-2, 2]: beyond that all do, or none.
        """
        own = max(1.0 - self.weight, 1e-9)
        least = (floor - _BELOW - self.weight * self.scores[clusters].astype(np.float64)) / own
        return np.asarray(np.clip(least, -2.0, 2.0), dtype=np.float32)

    def see_above(
        self,
        clusters: IntArray,
        floor: float,
        rows: IntArray,
        members: FloatArray,
        ids: IntArray,
        whole: IntArray,
    ) -> None:
        """Takes what the codes of some clusters say, of all members that can score ``floor``.

        Args:
            clusters: shape (P,), int64.
            floor: see above.
            rows: shape (n,), int64: the place of each member's cluster among them.
            members: shape (n,), float32: their cosines.
            ids: shape (n,), int64.
            whole: shape (P,), int64: of how many members of each the whole code was compared.
        """
        self._refined = 0
        self._whole[clusters] = np.maximum(self._whole[clusters], whole)
        self.note(members - self.scores[clusters[rows]])
        errors, found = self.errors[clusters], np.bincount(rows, minlength=len(clusters))
        # None of the others scores so much, be its code off as far as it may.
        others = np.where(self.sizes[clusters] > found, np.float32(floor - _BELOW) - errors, np.float32(-np.inf))
        best = others.copy()
        fused = self.weight * self.scores[clusters[rows]] + np.float32(1.0 - self.weight) * members
        np.maximum.at(best, rows, fused)
        self.bounds[clusters] = np.minimum(self.bounds[clusters], best + errors)
        self._keep(clusters, rows, members, ids)
        self.others[clusters] = others

    def _keep(self, clusters: IntArray, rows: IntArray, members: FloatArray, ids: IntArray) -> None:
        """Keeps members of some clusters in mind, in the place of what was seen of those before."""
        before = self.seen
        if not self.fresh[clusters].all():
            again = np.zeros(len(self.fresh), dtype=np.bool_)
            again[clusters] = True
            before = before.only(~again[before.clusters])
        self.fresh[clusters] = False
        of, own = clusters[rows], np.float32(1.0 - self.weight)
        fused = np.asarray(self.weight * self.scores[of] + own * members, dtype=np.float32)
        fresh = Seen(of, ids, members, fused, self.errors[of], np.zeros(len(ids), dtype=np.bool_))
        if len(before) == 0:
            self.seen = fresh
            return
        self.seen = Seen(
            np.concatenate([before.clusters, fresh.clusters]),
            np.concatenate([before.ids, fresh.ids]),
            np.concatenate([before.members, fresh.members]),
            np.concatenate([before.fused, fresh.fused]),
            np.concatenate([before.errors, fresh.errors]),
            np.concatenate([before.fine, fresh.fine]),
        )

    def refine(self, k: int, *, certain: bool) -> None:
        """Sees those members by their fine codes that may be among the k best of all that were seen.

        Args:
            k: at least 1.
            certain: whether by the errors of their codes, or by what those usually are.
        """
        if self._refined == k:
            return
        self._refined = k
        seen = self.seen if certain else self.seen.with_errors_of(self.usual_error)
        least = self.least(k, seen.at_least)
        self.seen = self._finer(self.seen, ~seen.fine & (seen.fused + seen.errors >= least - SLACK))

    def finer(self, seen: Seen) -> Seen:
        """The same members, all of them by their fine codes."""
        return self._finer(seen, ~seen.fine)

    def _finer(self, seen: Seen, which: _BOOL) -> Seen:
        codes, rows = self.served.codes, np.flatnonzero(which)
        if codes is None or len(rows) == 0:
            return seen
        members, errors = codes.finer(self.turned, seen.ids[rows], seen.members[rows])
        seen = replace(
            seen, members=seen.members.copy(), fused=seen.fused.copy(), errors=seen.errors.copy(), fine=seen.fine.copy()
        )
        own = np.float32(1.0 - self.weight)
        seen.members[rows] = members
        seen.fused[rows] = self.weight * self.scores[seen.clusters[rows]] + own * members
        seen.errors[rows] = own * errors
        seen.fine[rows] = True
        return seen

    def note(self, excess: FloatArray) -> None:
        """Takes note of by how much members exceed their centroids' scores."""
        if len(excess):
            self._excess = max(self._excess, float(excess.max()))

    def estimates(self) -> FloatArray:
        """How well the best member of each cluster is taken to score; shape (K,), float32."""
        return np.where(self.fresh, self._guesses(), self.bounds)

    def _guesses(self) -> FloatArray:
        """As :meth:`estimates`, of clusters that are fresh."""
        guesses: FloatArray = self.scores + np.float32((1.0 - self.weight) * self._excess)
        return np.minimum(self.bounds, guesses)

    def unseen(self, *, certain: bool) -> FloatArray:
        """How well members that are not in ``seen`` may score.

        Args:
            certain: whether by bounds, or by estimates.

        Returns:
            shape (K,), float32; -inf where there are none.
        """
        errors = self.errors if certain else np.minimum(self.errors, np.float32(self.usual_error))
        rest = self.bounds if certain else self._guesses()
        return np.where(self.fresh, rest, self.others + errors)

    def least(self, k: int, seen: Seen | None = None) -> float:
        """The score of the k-th best of the members that were seen, equal photos once; -inf where there are fewer.

        Args:
            k: at least 1.
            seen: some of them; none: all.
        """
        seen = self.seen if seen is None else seen
        fused = seen.fused
        if len(fused) >= k and self.served.copies is not None:
            fused = fused[self.served.first_copies(seen.ids, fused)]
        if len(fused) < k:
            return -np.inf
        return float(np.partition(fused, len(fused) - k)[len(fused) - k])

    def worth_looking(self, least: float, *, certain: bool, most: int) -> IntArray:
        """The most promising clusters that were not looked at and may hold a member that scores ``least``.

        Args:
            least: the score.
            certain: whether clusters are left out by bounds, or by estimates.
            most: of them.
        """
        guesses = self._guesses()
        left = np.flatnonzero(self.fresh & ((self.bounds if certain else guesses) >= least))
        return left[np.argsort(-guesses[left], kind="stable")][:most]
