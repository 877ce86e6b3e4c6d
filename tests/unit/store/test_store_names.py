from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.names import (
    MAX_GALLERY_NAME,
    CollectionName,
    PartitionName,
    cluster_partition,
    clusters_collection,
    group_partition,
    parse_collection,
    parse_partition,
    photos_collection,
    require_gallery_name,
)

GALLERIES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,40}", fullmatch=True).filter(
    lambda name: not any(f"__v{digit}" in name for digit in "0123456789")
)


@given(GALLERIES, st.integers(1, 10**9 - 1))
def test_names_are_read_back(gallery, version):
    assert parse_collection(photos_collection(gallery, version)) == CollectionName(gallery, version, False)
    assert parse_collection(clusters_collection(gallery, version)) == CollectionName(gallery, version, True)


def test_the_longest_names_fit_milvus():
    assert len(clusters_collection("x" * MAX_GALLERY_NAME, 10**9 - 1)) <= 255


@pytest.mark.parametrize(
    "name", ["", "cats", "cats__v", "cats__v0", "cats__v01", "cats__v1__", "cats__v1__cluster", "__v1", "1__v1",
             "cats__v1__v2", "cats__v1\n", "ca ts__v1", "cats__v١", "x" * 201 + "__v1"]
)  # fmt: skip
def test_names_of_others_are_not_read(name):
    assert parse_collection(name) is None


@pytest.mark.parametrize("name", ["cats__v1", "a__v9b", "cats\n", "ｃats", "c" * 201, "", "_a", "a-b"])
def test_names_that_cannot_be_used_are_named(name):
    with pytest.raises(InvalidValue) as caught:
        require_gallery_name(name)
    assert repr(name) in caught.value.problem and caught.value.remedy


@pytest.mark.parametrize("version", [0, -1, 10**9])
def test_versions_count_from_one(version):
    with pytest.raises(InvalidValue, match="version number"):
        photos_collection("cats", version)


@given(st.integers(0, 10**7))
def test_partitions_are_read_back(number):
    assert parse_partition(cluster_partition(number)) == PartitionName(number, False)
    assert parse_partition(group_partition(number)) == PartitionName(number, True)


@pytest.mark.parametrize("name", ["_default", "c0042", "x00042", "c00042 ", "C00042", "c-0042"])
def test_partitions_of_others_are_not_read(name):
    assert parse_partition(name) is None
