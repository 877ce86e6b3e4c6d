"""What a store accepts, checked alike by every store."""

from __future__ import annotations

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.uris import encode_uri
from sbka_milvus.types import ClusterTable, FieldKind, FloatArray, GalleryRows, IntArray, VersionInfo, require_unit_rows

MAX_LIMIT = 16_384
"""The most results of one Milvus search."""

MAX_TEXT_BYTES = 65_535
"""The longest VARCHAR of Milvus, in bytes of UTF-8."""

MAX_URI_BYTES = 16_384
"""The longest encoded URI: a path of Linux' 4,096 bytes fits even where every byte of it is escaped."""

_PYTHON: dict[FieldKind, type] = {"text": str, "int": int, "float": float, "bool": bool}


def require_new_version(fingerprint: str, table: ClusterTable) -> None:
    """Refuses a version that could not be stored.

    Raises:
        InvalidValue: There is no fingerprint or no cluster.
    """
    if not fingerprint:
        raise InvalidValue("A gallery version needs the fingerprint of its encoder.")
    if len(table) == 0:
        raise InvalidValue("A gallery version needs at least one cluster.", "Cluster the photos first.")
    for uris in table.exemplars:
        for uri in uris:
            require_uri(uri)


def require_rows(info: VersionInfo, rows: GalleryRows) -> IntArray:
    """The ids of rows that fit a version.

    Returns:
        shape (N,), int64: the photo ids.

    Raises:
        InvalidValue: A wrong dimension, an unknown cluster, a URI that is too long or not a string Milvus can
            keep, two URIs with one id, or metadata that does not fit the version's fields.
    """
    if len(rows) == 0:
        return np.empty(0, dtype=np.int64)
    if rows.embeddings.dim != info.dim:
        raise InvalidValue(
            f"Vectors of length {rows.embeddings.dim} do not fit version {info.version} of gallery "
            f"'{info.gallery}', which holds vectors of length {info.dim}.",
            "Embed the photos with the encoder of this version.",
        )
    require_cluster_ids(info, rows.cluster_ids)
    for uri in rows.embeddings.uris:
        require_uri(uri)
    _require_metadata(info, rows)
    ids = rows.embeddings.ids
    kept, first = np.unique(ids, return_index=True)
    if len(kept) != len(ids):
        again = sorted(set(range(len(ids))) - set(first.tolist()))[0]
        raise InvalidValue(
            f"{rows.embeddings.uris[again]!r} has the id of another photo of the same batch.", "Rename the file."
        )
    return ids


def _require_metadata(info: VersionInfo, rows: GalleryRows) -> None:
    kinds = {field.name: field.kind for field in info.fields}
    for uri, said in zip(rows.embeddings.uris, rows.metadata, strict=False):
        for name, value in said.items():
            kind = kinds.get(name)
            if kind is None or type(value) is not _PYTHON[kind]:
                wanted = "no such column" if kind is None else f"the kind {kind} in it"
                raise InvalidValue(
                    f"{uri!r} has {value!r} in the column {name!r}, and version {info.version} of gallery "
                    f"'{info.gallery}' has {wanted}.",
                    "Build a new version.",
                )


def require_search(info: VersionInfo, queries: FloatArray, cluster_ids: IntArray, limit: int) -> IntArray:
    """The distinct clusters to look into, ascending.

    Raises:
        InvalidValue: Queries that are not unit rows of the version's dimension, an unknown cluster, or a limit
            outside 1 to :data:`MAX_LIMIT`.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidValue(
            f"A search cannot return {limit} results: the limit is 1 to {MAX_LIMIT}.", "Ask for fewer results."
        )
    require_unit_rows(queries, "queries")
    if queries.shape[1] != info.dim:
        raise InvalidValue(
            f"Queries of length {queries.shape[1]} do not fit version {info.version} of gallery "
            f"'{info.gallery}', which holds vectors of length {info.dim}.",
            "Encode the sketches with the encoder of this gallery.",
        )
    require_cluster_ids(info, cluster_ids)
    return np.unique(cluster_ids).astype(np.int64)


def require_cluster_ids(info: VersionInfo, cluster_ids: IntArray) -> None:
    """Refuses ids of clusters that a version does not have.

    Raises:
        InvalidValue: Naming the first one, or a dtype that is not of integers.
    """
    if cluster_ids.ndim != 1 or (len(cluster_ids) and not np.issubdtype(cluster_ids.dtype, np.integer)):
        raise InvalidValue(
            f"cluster_ids must be integers of shape (P,), not {cluster_ids.dtype} of shape {cluster_ids.shape}."
        )
    unknown = cluster_ids[(cluster_ids < 0) | (cluster_ids >= info.n_clusters)]
    if len(unknown):
        raise InvalidValue(
            f"Version {info.version} of gallery '{info.gallery}' has no cluster {int(unknown[0])}: "
            f"its clusters are 0 to {info.n_clusters - 1}."
        )


def require_uri(uri: str) -> None:
    """Refuses a URI that cannot be kept.

    Raises:
        InvalidValue: It is empty, longer than :data:`MAX_URI_BYTES` once encoded, or not how Python shows a
            file name.
    """
    size = len(encode_uri(uri).encode())
    if size == 0:
        raise InvalidValue("A photo has an empty URI.", "Name the photo's file.")
    if size > MAX_URI_BYTES:
        shown = f"{uri[:60]}[...]{uri[-20:]}"
        raise InvalidValue(
            f"The URI {shown!r} needs {size} bytes: a store keeps at most {MAX_URI_BYTES}.", "Shorten the path."
        )
