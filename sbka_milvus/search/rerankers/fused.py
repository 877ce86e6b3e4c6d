"""The one-to-many score as a re-ranker: what the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.types import ClusterTable, FloatArray, Shortlist


@dataclass(frozen=True, slots=True)
class FusedReranker:
    """score(q, x) = w cos(q, centroid of x) + (1 - w) cos(q, x), as the search scored it: the order stays as it is.

    The formula's source: :mod:`sbka_milvus.search.fusion`; in a version of the form *linear* that version's own.
    """

    @property
    def name(self) -> str:
        """``fused``."""
        return "fused"

    def depth(self, k: int) -> int:
        """k: nothing that is not a hit can become one."""
        return k

    def scores(self, query: FloatArray, photos: Shortlist, table: ClusterTable) -> FloatArray:
        """See :class:`~sbka_milvus.protocols.Reranker`."""
        return photos.scores
