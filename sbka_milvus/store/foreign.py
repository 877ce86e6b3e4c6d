"""A collection that somebody else made and fills: read, and never written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymilvus import DataType

from sbka_milvus.errors import CollectionMissing, InvalidValue
from sbka_milvus.store.faults import store_faults
from sbka_milvus.store.pages import page_rows
from sbka_milvus.store.session import MilvusSession
from sbka_milvus.store.tls import NO_TLS, Tls
from sbka_milvus.types import FloatArray

URI_FIELDS = ("uri", "url", "path", "file", "file_name", "filename", "image", "image_path", "image_url")
"""Fields that may name photos, the first text that there is."""

METRICS = ("COSINE", "IP", "L2")
_ROW_BYTES = 256


@dataclass(frozen=True, slots=True)
class ForeignFields:
    """What is read of a collection.

    Attributes:
        key: its primary key.
        vector: of image embeddings.
        uri: what names the photos; empty: the key does.
        dim: length of a vector.
        metric: by which it is indexed; empty where it has no index.
        has_text_keys: whether keys are texts rather than whole numbers.
    """

    key: str
    vector: str
    uri: str
    dim: int
    metric: str
    has_text_keys: bool


@dataclass(frozen=True, slots=True)
class ForeignRows:
    """Some rows of a collection, in the order of their keys.

    Attributes:
        keys: N primary keys.
        uris: N names of photos; empty texts where no field names them.
        vectors: shape (N, D), float32, of any content; of shape (N, 0) where they were not asked for.
    """

    keys: list[str | int]
    uris: list[str]
    vectors: FloatArray


class ForeignCollection:
    """Reads one collection. Nothing but describing, loading and querying is ever asked of Milvus.

    Where the collection was not loaded, it is loaded to be read and released in the end; a Milvus Lite in a directory
    loads it for itself alone.

    Args:
        place: ``http://`` or ``https://`` of a server, or a directory of Milvus Lite.
        collection: its name, or an alias of it.
        token: of the server.
        db_name: the server's database; empty for the default one.
        timeout_s: the longest one request may take, in seconds.
        tls: whom to trust at an ``https://`` address, and who to be there.

    Raises:
        CollectionMissing: There is no such collection.
        StoreUnavailable: Milvus cannot be reached, or another process has the directory open.
    """

    def __init__(
        self,
        place: str,
        collection: str,
        *,
        token: str = "",
        db_name: str = "",
        timeout_s: float = 30.0,
        tls: Tls = NO_TLS,
    ) -> None:
        self._session = MilvusSession(place, token, db_name, timeout_s, tls)
        self._name = collection
        self._release = False
        try:
            self._described = self._describe()
        except BaseException:
            self._session.close()
            raise

    def fields(self, *, vector: str | None = None, key: str | None = None, uri: str | None = None) -> ForeignFields:
        """Finds out what to read.

        Args:
            vector: the field of image embeddings; needed where there are several.
            key: the primary key, for those who want to be sure of its name.
            uri: the field that names photos; by default the first text of a usual name; empty: none.

        Raises:
            InvalidValue: There is no such field, or it cannot be used.
        """
        kinds = {field["name"]: DataType(field["type"]) for field in self._described["fields"]}
        primary = next(field["name"] for field in self._described["fields"] if field.get("is_primary"))
        if key is not None and key != primary:
            raise InvalidValue(
                f"{key!r} is not the primary key of the collection {self._name!r}: that is {primary!r}.",
                "Leave --id-field out.",
            )
        chosen = self._vector_field(kinds, vector)
        named = uri if uri is not None else next((name for name in URI_FIELDS if _is_text(kinds.get(name))), "")
        if named and not _is_text(kinds.get(named)) and named != primary:
            raise self._no_field(named, "names of photos, which are texts", kinds, "--uri-field")
        dim = next(int(field["params"]["dim"]) for field in self._described["fields"] if field["name"] == chosen)
        return ForeignFields(primary, chosen, named, dim, self._metric(chosen), _is_text(kinds[primary]))

    def rows(self, fields: ForeignFields, where: str = "", *, vectors: bool = True) -> Iterator[ForeignRows]:
        """All rows, or those that meet a filter of Milvus, some thousand at a time.

        Args:
            fields: what to read.
            where: in Milvus's own words; empty: all.
            vectors: whether to read them.

        Raises:
            StoreError: Milvus refused, for one because it cannot read the filter.
        """
        self._load()
        wanted = [fields.key, *([fields.uri] if fields.uri else []), *([fields.vector] if vectors else [])]
        page = page_rows((4 * fields.dim if vectors else 0) + _ROW_BYTES)
        iterator = self._session.call(
            "query_iterator",
            self._name,
            batch_size=page,
            filter=where,
            output_fields=list(dict.fromkeys(wanted)),
            consistency_level="Strong",
            long=True,
        )
        try:
            while records := self._next(iterator):
                none: tuple[float, ...] = ()
                yield ForeignRows(
                    [record[fields.key] for record in records],
                    [str(record.get(fields.uri) or "") if fields.uri else "" for record in records],
                    np.array([record[fields.vector] if vectors else none for record in records], dtype=np.float32),
                )
        finally:
            iterator.close()

    def close(self) -> None:
        """Leaves the collection as it was found, and gives the connection back."""
        try:
            if self._release:
                self._session.call("release_collection", self._name)
        finally:
            self._session.close()

    def __enter__(self) -> ForeignCollection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _describe(self) -> dict[str, Any]:
        try:
            return dict(self._session.call("describe_collection", self._name))
        except CollectionMissing as error:
            have = ", ".join(sorted(self._session.call("list_collections"))) or "none"
            raise CollectionMissing(
                f"{self._session.place} has no collection {self._name!r}; it has {have}.",
                "Check its name, and the Milvus that --from names.",
            ) from error

    def _vector_field(self, kinds: dict[str, DataType], wanted: str | None) -> str:
        fit = [name for name, kind in kinds.items() if kind == DataType.FLOAT_VECTOR]
        if wanted is None and len(fit) == 1:
            return fit[0]
        if wanted is None or wanted not in fit:
            raise self._no_field(
                wanted or "", "vectors of float32", {name: kinds[name] for name in fit}, "--vector-field"
            )
        return wanted

    def _no_field(self, name: str, what: str, kinds: dict[str, DataType], option: str) -> InvalidValue:
        have = ", ".join(f"{one} ({kind.name})" for one, kind in kinds.items()) or "none"
        problem = f"no field {name!r} of {what}" if name else f"not just one field of {what}"
        return InvalidValue(f"The collection {self._name!r} has {problem}; it has {have}.", f"Name it with {option}.")

    def _metric(self, vector: str) -> str:
        for index in self._session.call("list_indexes", self._name):
            found = self._session.call("describe_index", self._name, index) or {}
            if found.get("field_name") == vector:
                metric = str(found.get("metric_type", "")).upper()
                if metric and metric not in METRICS:
                    raise InvalidValue(
                        f"The field {vector!r} of {self._name!r} is indexed by {metric}, which measures no embeddings.",
                        "Name another field with --vector-field.",
                    )
                return metric
        return ""

    def _load(self) -> None:
        state = self._session.call("get_load_state", self._name)["state"]
        if getattr(state, "name", str(state)) != "Loaded":
            self._session.call("load_collection", self._name, long=True)
            self._release = not self._session.is_lite

    def _next(self, iterator: Any) -> list[Any]:
        with store_faults(self._session.place):
            return list(iterator.next())


def _is_text(kind: DataType | None) -> bool:
    return bool(kind == DataType.VARCHAR)
