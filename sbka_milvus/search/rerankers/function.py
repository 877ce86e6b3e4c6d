"""A user's own function as a re-ranker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sbka_milvus.search.rerankers.depth import usual_depth
from sbka_milvus.types import ClusterTable, FloatArray, Shortlist

RerankFunction = Callable[[FloatArray, Shortlist, ClusterTable], Any]
"""Query, candidates and clusters to new scores, shape (n,), higher is better: as
:meth:`~sbka_milvus.protocols.Reranker.scores`."""


@dataclass(frozen=True, slots=True)
class FunctionReranker:
    """score(q, x) = whatever a function says.

    Attributes:
        function: it.
    """

    function: RerankFunction

    @property
    def name(self) -> str:
        """The function's own, or that of its class."""
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    def depth(self, k: int) -> int:
        """max(4 k, 100)."""
        return usual_depth(k)

    def scores(self, query: FloatArray, photos: Shortlist, table: ClusterTable) -> Any:
        """What the function says."""
        return self.function(query, photos, table)
