"""A collection that somebody else made is read in full and never written: real Milvus Lite, real pymilvus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from sbka_milvus.errors import CollectionMissing, InvalidValue, StoreError
from sbka_milvus.store.foreign import ForeignCollection
from sbka_milvus.types import normalise

DIM = 8
Make = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "theirs.db"


@pytest.fixture
def client(place: Path) -> Iterator[Any]:
    """Their own program, in the same process: Milvus Lite lets one process in."""
    from milvus_lite.server_manager import server_manager_instance

    made = MilvusClient(str(place))
    yield made
    made.close()
    server_manager_instance.release_server(str(place))


@pytest.fixture
def make(client: Any) -> Make:
    def collection(
        n: int = 10, *, text_keys: bool = False, metric: str = "COSINE", fields: tuple[str, ...] = ("path",)
    ) -> Any:
        schema = MilvusClient.create_schema(auto_id=False)
        kind = {"datatype": DataType.VARCHAR, "max_length": 50} if text_keys else {"datatype": DataType.INT64}
        schema.add_field("pk", is_primary=True, **kind)
        schema.add_field("emb", DataType.FLOAT_VECTOR, dim=DIM)
        for name in fields:
            schema.add_field(name, DataType.VARCHAR, max_length=200)
        client.create_collection("products", schema=schema)
        params = MilvusClient.prepare_index_params()
        params.add_index("emb", index_type="FLAT", metric_type=metric)
        client.create_index("products", params)
        vectors = normalise(np.random.default_rng(0).normal(size=(n, DIM)))
        rows = [
            {"pk": f"k{row}" if text_keys else row, "emb": vectors[row]} | {name: f"/{name}/{row}" for name in fields}
            for row in range(n)
        ]
        if rows:
            client.insert("products", rows)
        client.load_collection("products")
        return vectors

    return collection


def read(place: Path, where: str = "", **chosen: Any) -> dict[str | int, tuple[str, Any]]:
    with ForeignCollection(str(place), "products") as collection:
        fields = collection.fields(**chosen)
        return {
            key: (uri, vector)
            for rows in collection.rows(fields, where)
            for key, uri, vector in zip(rows.keys, rows.uris, rows.vectors, strict=True)
        }


def test_fields_are_found_by_themselves(place, make):
    make()
    with ForeignCollection(str(place), "products") as collection:
        fields = collection.fields()
    assert (fields.key, fields.vector, fields.uri, fields.dim, fields.metric) == ("pk", "emb", "path", DIM, "COSINE")
    assert not fields.has_text_keys


@pytest.mark.parametrize("text_keys", [False, True])
def test_all_rows_are_read(place, make, text_keys):
    vectors = make(30, text_keys=text_keys)
    found = read(place)
    assert len(found) == 30
    uri, vector = found["k7" if text_keys else 7]
    assert uri == "/path/7"
    np.testing.assert_array_equal(vector, vectors[7])


def test_more_rows_than_fit_into_a_page(place, make, monkeypatch):
    make(50)
    monkeypatch.setattr("sbka_milvus.store.foreign.page_rows", lambda row_bytes: 7)
    assert len(read(place)) == 50


def test_a_filter_is_their_own(place, make):
    make(10)
    assert sorted(read(place, "pk >= 7")) == [7, 8, 9]
    with pytest.raises(StoreError):
        read(place, "nonsense >")


def test_names_without_a_field(place, make):
    make(3, fields=("title",))
    assert read(place)[1][0] == ""
    assert read(place, uri="title")[1][0] == "/title/1"


def test_keys_may_name_the_photos(place, make):
    make(3, text_keys=True, fields=("path",))
    assert read(place, uri="pk")["k1"][0] == "k1"
    assert read(place, uri="")["k1"][0] == ""


def test_vectors_are_left_out_where_only_names_are_wanted(place, make):
    make(3)
    with ForeignCollection(str(place), "products") as collection:
        (rows,) = collection.rows(collection.fields(), vectors=False)
    assert rows.vectors.shape == (3, 0)
    assert rows.uris[2] == "/path/2"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"vector": "path"}, "--vector-field"),
        ({"vector": "nothing"}, "--vector-field"),
        ({"uri": "nothing"}, "--uri-field"),
        ({"uri": "emb"}, "--uri-field"),
        ({"key": "path"}, "--id-field"),
    ],
)
def test_fields_that_cannot_be_used(place, make, chosen, said):
    make()
    with ForeignCollection(str(place), "products") as collection, pytest.raises(InvalidValue, match=said):
        collection.fields(**chosen)


def test_two_fields_of_vectors(place, client):
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field("pk", DataType.INT64, is_primary=True)
    for name in ("text_emb", "image_emb"):
        schema.add_field(name, DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection("products", schema=schema)
    with ForeignCollection(str(place), "products") as collection:
        with pytest.raises(InvalidValue, match=r"text_emb.*image_emb"):
            collection.fields()
        assert collection.fields(vector="image_emb").vector == "image_emb"


def test_no_such_collection(place, make):
    make()
    with pytest.raises(CollectionMissing, match="it has products"):
        ForeignCollection(str(place), "product")


def test_nothing_is_changed(place, make, client):
    make(20)

    def state() -> Any:
        rows = client.query("products", filter="", limit=100, output_fields=["*"])
        return client.describe_collection("products"), client.get_collection_stats("products"), rows

    with ForeignCollection(str(place), "products"):  # keeps their engine, which the last one to close would end
        before = state()
        read(place)
        assert repr(state()) == repr(before)
