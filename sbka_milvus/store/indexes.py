"""How the vectors of a version are indexed: which way pays where, and what Milvus is told of it."""

from __future__ import annotations

from typing import Any, get_args

from pymilvus import MilvusClient

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import IndexKind

INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)

FLAT_ROWS = 25_000
"""Photos of a server's partition up to which all of them are looked at.

HNSW that finds 99 of 100 was measured to take as long as that at 8,000, and seven times as long to build. IVF is not
offered: it found half, and it answers with fewer photos than it is asked for, which a search takes for the end of them.
"""

_BUILD: dict[IndexKind, dict[str, Any]] = {
    "flat": {},
    "hnsw": {"M": 32, "efConstruction": 256},
}
_LEAST_EF = 512


def choose_index(n_photos: int, n_partitions: int, *, is_server: bool) -> IndexKind:
    """The index that suits an engine and the sizes of a version's partitions.

    FLAT on Milvus Lite, which walks every row in scope before its index is asked, and for small partitions, where it is
    as fast as any other. It alone finds the best photos for certain.

    Args:
        n_photos: that the version is planned for.
        n_partitions: that they lie in.
        is_server: whether it is a Milvus server.

    >>> choose_index(5_000_000, 64, is_server=True), choose_index(5_000_000, 64, is_server=False)
    ('hnsw', 'flat')
    """
    return "hnsw" if is_server and n_photos > FLAT_ROWS * n_partitions else "flat"


def require_index_kind(kind: str) -> IndexKind:
    """The kind itself, where there is such an index.

    Raises:
        InvalidValue: There is none.
    """
    for known in INDEX_KINDS:
        if kind == known:
            return known
    raise InvalidValue(f"{kind!r} is no index that is known here.", f"Choose one of {', '.join(INDEX_KINDS)}.")


def index_params(field: str, kind: IndexKind = "flat") -> Any:
    """What Milvus is told to index a vector field, by cosine."""
    params = MilvusClient.prepare_index_params()
    params.add_index(field, index_type=kind.upper(), metric_type="COSINE", params=_BUILD[kind])
    return params


def search_params(kind: IndexKind, limit: int) -> dict[str, Any]:
    """What Milvus is told to search it for ``limit`` photos."""
    told: dict[IndexKind, dict[str, Any]] = {
        "flat": {},
        # Milvus refuses one below the number of results.
        "hnsw": {"ef": max(_LEAST_EF, limit)},
    }
    return {"metric_type": "COSINE", "params": told[kind]}
