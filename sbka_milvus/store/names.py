"""How galleries, collections and partitions are called in Milvus.

gallery ``cats``, version 3  ->  ``cats__v3`` (photos), ``cats__v3__clusters``, alias ``cats``
cluster 42                   ->  partition ``c00042_`` and 16 digits of the version's token
super-cluster 7              ->  partition ``s00007_`` and the same

What is found by the gallery's alias in a partition of that name is of that very version. Earlier releases named
partitions without the digits.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sbka_milvus.errors import InvalidValue

MAX_GALLERY_NAME = 200
"""Milvus allows 255 characters; what is left holds ``__v``, the version and ``__clusters``."""

_GALLERY = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_VERSION_INSIDE = re.compile(r"__v\d", re.ASCII)
_COLLECTION = re.compile(r"(?P<gallery>.+)__v(?P<version>[1-9]\d*)(?P<clusters>__clusters)?", re.ASCII)
_PARTITION = re.compile(r"(?P<kind>[cs])(?P<number>\d{5,})(_(?P<owner>[0-9a-f]{16}))?", re.ASCII)

_OWNER = re.compile(r"[0-9a-f]{16}", re.ASCII)


class CollectionName(NamedTuple):
    """What the name of a collection says."""

    gallery: str
    version: int
    holds_clusters: bool


class PartitionName(NamedTuple):
    """What the name of a partition says: of one cluster, or of a group of them."""

    number: int
    is_group: bool
    owner: str = ""


def require_gallery_name(name: str) -> str:
    """The name itself, where it can be a gallery's.

    Raises:
        InvalidValue: It has other characters than ASCII letters, digits and underscores, does not start with a
            letter, has ``__v`` and a digit inside (which marks versions), or is too long.

    >>> require_gallery_name("holiday_photos_2024")
    'holiday_photos_2024'
    """
    problem = ""
    if not _GALLERY.fullmatch(name):
        problem = "must start with a letter and hold only ASCII letters, digits and underscores"
    elif _VERSION_INSIDE.search(name):
        problem = "must not hold '__v' before a digit, which marks versions"
    elif len(name) > MAX_GALLERY_NAME:
        problem = f"must not be longer than {MAX_GALLERY_NAME} characters"
    if problem:
        raise InvalidValue(f"The gallery name {name!r} cannot be used: it {problem}.", "Choose another name.")
    return name


def photos_collection(gallery: str, version: int) -> str:
    """The collection of a version's photos.

    >>> photos_collection("cats", 3)
    'cats__v3'
    """
    return f"{require_gallery_name(gallery)}__v{_require_version(version)}"


def clusters_collection(gallery: str, version: int) -> str:
    """The collection of a version's clusters.

    >>> clusters_collection("cats", 3)
    'cats__v3__clusters'
    """
    return f"{photos_collection(gallery, version)}__clusters"


def parse_collection(name: str) -> CollectionName | None:
    """What a collection's name says, or None where it is not one of a gallery's.

    >>> parse_collection("cats__v3__clusters")
    CollectionName(gallery='cats', version=3, holds_clusters=True)
    >>> parse_collection("somebody_elses") is None
    True
    """
    match = _COLLECTION.fullmatch(name)
    if match is None:
        return None
    try:
        gallery = require_gallery_name(match["gallery"])
    except InvalidValue:
        return None
    return CollectionName(gallery, int(match["version"]), match["clusters"] is not None)


def partition_owner(token: str) -> str:
    """What of a version's token stands in the names of its partitions; empty where the token is of another kind.

    >>> partition_owner("0123456789abcdef0123456789abcdef")
    '0123456789abcdef'
    """
    return token[:16] if _OWNER.fullmatch(token[:16]) else ""


def cluster_partition(cluster_id: int, owner: str = "") -> str:
    """The partition of one cluster.

    >>> cluster_partition(42, "0123456789abcdef")
    'c00042_0123456789abcdef'
    >>> cluster_partition(42)
    'c00042'
    """
    return f"c{cluster_id:05d}" + (f"_{owner}" if owner else "")


def group_partition(group: int, owner: str = "") -> str:
    """The partition of a group of clusters, a super-cluster.

    >>> group_partition(7, "0123456789abcdef")
    's00007_0123456789abcdef'
    """
    return f"s{group:05d}" + (f"_{owner}" if owner else "")


def parse_partition(name: str) -> PartitionName | None:
    """What a partition's name says, or None where it is not one of ours (``_default``, for one).

    >>> parse_partition("s00007")
    PartitionName(number=7, is_group=True, owner='')
    >>> parse_partition("_default") is None
    True
    """
    match = _PARTITION.fullmatch(name)
    return PartitionName(int(match["number"]), match["kind"] == "s", match["owner"] or "") if match else None


def _require_version(version: int) -> int:
    if not 1 <= version < 10**9:
        raise InvalidValue(f"{version} is not a version number.", "Versions count from 1.")
    return version
