"""How to search."""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.errors import InvalidValue, RerankerError
from sbka_milvus.protocols import Reranker
from sbka_milvus.search.fusion import DEFAULT_CLUSTER_WEIGHT
from sbka_milvus.search.rerankers.choice import RerankerChoice, as_reranker


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Attributes:
        n_probe: exactly so many clusters are looked into, the nearest ones. None: as many as the query needs, which
            differs from query to query.
        cluster_weight: of the cluster score; 0 ranks photos one-to-one. None leaves it to the version: a *linear* one
            has its own, which lies in its vectors, and is refused where one is asked for.
        default_weight: of the cluster score in versions that have none of their own (*fused*).
        where: a filter such as ``year > 2020``; none: all photos.
        exact: look into clusters until none that is left can hold a better photo, by a bound and not by an estimate:
            the hits are then those of the whole gallery. Not with ``n_probe``.
        max_probe: at most so many clusters; none: as many as it takes. The result says whether it is exact.
        deadline_ms: look into no further clusters after so many milliseconds; none: for as long as it takes.
        offset: leave out so many of the best hits. Pages are cut from one order, that of the exact search, so that none
            overlap and none is missed: above 0 the search is exact.
        per_cluster: at most so many hits of one cluster; none: any number. A re-ranker sees no more of one.
        reranker: scores the best candidates anew, and hits are in its order. A name (``fused``, ``neighbours``,
            ``quantised``), a :class:`~sbka_milvus.protocols.Reranker`, or a function of the query, the candidates and
            the clusters; none: hits are in the order of the one-to-many score.
        rerank_depth: so many candidates are re-ranked, the best by the one-to-many score; nothing behind them is a hit.
            None: as the re-ranker wants it, by default max(4 k, 100). Pages of one size have one depth.

    Raises:
        InvalidValue: A number is out of range, or two do not go together.
    """

    n_probe: int | None = None
    cluster_weight: float | None = None
    default_weight: float = DEFAULT_CLUSTER_WEIGHT
    where: str | None = None
    exact: bool = False
    max_probe: int | None = None
    deadline_ms: float | None = None
    offset: int = 0
    per_cluster: int | None = None
    reranker: RerankerChoice | None = None
    rerank_depth: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_probe", "max_probe"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise InvalidValue(f"{name} is {count}; at least one cluster must be probed.")
        for weight in (self.cluster_weight, self.default_weight):
            if weight is not None and not 0.0 <= weight <= 1.0:
                raise InvalidValue(f"The cluster weight is {weight}; it must lie in [0, 1].")
        if self.deadline_ms is not None and not self.deadline_ms > 0:
            raise InvalidValue(f"deadline_ms is {self.deadline_ms}; a search needs some time.")
        if self.offset < 0:
            raise InvalidValue(f"offset is {self.offset}; it must be at least 0.")
        if self.per_cluster is not None and self.per_cluster < 1:
            raise InvalidValue(f"per_cluster is {self.per_cluster}; a cluster must be allowed one hit.")
        if self.n_probe is not None and (self.exact or self.max_probe is not None):
            raise InvalidValue(
                f"n_probe fixes the clusters at {self.n_probe}, so it goes neither with exact nor with max_probe.",
                "Leave n_probe out.",
            )
        if self.reranker is not None:
            object.__setattr__(self, "reranker", as_reranker(self.reranker))
        elif self.rerank_depth is not None:
            raise InvalidValue(f"rerank_depth is {self.rerank_depth}, and there is no re-ranker.", "Name one.")
        if self.rerank_depth is not None and self.rerank_depth < 1:
            raise InvalidValue(f"rerank_depth is {self.rerank_depth}; at least one candidate must be re-ranked.")

    @property
    def certain(self) -> bool:
        """Whether clusters are left out by a bound alone, and not by an estimate."""
        return self.exact or self.offset > 0

    @property
    def chosen_reranker(self) -> Reranker | None:
        """The re-ranker, whichever way it was named."""
        return None if self.reranker is None else as_reranker(self.reranker)

    def depth(self, k: int) -> int:
        """How many candidates are re-ranked for pages of k hits; k where there is no re-ranker.

        Raises:
            RerankerError: The re-ranker fails to say.
        """
        reranker = self.chosen_reranker
        if self.rerank_depth is not None or reranker is None:
            return self.rerank_depth or k
        try:
            return max(k, int(reranker.depth(k)))
        except Exception as error:
            raise RerankerError(
                f"The re-ranker {reranker.name!r} does not say how many candidates it needs for {k} hits: {error}",
                "Give a rerank_depth.",
            ) from error
