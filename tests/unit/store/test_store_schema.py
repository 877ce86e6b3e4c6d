from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue, StoreError
from sbka_milvus.store.partitions import PartitionLayout
from sbka_milvus.store.schema import (
    COMPLETE,
    cluster_records,
    is_complete,
    is_grouped,
    is_ours,
    read_clusters,
    read_info,
    token_of,
    version_properties,
)
from sbka_milvus.types import ClusterTable, VersionInfo

INFO = VersionInfo("cats", 3, "sha256:abc", 8, 2, "t1")


def properties(**changes: str) -> dict[str, str]:
    return version_properties(INFO, PartitionLayout(("s00000", "s00000"))) | changes


def test_what_a_version_says_of_itself_is_read_back():
    assert read_info("cats", 3, properties()) == INFO
    assert token_of(properties()) == "t1"
    assert is_grouped(properties())
    assert not is_grouped(version_properties(INFO, PartitionLayout.one_each(2)))
    assert all(type(value) is str for value in properties().values())


def test_a_version_is_complete_when_it_says_so():
    assert is_ours(properties()) and not is_complete(properties())
    assert is_complete(properties(**{COMPLETE: "1"}))
    assert not is_ours({}) and not is_complete({COMPLETE: "1"})


def test_what_vectors_were_lifted_by_is_kept_in_a_format_that_earlier_releases_refuse():
    lifted = replace(INFO, matching="0123abcd")
    written = version_properties(lifted, PartitionLayout.one_each(2))
    assert read_info("cats", 3, written) == lifted
    assert (written["sbka.format"], properties()["sbka.format"]) == ("2", "1")
    assert "sbka.matching" not in properties()
    del written["sbka.matching"]
    with pytest.raises(StoreError, match="damaged"):
        read_info("cats", 3, written)


def test_a_newer_format_asks_for_an_upgrade():
    with pytest.raises(StoreError, match=r"'4'.*Upgrade"):
        read_info("cats", 3, properties(**{"sbka.format": "4"}))


@pytest.mark.parametrize("matching", ["", "0123abcd"])
def test_an_index_that_is_not_exact_is_kept_in_a_format_that_earlier_releases_refuse(matching):
    indexed = replace(INFO, matching=matching, index="hnsw")
    written = version_properties(indexed, PartitionLayout.one_each(2))
    assert read_info("cats", 3, written) == indexed and not indexed.is_exact
    assert written["sbka.format"] == "3"
    assert INFO.is_exact and "sbka.index" not in properties()
    for damage in ({"sbka.index": "nonsense"}, {"sbka.index": ""}):
        with pytest.raises(StoreError, match="damaged"):
            read_info("cats", 3, written | damage)


@pytest.mark.parametrize("damage", [{"sbka.dim": "wide"}, {"sbka.n_clusters": ""}])
def test_damage_is_named(damage):
    with pytest.raises(StoreError, match="Version 3 of gallery 'cats'"):
        read_info("cats", 3, properties(**damage))
    incomplete = properties()
    del incomplete["sbka.fingerprint"]
    with pytest.raises(StoreError, match="damaged"):
        read_info("cats", 3, incomplete)


def table(*exemplars: tuple[str, ...]) -> ClusterTable:
    k = len(exemplars)
    return ClusterTable(
        np.eye(k, dtype=np.float32), np.arange(k, dtype=np.int64), np.linspace(0, 1, k, dtype=np.float32), exemplars
    )


def test_clusters_are_read_back_from_their_rows():
    given = table(("a", os.fsdecode(b"\xe9"), 'q"\\uote'), ())
    records = cluster_records(given, PartitionLayout.one_each(2))
    read = read_clusters(records)
    assert [record["partition"] for record in records] == ["c00000", "c00001"]
    assert read.exemplars == given.exemplars
    assert read.radii.tolist() == given.radii.tolist() and read.sizes.tolist() == [0, 1]


def test_too_many_exemplars_are_refused():
    with pytest.raises(InvalidValue, match=r"exemplars of cluster 1.*fewer"):
        cluster_records(table((), tuple(f"{n}" + "x" * 4000 for n in range(20))), PartitionLayout.one_each(2))
