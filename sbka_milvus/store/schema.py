"""The two collections of a version, and the properties that say what it is.

What a version says of itself is kept in properties: Milvus Lite drops descriptions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

from sbka_milvus.errors import InvalidValue, StoreError
from sbka_milvus.store.filters import milvus_name
from sbka_milvus.store.indexes import require_index_kind
from sbka_milvus.store.limits import MAX_TEXT_BYTES, MAX_URI_BYTES
from sbka_milvus.store.names import partition_owner
from sbka_milvus.store.partitions import PartitionLayout
from sbka_milvus.store.uris import decode_uri, encode_uri
from sbka_milvus.types import ClusterTable, FieldKind, MetadataField, VersionInfo

FORMAT = "1"

FORMAT_LIFTED = "2"
"""Of versions whose vectors are not the photos' own: a release that does not know of that refuses them."""

FORMAT_INDEXED = "3"
"""Of versions whose index may miss photos, lifted or not: a release that takes every search for exact refuses them."""

COMPLETE = "sbka.complete"
"""The commit mark of a version: "1" is set last of all, and taken away before anything is dropped."""

_FORMAT = "sbka.format"
_FINGERPRINT = "sbka.fingerprint"
_DIM = "sbka.dim"
_N_CLUSTERS = "sbka.n_clusters"
_GROUPED = "sbka.grouped"
_TOKEN = "sbka.token"
_OWNED = "sbka.owned"
_FIELDS = "sbka.fields"

_TYPES: dict[FieldKind, DataType] = {
    "text": DataType.VARCHAR,
    "int": DataType.INT64,
    "float": DataType.DOUBLE,
    "bool": DataType.BOOL,
}
_MATCHING = "sbka.matching"
_INDEX = "sbka.index"


def photos_schema(dim: int, fields: Sequence[MetadataField] = ()) -> Any:
    """The fields of a photos collection: id, uri, cluster_id, vector (float32), and one for each metadata column.

    Fields of their own, not dynamic ones or JSON: those were measured on Milvus Lite 3.2 to compare values of different
    kinds without a word, and ``in`` not to work on JSON.
    """
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("uri", DataType.VARCHAR, max_length=MAX_URI_BYTES)
    schema.add_field("cluster_id", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    for field in fields:
        limits = {"max_length": MAX_TEXT_BYTES} if field.kind == "text" else {}
        schema.add_field(milvus_name(fields, field.name), _TYPES[field.kind], nullable=True, **limits)
    return schema


def keeps_missing_values(fields: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all metadata columns of a photos collection that was made may be empty, as it is described.

    A server before 2.5 takes a schema with such columns without a word and makes plain ones of them.
    """
    own = {"id", "uri", "cluster_id", "vector"}
    return all(field.get("nullable") for field in fields if field["name"] not in own)


def clusters_schema(dim: int) -> Any:
    """The fields of a clusters collection; the radius is in radians, the exemplars are a JSON list of encoded URIs."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("cluster_id", DataType.INT64, is_primary=True)
    schema.add_field("centroid", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("size", DataType.INT64)
    schema.add_field("radius", DataType.FLOAT)
    schema.add_field("exemplars", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    schema.add_field("partition", DataType.VARCHAR, max_length=255)
    return schema


def version_properties(info: VersionInfo, layout: PartitionLayout) -> dict[str, str]:
    """What a version's collections say of it from their first moment on."""
    properties = {
        _FORMAT: FORMAT_INDEXED if not info.is_exact else FORMAT_LIFTED if info.matching else FORMAT,
        _FINGERPRINT: info.fingerprint,
        _DIM: str(info.dim),
        _N_CLUSTERS: str(info.n_clusters),
        _GROUPED: str(int(layout.is_grouped)),
        _TOKEN: info.token,
        COMPLETE: "0",
    }
    if layout.owner:
        properties[_OWNED] = "1"
    if info.matching:
        properties[_MATCHING] = info.matching
    if not info.is_exact:
        properties[_INDEX] = info.index
    if info.fields:
        properties[_FIELDS] = json.dumps([[field.name, field.kind] for field in info.fields])
    return properties


def is_ours(properties: Mapping[str, str]) -> bool:
    """Whether a collection was made here, and not by somebody who happened to name theirs alike."""
    return _FORMAT in properties


def is_complete(properties: Mapping[str, str]) -> bool:
    """Whether a version's making came to its end."""
    return is_ours(properties) and properties.get(COMPLETE) == "1"


def read_info(gallery: str, version: int, properties: Mapping[str, str]) -> VersionInfo:
    """What a complete version says of itself.

    Raises:
        StoreError: It was written by a newer release, or is damaged.
    """
    written = properties.get(_FORMAT)
    if written not in (FORMAT, FORMAT_LIFTED, FORMAT_INDEXED):
        raise StoreError(
            f"Version {version} of gallery '{gallery}' has the format {written!r}, and this release reads {FORMAT!r}, "
            f"{FORMAT_LIFTED!r} and {FORMAT_INDEXED!r}.",
            "Upgrade sbka-milvus.",
        )
    indexed = written == FORMAT_INDEXED
    try:
        return VersionInfo(
            gallery,
            version,
            properties[_FINGERPRINT],
            int(properties[_DIM]),
            int(properties[_N_CLUSTERS]),
            token_of(properties),
            properties[_MATCHING] if written == FORMAT_LIFTED else properties.get(_MATCHING, "") if indexed else "",
            tuple(MetadataField(str(name), kind) for name, kind in json.loads(properties.get(_FIELDS, "[]"))),
            require_index_kind(properties[_INDEX]) if indexed else "flat",
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(
            f"Version {version} of gallery '{gallery}' has damaged properties ({error}).", "Build a new version."
        ) from error


def token_of(properties: Mapping[str, str]) -> str:
    """The token of a version; empty where there is none."""
    return properties.get(_TOKEN, "")


def is_grouped(properties: Mapping[str, str]) -> bool:
    """Whether clusters share partitions in a version."""
    return properties.get(_GROUPED) == "1"


def owner_of(properties: Mapping[str, str]) -> str:
    """What the names of a version's partitions have of its token; empty where they have nothing of it."""
    return partition_owner(token_of(properties)) if properties.get(_OWNED) == "1" else ""


def cluster_records(table: ClusterTable, layout: PartitionLayout) -> list[dict[str, Any]]:
    """The rows of a clusters collection.

    Raises:
        InvalidValue: A cluster's exemplars do not fit.
    """
    return [
        {
            "cluster_id": cluster,
            "centroid": table.centroids[cluster],
            "size": int(table.sizes[cluster]),
            "radius": float(table.radii[cluster]),
            "exemplars": _exemplars_text(cluster, table.exemplars[cluster]),
            "partition": layout.names[cluster],
        }
        for cluster in range(len(table))
    ]


def read_clusters(records: Sequence[Mapping[str, Any]]) -> ClusterTable:
    """The clusters from their rows, in the order of those."""
    return ClusterTable(
        centroids=np.array([record["centroid"] for record in records], dtype=np.float32),
        sizes=np.array([record["size"] for record in records], dtype=np.int64),
        radii=np.array([record["radius"] for record in records], dtype=np.float32),
        exemplars=tuple(tuple(decode_uri(uri) for uri in json.loads(record["exemplars"])) for record in records),
    )


def _exemplars_text(cluster: int, uris: tuple[str, ...]) -> str:
    text = json.dumps([encode_uri(uri) for uri in uris], ensure_ascii=False)
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        raise InvalidValue(
            f"The {len(uris)} exemplars of cluster {cluster} need {size} bytes: a store keeps {MAX_TEXT_BYTES}.",
            "Keep fewer exemplars for each cluster.",
        )
    return text
