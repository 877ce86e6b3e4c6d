"""Which partition holds which cluster.

Up to a limit each cluster has a partition of its own. Beyond it clusters that lie near one another share a
super-cluster partition, and a search filters by ``cluster_id`` inside: partitions cost time to create and to
search, and a server allows 1,024 of them in a collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.names import cluster_partition, group_partition, parse_partition
from sbka_milvus.types import FloatArray, IntArray

DEFAULT_MAX_PARTITIONS = 256
LARGEST_MAX_PARTITIONS = 1023
"""A Milvus server's default limit of 1,024 partitions a collection, less ``_default``."""

_SEED = 0
_ITERATIONS = 20


def require_max_partitions(max_partitions: int) -> int:
    """The number itself, where a collection can have so many partitions.

    Raises:
        InvalidValue: It is not within 1 to :data:`LARGEST_MAX_PARTITIONS`.
    """
    if not 1 <= max_partitions <= LARGEST_MAX_PARTITIONS:
        raise InvalidValue(f"max_partitions must be 1 to {LARGEST_MAX_PARTITIONS}, not {max_partitions}.")
    return max_partitions


@dataclass(frozen=True)
class PartitionLayout:
    """The partition of each cluster.

    Attributes:
        names: K partition names; entry k is the partition of cluster k.

    >>> layout = PartitionLayout.one_each(3)
    >>> layout.names
    ('c00000', 'c00001', 'c00002')
    >>> layout.select(np.array([2, 0]))
    (['c00000', 'c00002'], '')
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.names:
            if parse_partition(name) is None:
                raise InvalidValue(f"{name!r} is not the name of a cluster partition.")

    @classmethod
    def one_each(cls, n_clusters: int) -> PartitionLayout:
        """A partition for each cluster."""
        return cls(tuple(cluster_partition(cluster) for cluster in range(n_clusters)))

    @classmethod
    def plan(cls, centroids: FloatArray, max_partitions: int) -> PartitionLayout:
        """A partition for each cluster where the limit allows it, else groups of neighbouring clusters.

        Args:
            centroids: shape (K, D), float32, unit rows.
            max_partitions: the most partitions.

        Raises:
            InvalidValue: ``max_partitions`` is out of range.
        """
        if len(centroids) <= require_max_partitions(max_partitions):
            return cls.one_each(len(centroids))
        return cls(tuple(group_partition(int(group)) for group in _group(centroids, max_partitions)))

    @cached_property
    def partitions(self) -> tuple[str, ...]:
        """The distinct partitions, by name."""
        return tuple(sorted(set(self.names)))

    @cached_property
    def is_grouped(self) -> bool:
        """Whether a partition may hold more than one cluster."""
        return len(self.partitions) < len(self.names) or self.names != self.one_each(len(self.names)).names

    @cached_property
    def _members(self) -> dict[str, set[int]]:
        members: dict[str, set[int]] = {name: set() for name in self.partitions}
        for cluster, name in enumerate(self.names):
            members[name].add(cluster)
        return members

    def select(self, cluster_ids: Sequence[int] | IntArray) -> tuple[list[str], str]:
        """Where to look for the photos of some clusters.

        Args:
            cluster_ids: at least one id of an existing cluster.

        Returns:
            The partitions, and a Milvus filter that keeps the named clusters alone; it is empty where the partitions
            hold no others.

        Raises:
            InvalidValue: No cluster is named: Milvus takes an empty list of partitions for all of them.
        """
        wanted = {int(cluster) for cluster in cluster_ids}
        if not wanted:
            raise InvalidValue("No cluster is named, so there is nowhere to look.")
        partitions = sorted({self.names[cluster] for cluster in wanted})
        if all(self._members[name] <= wanted for name in partitions):
            return partitions, ""
        return partitions, f"cluster_id in {sorted(wanted)}"


def _group(centroids: FloatArray, n_groups: int) -> IntArray:
    """Spherical k-means of the centroids: for each the number of its group, counted from 0 without gaps."""
    import faiss

    kmeans = faiss.Kmeans(
        centroids.shape[1], n_groups, niter=_ITERATIONS, seed=_SEED, spherical=True, min_points_per_centroid=1
    )
    vectors = np.ascontiguousarray(centroids, dtype=np.float32)
    kmeans.train(vectors)
    _, nearest = kmeans.index.search(vectors, 1)
    _, groups = np.unique(nearest[:, 0], return_inverse=True)
    return np.asarray(groups, dtype=np.int64)
