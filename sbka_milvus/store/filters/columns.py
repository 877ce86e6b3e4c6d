"""The columns that filters know, and the fields of Milvus that keep them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FieldKind, MetadataField

URI_COLUMN = "uri"
"""What every version can be filtered by beside its metadata: the photos' URIs, a text."""

MAX_FIELDS = 50
"""The most metadata columns of a version: a collection of Milvus has 64 fields at most."""

_TAKEN = frozenset({"id", "uri", "cluster_id", "vector"})
_WORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "true", "false", "exists", "as", "if"})
_FUNCTIONS = re.compile(r"(json|array)_\w+|(text|phrase)_match|random_sample", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PREFIX = "column_"


def milvus_name(fields: Sequence[MetadataField], name: str) -> str:
    """The field of Milvus that keeps a column: of its name where Milvus can have that, so that others can filter too.

    >>> fields = (MetadataField("id", "int"), MetadataField("taken at", "text"), MetadataField("year", "int"))
    >>> [milvus_name(fields, field.name) for field in fields]
    ['column_0', 'column_1', 'year']
    """
    usable = _PLAIN.fullmatch(name) and not _FUNCTIONS.fullmatch(name) and name.lower() not in _TAKEN | _WORDS
    usable = usable and not name.startswith(_PREFIX)
    return name if usable else f"{_PREFIX}{[field.name for field in fields].index(name)}"


def column_fields(fields: Sequence[MetadataField]) -> dict[str, FieldKind]:
    """The kinds of all columns that a filter may name."""
    return {URI_COLUMN: "text", **{field.name: field.kind for field in fields if field.name != URI_COLUMN}}


def require_fields(fields: Sequence[MetadataField]) -> None:
    """Refuses columns that no version can have.

    Raises:
        InvalidValue: There are too many, or two of one name.
    """
    names = [field.name for field in fields]
    if len(names) > MAX_FIELDS:
        raise InvalidValue(
            f"The photos have {len(names)} metadata columns, and a gallery can have {MAX_FIELDS}.",
            "Leave out those that no search is filtered by, and ingest the manifests again.",
        )
    if len(set(names)) != len(names):
        raise InvalidValue(f"Two metadata columns have one name: {sorted(names)}.")
