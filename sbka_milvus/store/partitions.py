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
from sbka_milvus.store.groups import group_clusters
from sbka_milvus.store.names import cluster_partition, group_partition, parse_partition
from sbka_milvus.types import FloatArray, IntArray

_FILTER_WORK = 1000
"""Clusters of a filter times partitions that are looked through in one search: a few milliseconds on Milvus Lite."""

DEFAULT_MAX_PARTITIONS = 256
LARGEST_MAX_PARTITIONS = 1023
"""A Milvus server's default limit of 1,024 partitions a collection, less ``_default``."""

DEFAULT_MAX_PARTITIONS_SERVER = 64
"""A server takes seconds to load each few of them, and was seen to jam over 1,024."""


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
        for name in set(self.names):
            if parse_partition(name) is None:
                raise InvalidValue(f"{name!r} is not the name of a cluster partition.")

    @classmethod
    def one_each(cls, n_clusters: int, owner: str = "") -> PartitionLayout:
        """A partition for each cluster; ``owner`` as of :func:`~sbka_milvus.store.names.partition_owner`."""
        return cls(tuple(cluster_partition(cluster, owner) for cluster in range(n_clusters)))

    @classmethod
    def plan(
        cls, centroids: FloatArray, max_partitions: int, sizes: IntArray | None = None, owner: str = ""
    ) -> PartitionLayout:
        """A partition for each cluster where the limit allows it, else groups of neighbouring clusters.

        Args:
            centroids: shape (K, D), float32, unit rows.
            max_partitions: the most partitions.
            sizes: shape (K,), int64: photos of each cluster, so that groups hold about as many; none: all alike.
            owner: of the partitions, see :func:`~sbka_milvus.store.names.partition_owner`.

        Raises:
            InvalidValue: ``max_partitions`` is out of range.
        """
        if len(centroids) <= require_max_partitions(max_partitions):
            return cls.one_each(len(centroids), owner)
        held = np.zeros(len(centroids), dtype=np.int64) if sizes is None else sizes
        groups = group_clusters(centroids, held, max_partitions)
        return cls(tuple(group_partition(group, owner) for group in groups.tolist()))

    @cached_property
    def partitions(self) -> tuple[str, ...]:
        """The distinct partitions, by name."""
        return tuple(sorted(set(self.names)))

    @cached_property
    def owner(self) -> str:
        """By which the partitions' names differ from those of any other version; empty where they do not."""
        owners = {name.owner for name in map(parse_partition, self.partitions) if name is not None}
        return owners.pop() if len(owners) == 1 else ""

    @cached_property
    def is_grouped(self) -> bool:
        """Whether a partition may hold more than one cluster."""
        alone = self.one_each(len(self.names), self.owner)
        return len(self.partitions) < len(self.names) or self.names != alone.names

    @cached_property
    def members(self) -> dict[str, frozenset[int]]:
        """The clusters of each partition."""
        members: dict[str, list[int]] = {name: [] for name in self.partitions}
        for cluster, name in enumerate(self.names):
            members[name].append(cluster)
        return {name: frozenset(clusters) for name, clusters in members.items()}

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
        held = sum(len(self.members[name]) for name in partitions)
        if held == len(wanted):
            return partitions, ""
        if 2 * (held - len(wanted)) < len(wanted):
            # The shorter list: there may be 100,000 clusters.
            others = frozenset().union(*(self.members[name] for name in partitions)) - wanted
            return partitions, f"cluster_id not in {sorted(others)}"
        return partitions, f"cluster_id in {sorted(wanted)}"

    def scopes(self, cluster_ids: Sequence[int] | IntArray) -> list[tuple[list[str], str]]:
        """Where to look for the photos of some clusters, in one search or, where they are many, in several.

        Milvus Lite goes through the clusters that a filter names for each partition anew: 5,000 of them in 128
        partitions took seconds. So whole partitions are searched apart, and the others few at a time.

        Args:
            cluster_ids: at least one id of an existing cluster.

        Returns:
            Partitions and filters as of :meth:`select`, which together hold the named clusters, each once.

        Raises:
            InvalidValue: No cluster is named.
        """
        partitions, condition = self.select(cluster_ids)
        wanted = {int(cluster) for cluster in cluster_ids}
        if not condition or len(wanted) * len(partitions) <= _FILTER_WORK:
            return [(partitions, condition)]
        whole: list[int] = []
        turns: list[list[int]] = []
        turn_partitions = 0
        for name in partitions:
            members = self.members[name]
            held = sorted(members & wanted)
            if len(held) == len(members):
                whole += held
            elif turns and (len(turns[-1]) + len(held)) * (turn_partitions + 1) <= _FILTER_WORK:
                turns[-1] += held
                turn_partitions += 1
            else:
                turns.append(held)
                turn_partitions = 1
        return [self.select(clusters) for clusters in ([whole] if whole else []) + turns]
