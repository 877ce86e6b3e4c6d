"""A version as a search sees it: its clusters, and what its vectors were lifted by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sbka_milvus.errors import EncoderMismatch, InvalidValue, MatchingError
from sbka_milvus.protocols import Copies, Matching, MatchingOf, MemberCodes
from sbka_milvus.search.bounds import Radii
from sbka_milvus.search.copies import first_of_each
from sbka_milvus.search.fusion import rerank
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.types import Candidates, ClusterTable, FloatArray, IntArray, ScoreParts, VersionInfo

NOTHING = Candidates(np.empty(0, dtype=np.int64), (), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
"""No candidates."""


def require_model(info: VersionInfo, fingerprint: str) -> None:
    """Refuses an encoder that did not make a version's vectors.

    Raises:
        EncoderMismatch: Naming both.
    """
    if info.fingerprint != fingerprint:
        raise EncoderMismatch(
            f"The gallery {info.gallery!r} was embedded with the model {info.fingerprint}, "
            f"and this query was with {fingerprint}: their vectors cannot be compared.",
            "Search with the gallery's own model, or ingest the photos again with the new one.",
        )


@dataclass(frozen=True, slots=True)
class Served:
    """A version, its clusters and its matching, read together so that a search never mixes two versions.

    Attributes:
        info: what it says of itself.
        table: its clusters, in the space of its vectors.
        matching: what its vectors were lifted by; none where they are the photos' own.
        copies: which of its photos are equal; none where none are, or each is to be shown.
        codes: its photos in short; none where there are no codes of it.
        radii: of its clusters.
    """

    info: VersionInfo
    table: ClusterTable
    matching: Matching | None = None
    copies: Copies | None = None
    codes: MemberCodes | None = None
    radii: Radii = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "radii", Radii(self.table.radii))

    def ranked(
        self, found: Candidates, scores: FloatArray, weight: float, per_cluster: int | None = None
    ) -> tuple[IntArray, FloatArray]:
        """Candidates by their fused scores, best first, equal photos once.

        Args:
            found: n candidates.
            scores: shape (K,), float32: of all clusters.
            weight: of :meth:`fusion_weight`.
            per_cluster: at most so many of one cluster; none: any number.

        Returns:
            Positions among the candidates, shape (m,), int64, and their scores, shape (m,), float32.
        """
        order, fused = rerank(found, scores, weight)
        if self.copies is not None:
            kept = first_of_each(self.copies.groups_of(found.ids)[order])
            order, fused = order[kept], fused[kept]
        if per_cluster is not None:
            kept = np.flatnonzero(_occurrences(found.cluster_ids[order]) < per_cluster)
            order, fused = order[kept], fused[kept]
        return order, fused

    def first_copies(self, ids: IntArray, scores: FloatArray) -> IntArray:
        """Positions of the best of equal photos, and of all that have no copies."""
        if self.copies is None:
            return np.arange(len(ids), dtype=np.int64)
        order = np.lexsort((ids, -scores))
        return order[first_of_each(self.copies.groups_of(ids)[order])]

    def queries(self, vectors: FloatArray) -> FloatArray:
        """Sketches as this version is searched with them.

        Args:
            vectors: shape (Q, D), float32, unit rows, as encoded.

        Raises:
            InvalidValue: The shape does not fit.
        """
        return vectors if self.matching is None else self.matching.queries(vectors)

    def fusion_weight(self, options: SearchOptions) -> float:
        """By how much the cosine with a cluster's centroid counts beside that with a photo of this version.

        0 where the vectors were lifted: what photos owe to their clusters lies in their vectors already.

        Raises:
            InvalidValue: The vectors were lifted, and another weight than theirs is asked for.
        """
        if self.matching is None:
            return options.default_weight if options.cluster_weight is None else options.cluster_weight
        own = self.matching.cluster_weight
        if options.cluster_weight not in (None, own):
            raise InvalidValue(
                f"Version {self.info.version} of the gallery {self.info.gallery!r} has the cluster weight {own:g} in "
                f"its vectors, so it cannot be searched with {options.cluster_weight:g}.",
                "Leave the weight out, or ingest with SBKA_INGEST__MATCHING=fused to choose it search by search.",
            )
        return 0.0

    def parts(
        self, query: FloatArray, found: Candidates, fused: FloatArray, cluster_scores: FloatArray, weight: float
    ) -> ScoreParts:
        """What the scores of photos are made of.

        Args:
            query: shape (dim of the version,), float32: one row of :meth:`queries`.
            found: n photos.
            fused: shape (n,), float32: their scores, as they were ranked.
            cluster_scores: shape (K,), float32: of all clusters.
            weight: of :meth:`fusion_weight`.
        """
        if self.matching is not None:
            return self.matching.parts(query, found.ids, found.member_scores)
        none = np.zeros(len(found), dtype=np.float32)
        return ScoreParts(fused, cluster_scores[found.cluster_ids], found.member_scores, none, weight)


def find_matching(info: VersionInfo, matching_of: MatchingOf | None) -> Matching | None:
    """What a version was lifted by; none where its vectors are the photos' own.

    Raises:
        MatchingError: It is missing or damaged, or nobody knows where it is.
    """
    if not info.matching:
        return None
    found = None if matching_of is None else matching_of(info)
    if found is None:
        raise MatchingError(
            f"Version {info.version} of the gallery {info.gallery!r} is matched by a file in the gallery's folder.",
            "Open the gallery from its folder; or ingest with SBKA_INGEST__MATCHING=fused, which needs no file.",
        )
    return found


def only(found: Candidates, rows: IntArray) -> Candidates:
    """Some of the candidates, in the order of ``rows``."""
    return Candidates(
        found.ids[rows], tuple(found.uris[row] for row in rows), found.cluster_ids[rows], found.member_scores[rows]
    )


def merged(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of several searches, best member score first, ties by id."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NOTHING
    ids = np.concatenate([part.ids for part in parts])
    uris = tuple(uri for part in parts for uri in part.uris)
    cluster_ids = np.concatenate([part.cluster_ids for part in parts])
    member_scores = np.concatenate([part.member_scores for part in parts])
    return only(Candidates(ids, uris, cluster_ids, member_scores), np.lexsort((ids, -member_scores)))


def _occurrences(values: IntArray) -> IntArray:
    """How often each value came before.

    >>> _occurrences(np.array([5, 3, 5, 5, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_values[1:] != sorted_values[:-1]]))
    lengths = np.diff(np.append(starts, len(values)))
    result = np.empty(len(values), dtype=np.int64)
    result[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return result
