"""How to search."""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search.fusion import DEFAULT_CLUSTER_WEIGHT

DEFAULT_N_PROBE = 16


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Attributes:
        n_probe: clusters to look into; none for all of them.
        cluster_weight: of the cluster score; 0 ranks photos one-to-one. None leaves it to the version: a *linear* one
            has its own, which lies in its vectors, and is refused where one is asked for.
        default_weight: of the cluster score in versions that have none of their own (*fused*).
        where: a filter such as ``year > 2020``; none: all photos.

    Raises:
        InvalidValue: A number is out of range.
    """

    n_probe: int | None = DEFAULT_N_PROBE
    cluster_weight: float | None = None
    default_weight: float = DEFAULT_CLUSTER_WEIGHT
    where: str | None = None

    def __post_init__(self) -> None:
        if self.n_probe is not None and self.n_probe < 1:
            raise InvalidValue(f"n_probe is {self.n_probe}; at least one cluster must be probed.")
        for weight in (self.cluster_weight, self.default_weight):
            if weight is not None and not 0.0 <= weight <= 1.0:
                raise InvalidValue(f"The cluster weight is {weight}; it must lie in [0, 1].")
