"""How evenly photos are spread over clusters, and how wide those are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sbka_milvus.types import ClusterTable

TINY = 3
"""A cluster of fewer photos is tiny."""
GIANT = 5
"""A cluster of more than so many times the median is a giant."""


@dataclass(frozen=True, slots=True)
class ClusterStatistics:
    """Balance and radii of a version's clusters.

    Attributes:
        photos: in all clusters.
        clusters: how many, empty ones included.
        empty: clusters without a photo, from which all photos are gone; no search looks into them.
        tiny: clusters of one or two photos.
        giant: clusters of more than five times the median size.
        size_p5: 5th percentile of the sizes; of clusters that hold photos, like all that follow.
        size_p50: the median.
        size_p95: 95th percentile.
        size_max: photos of the largest cluster.
        evenness: entropy of the sizes over that of equal ones, 0 to 1; 1: all are of one size.
        radius_p50: median of the radii, in degrees: the angle from the centroid to the farthest photo.
        radius_p95: 95th percentile of the radii, in degrees.
    """

    photos: int
    clusters: int
    empty: int
    tiny: int
    giant: int
    size_p5: float
    size_p50: float
    size_p95: float
    size_max: int
    evenness: float
    radius_p50: float
    radius_p95: float

    @classmethod
    def of(cls, table: ClusterTable) -> ClusterStatistics:
        """Those of some clusters.

        >>> table = ClusterTable(np.eye(3, dtype=np.float32), np.array([2, 6, 0]), np.zeros(3, np.float32), ((),) * 3)
        >>> found = ClusterStatistics.of(table)
        >>> (found.photos, found.empty, found.tiny, found.giant, found.size_p50, round(found.evenness, 3))
        (8, 1, 1, 0, 4.0, 0.811)
        """
        held = table.sizes[table.sizes > 0]
        if len(held) == 0:
            return cls(0, len(table), len(table), 0, 0, 0.0, 0.0, 0.0, 0, 1.0, 0.0, 0.0)
        p5, p50, p95 = (float(value) for value in np.percentile(held, (5, 50, 95)))
        radii = np.degrees(np.percentile(table.radii[table.sizes > 0], (50, 95)))
        return cls(
            photos=int(held.sum()),
            clusters=len(table),
            empty=len(table) - len(held),
            tiny=int((held < TINY).sum()),
            giant=int((held > GIANT * p50).sum()),
            size_p5=p5,
            size_p50=p50,
            size_p95=p95,
            size_max=int(held.max()),
            evenness=_evenness(held / held.sum()),
            radius_p50=float(radii[0]),
            radius_p95=float(radii[1]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _evenness(shares: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    if len(shares) == 1:
        return 1.0
    return float(-(shares * np.log(shares)).sum() / np.log(len(shares)))
