from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.partitions import PartitionLayout
from sbka_milvus.types import normalise


def centroids(n: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, dim)))


def test_up_to_the_limit_every_cluster_has_its_partition():
    layout = PartitionLayout.plan(centroids(4), 4)
    assert layout.names == ("c00000", "c00001", "c00002", "c00003")
    assert not layout.is_grouped
    assert layout.select([3, 1, 1]) == (["c00001", "c00003"], "")


def test_beyond_the_limit_clusters_share():
    layout = PartitionLayout.plan(centroids(40), 4)
    assert layout.is_grouped
    assert layout.partitions == ("s00000", "s00001", "s00002", "s00003")
    assert layout == PartitionLayout.plan(centroids(40), 4)


def test_neighbours_share():
    axes = np.repeat(np.eye(3), 5, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(15, 3))
    names = PartitionLayout.plan(normalise(axes), 3).names
    assert [len(set(names[start : start + 5])) for start in (0, 5, 10)] == [1, 1, 1]
    assert len(set(names)) == 3


def test_groups_are_numbered_without_gaps_where_centroids_are_alike():
    layout = PartitionLayout.plan(np.repeat(np.eye(4, dtype=np.float32)[:2], 5, axis=0), 8)
    assert layout.partitions == tuple(f"s{group:05d}" for group in range(len(layout.partitions)))


def test_one_partition_for_everything():
    layout = PartitionLayout.plan(centroids(3), 1)
    assert layout.partitions == ("s00000",)
    assert layout.select([0, 2]) == (["s00000"], "cluster_id in [0, 2]")
    assert layout.select([0, 1, 2]) == (["s00000"], "")


def test_only_what_is_not_wanted_is_filtered_out():
    layout = PartitionLayout(("s00000", "s00001", "s00000", "s00001", "s00002"))
    assert layout.select(np.array([2, 0])) == (["s00000"], "")
    assert layout.select(np.array([2])) == (["s00000"], "cluster_id in [2]")
    assert layout.select(np.array([4, 0, 2])) == (["s00000", "s00002"], "")
    assert layout.select(np.array([4, 1])) == (["s00001", "s00002"], "cluster_id in [1, 4]")


def test_the_shorter_list_is_named():
    layout = PartitionLayout(("s00000",) * 5 + ("s00001",) * 2)
    assert layout.select([0, 1, 2, 3]) == (["s00000"], "cluster_id not in [4]")
    assert layout.select([0, 1, 2, 3, 4, 5]) == (["s00000", "s00001"], "cluster_id not in [6]")
    assert layout.select([0, 1]) == (["s00000"], "cluster_id in [0, 1]")


def test_few_clusters_are_looked_for_at_once():
    layout = PartitionLayout.plan(centroids(40), 4)
    for wanted in ([3], [0, 7, 39], list(range(40))):
        assert layout.scopes(np.array(wanted)) == [layout.select(wanted)]


def test_many_clusters_are_looked_for_in_turns_each_once_and_whole_partitions_without_a_filter():
    layout = PartitionLayout.plan(centroids(5000), 64)
    whole = set(layout.members["s00000"] | layout.members["s00007"])
    wanted = sorted(whole | set(range(0, 5000, 2)))
    scopes = layout.scopes(wanted)
    found: list[int] = []
    for partitions, condition in scopes:
        members = frozenset().union(*(layout.members[name] for name in partitions))
        kind, _, listed = condition.partition(" [")
        named = {int(one) for one in listed.rstrip("]").split(", ") if one}
        assert kind in ("", "cluster_id in", "cluster_id not in")
        found += sorted(members if not kind else members & named if kind == "cluster_id in" else members - named)
        assert len(named) * len(partitions) <= 1000
    assert sorted(found) == wanted
    assert scopes[0] == (["s00000", "s00007"], "")
    assert 2 < len(scopes) <= 64


def test_nowhere_to_look_is_refused():
    with pytest.raises(InvalidValue, match="No cluster"):
        PartitionLayout.one_each(3).select([])


@pytest.mark.parametrize("limit", [0, -1, 1024])
def test_limits_that_milvus_does_not_have_are_refused(limit):
    with pytest.raises(InvalidValue, match="1 to 1023"):
        PartitionLayout.plan(centroids(3), limit)


def test_a_partition_of_others_is_refused():
    with pytest.raises(InvalidValue, match="_default"):
        PartitionLayout(("c00000", "_default"))
