"""What a query asks the store for, and which queries can be answered together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sbka_milvus.search.looks import Looks
from sbka_milvus.types import Candidates, FloatArray, IntArray, StoredRows


@dataclass(frozen=True, slots=True)
class BestOf:
    """The ``limit`` best members of some clusters."""

    clusters: IntArray
    limit: int


@dataclass(frozen=True, slots=True)
class These:
    """Photos by their ids; ``clusters`` says where each lies, and ``members`` their cosines by their fine codes."""

    ids: IntArray
    clusters: IntArray
    members: FloatArray


@dataclass(frozen=True, slots=True)
class See:
    """The members of some clusters by their codes: nothing comes back, the ``looks`` know them then.

    Those that cannot score ``floor`` are not kept in mind, nor those that are not among the ``most`` best of them all.
    Without ``most`` nothing else is read of them than what tells those apart that can.
    """

    looks: Looks
    clusters: IntArray
    most: int | None
    floor: float = -math.inf


Request = BestOf | These | See


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a query.

    Attributes:
        found: all candidates.
        order: positions of the best among them, best first, shape (n,), int64.
        fused: their scores, shape (n,), float32.
        clusters: those that were looked into, nearest first, shape (P,), int64.
        exact: whether nothing that was left out can be a better photo.
        rows: photos that were compared with the query.
        codes: photos of which the codes alone were.
        halves: photos of which half a code was.
    """

    found: Candidates
    order: IntArray
    fused: FloatArray
    clusters: IntArray
    exact: bool
    rows: int
    codes: int
    halves: int


@dataclass
class Fetched:
    """What was asked of the store for one search.

    Attributes:
        follows: whether photos are fetched from the version that is served, or else not at all.
        vectors: photos whose vectors were fetched: a re-ranker may need them.
        told: answers that came from the version that was served at the time.
        untold: answers of which that is not known.
    """

    follows: bool
    vectors: list[StoredRows] = field(default_factory=list)
    told: int = 0
    untold: int = 0

    def take(self, stored: StoredRows, *, vectors: bool) -> None:
        """Takes photos that were fetched."""
        if vectors:
            self.vectors.append(stored)
        if self.follows:
            self.told += 1
        else:
            self.untold += 1

    @property
    def is_served(self) -> bool:
        """Whether all of it is of the version that was served all along."""
        return self.told > 0 and self.untold == 0


def see(requests: Sequence[See]) -> None:
    """Compares the codes that some queries of one version ask for; those of which all are read together."""
    whole: list[tuple[See, int]] = []
    for request in requests:
        if request.most is None:
            looks, clusters = request.looks, request.clusters
            least = looks.least_members(clusters, request.floor)
            places, members, ids, read = looks.codes.above(looks.turned, clusters, looks.scores[clusters], least)
            looks.see_above(clusters, request.floor, places, members, ids, read)
        else:
            whole.append((request, request.most))
    if not whole:
        return
    n_clusters = [len(one.clusters) for one, _ in whole]
    counts, members, ids = whole[0][0].looks.codes.members(
        np.stack([one.looks.turned for one, _ in whole]),
        np.repeat(np.arange(len(whole)), n_clusters),
        np.concatenate([one.clusters for one, _ in whole]),
        np.concatenate([one.looks.scores[one.clusters] for one, _ in whole]),
    )
    pair = start = 0
    for (one, most), n_pairs in zip(whole, n_clusters, strict=True):
        own = counts[pair : pair + n_pairs]
        rows = slice(start, start + int(own.sum()))
        one.looks.see(one.clusters, most, own, members[rows], ids[rows], one.floor)
        pair, start = pair + n_pairs, rows.stop


def searches(asked: Mapping[int, Request]) -> Iterator[tuple[list[int], BestOf]]:
    """Searches of the store: one for all queries that ask for the same clusters.

    Args:
        asked: what each query asks for, by its number.

    Yields:
        The numbers of some queries, and what to ask for all of them; more than one of them asked for comes back to it.
    """
    alike: dict[bytes, list[int]] = {}
    wanted = {row: request for row, request in asked.items() if isinstance(request, BestOf)}
    for row, request in wanted.items():
        alike.setdefault(np.sort(request.clusters).tobytes(), []).append(row)
    for rows in alike.values():
        yield rows, BestOf(wanted[rows[0]].clusters, max(wanted[row].limit for row in rows))


def fetches(asked: Mapping[int, Request]) -> tuple[dict[int, These], IntArray, IntArray]:
    """The queries that ask for photos by their ids; and the ids and clusters of all of those photos, each once."""
    wanted = {row: request for row, request in asked.items() if isinstance(request, These)}
    if not wanted:
        return {}, np.empty(0, np.int64), np.empty(0, np.int64)
    ids, first = np.unique(np.concatenate([one.ids for one in wanted.values()]), return_index=True)
    return wanted, ids, np.concatenate([one.clusters for one in wanted.values()])[first]


def candidates_of(request: These, stored: StoredRows) -> Candidates:
    """The photos that one query asked for, of those that were fetched for all.

    Args:
        request: what it asked for.
        stored: the photos, in the order of their ids.
    """
    at = np.searchsorted(stored.ids, request.ids)
    there = at < len(stored)
    there[there] = stored.ids[at[there]] == request.ids[there]  # others were deleted
    rows = at[there]
    scores = request.members[there]
    order = np.lexsort((stored.ids[rows], -scores))
    rows = rows[order]
    return Candidates(
        stored.ids[rows], tuple(stored.uris[row] for row in rows), stored.cluster_ids[rows], scores[order]
    )
