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
from sbka_milvus.search.bounds import SLACK, member_bounds
from sbka_milvus.search.served import Served
from sbka_milvus.types import FloatArray, IntArray

_USUAL_ERROR = 2e-3
"""By how much the cosine of a code is off at most, as a rule."""
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
        looked: shape (K,), bool: whether members were seen by their codes.
        depths: shape (K,), int64: how many of them at least; all of them where it is the cluster's size.
        lasts: shape (K,), float32: the codes of the others of its cluster give no fused score that is higher.
        seen: those members, the best of each cluster.
    """

    def __init__(self, served: Served, scores: FloatArray, weight: float, turned: FloatArray | None = None) -> None:
        self.scores = scores
        self.sizes = served.table.sizes
        self.bounds = weight * scores + (1.0 - weight) * member_bounds(scores, served.table.radii)
        self.looked: _BOOL = np.zeros(len(scores), dtype=np.bool_)
        self.depths: IntArray = np.zeros(len(scores), dtype=np.int64)
        self.lasts: FloatArray = np.full(len(scores), np.inf, dtype=np.float32)
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
        return int(self.sizes[self.looked].sum()) - self.n_seen

    @property
    def usual_error(self) -> float:
        """By how much the fused score that a code gives is off at most, as a rule."""
        return (1.0 - self.weight) * _USUAL_ERROR

    def errors_of(self, clusters: IntArray) -> FloatArray:
        """By how much the fused score that a code gives may be off, in some clusters; shape (P,), float32."""
        return np.asarray((1.0 - self.weight) * self.codes.errors[clusters], dtype=np.float32)

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

    def see(self, clusters: IntArray, depth: int, members: FloatArray, ids: IntArray, floor: float = -math.inf) -> None:
        """Takes what the codes of some clusters say.

        Args:
            clusters: shape (P,), int64.
            depth: members of each that were asked for.
            members: shape (P, depth), float32: their cosines, best first, -inf where there are no more.
            ids: shape (P, depth), int64, -1 where there are no more.
            floor: members that cannot score so much are not kept in mind.
        """
        self._refined = 0
        self._whole[clusters] = self.sizes[clusters]
        scores = self.scores[clusters]
        errors = self.errors_of(clusters)
        self.note(members[:, 0] - scores)
        best = self.weight * scores + (1.0 - self.weight) * members[:, 0] + errors
        self.bounds[clusters] = np.minimum(self.bounds[clusters], best)
        there = ids >= 0
        members = np.where(there, members, np.float32(0))
        fused = self.weight * scores[:, np.newaxis] + (1.0 - self.weight) * members
        kept = there & (fused + errors[:, np.newaxis] >= floor - SLACK)
        # The best come first: those that are not kept are the last ones.
        n_kept = np.count_nonzero(kept, axis=1)
        cut = n_kept < np.count_nonzero(there, axis=1)
        rows, places = np.nonzero(kept)
        self._keep(clusters, rows, members[rows, places], ids[rows, places])
        self.depths[clusters] = np.where(cut, n_kept, depth)
        self.lasts[clusters] = np.where(there[:, -1], fused[:, -1], -np.inf)
        self.lasts[clusters[cut]] = fused[cut, n_kept[cut]]

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
        errors, found = self.errors_of(clusters), np.bincount(rows, minlength=len(clusters))
        # None of the others scores so much, be its code off as far as it may.
        others = np.float32(floor - _BELOW) - errors
        best = np.where(self.sizes[clusters] > found, others, np.float32(-np.inf))
        fused = self.weight * self.scores[clusters[rows]] + np.float32(1.0 - self.weight) * members
        np.maximum.at(best, rows, fused)
        self.bounds[clusters] = np.minimum(self.bounds[clusters], best + errors)
        self._keep(clusters, rows, members, ids)
        self.depths[clusters] = found
        self.lasts[clusters] = others

    def _keep(self, clusters: IntArray, rows: IntArray, members: FloatArray, ids: IntArray) -> None:
        """Keeps members of some clusters in mind, in the place of what was seen of those before."""
        before = self.seen
        if self.looked[clusters].any():
            again = np.zeros(len(self.looked), dtype=np.bool_)
            again[clusters] = True
            before = before.only(~again[before.clusters])
        self.looked[clusters] = True
        of, own = clusters[rows], np.float32(1.0 - self.weight)
        fused = np.asarray(self.weight * self.scores[of] + own * members, dtype=np.float32)
        fresh = Seen(of, ids, members, fused, self.errors_of(of), np.zeros(len(ids), dtype=np.bool_))
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
        guessed = self.scores + np.float32((1.0 - self.weight) * self._excess)
        return np.where(self.looked, self.bounds, np.minimum(self.bounds, guessed))

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
        estimates = self.estimates()
        left = np.flatnonzero((self.sizes > 0) & ~self.looked & ((self.bounds if certain else estimates) >= least))
        return left[np.argsort(-estimates[left], kind="stable")][:most]
