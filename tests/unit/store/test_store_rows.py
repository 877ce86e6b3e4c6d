"""What is sent to Milvus, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.catalogue import OpenVersion
from sbka_milvus.store.milvus_search import search_rows
from sbka_milvus.store.pages import PAGE_BYTES, page_rows, read_pages
from sbka_milvus.store.partitions import PartitionLayout
from sbka_milvus.store.rows import count_rows, delete_rows, insert_rows
from sbka_milvus.types import Embeddings, GalleryRows, VersionInfo, photo_id


class FakeIterator:
    def __init__(self, pages: list[list[dict[str, int]]]) -> None:
        self._pages, self.closed = iter(pages), False

    def next(self) -> list[dict[str, int]]:
        return next(self._pages, [])

    def close(self) -> None:
        self.closed = True


class FakeSession:
    """Writes down what is asked and answers what it was given."""

    is_lite, place = False, "here"

    def __init__(self, **answers: Any) -> None:
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._answers = answers
        self.waits: list[bool] = []
        self.held = False
        self.defining = nullcontext()

    @property
    @contextmanager
    def writing(self) -> Iterator[None]:
        self.held = True
        yield
        self.held = False

    def call(self, method: str, /, *args: Any, long: bool = False, **kwargs: Any) -> Any:
        assert self.held == (method in ("upsert", "delete")), "writers take turns, readers do not wait"
        self.asked.append((method, args, kwargs))
        self.waits.append(long)
        answer = self._answers.get(method)
        return answer(**kwargs) if callable(answer) else answer


def version(layout: PartitionLayout | None = None, dim: int = 4) -> OpenVersion:
    layout = layout or PartitionLayout.one_each(3)
    return OpenVersion(VersionInfo("cats", 1, "f", dim, len(layout.names)), "cats__v1", layout)


def rows(clusters: list[int], dim: int = 4, prefix: str = "") -> GalleryRows:
    vectors = np.zeros((len(clusters), dim), dtype=np.float32)
    vectors[:, 0] = 1
    uris = tuple(f"{prefix}{number}.jpg" for number in range(len(clusters)))
    return GalleryRows(Embeddings(uris, vectors), np.array(clusters, dtype=np.int64))


def test_rows_are_upserted_into_the_partitions_of_their_clusters():
    session = FakeSession()
    insert_rows(session, version(), rows([2, 0, 2, 0]))

    sent = [
        (method, kwargs["partition_name"], [row["id"] for row in args[1]]) for method, args, kwargs in session.asked
    ]
    ids = [photo_id(f"{number}.jpg") for number in range(4)]
    assert sent == [("upsert", "c00000", [ids[1], ids[3]]), ("upsert", "c00002", [ids[0], ids[2]])]


def test_rows_of_clusters_that_share_go_together():
    session = FakeSession()
    insert_rows(session, version(PartitionLayout(("s00000", "s00001", "s00000"))), rows([2, 0, 1]))
    sent = [(kwargs["partition_name"], [row["cluster_id"] for row in args[1]]) for _, args, kwargs in session.asked]
    assert sent == [("s00000", [2, 0]), ("s00001", [1])]


def test_a_message_is_bounded_by_bytes():
    session = FakeSession()
    insert_rows(session, version(), rows([0] * 1200, prefix="x" * 16_000))
    sizes = [len(args[1]) for _, args, _ in session.asked]
    assert sum(sizes) == 1200
    assert len(sizes) == 3 and max(sizes) * 16_000 <= PAGE_BYTES


def test_nothing_is_sent_where_a_row_does_not_fit():
    session = FakeSession()
    with pytest.raises(InvalidValue):
        insert_rows(session, version(), rows([0, 3]))
    insert_rows(session, version(), rows([]))
    delete_rows(session, version(), np.empty(0, dtype=np.int64))
    assert session.asked == []


def test_ids_are_deleted_a_thousand_at_a_time():
    session = FakeSession()
    delete_rows(session, version(), np.arange(2500))
    assert [len(kwargs["ids"]) for _, _, kwargs in session.asked] == [1000, 1000, 500]
    assert all(type(one) is int for one in session.asked[0][2]["ids"])


def test_photos_are_counted_with_all_writes():
    session = FakeSession(query=[{"count(*)": 7}])
    assert count_rows(session, version()) == 7
    assert session.asked[0][2]["consistency_level"] == "Strong"


def hit(photo: int, distance: float) -> dict[str, Any]:
    return {"id": photo, "distance": distance, "entity": {"uri": f"{photo}.jpg", "cluster_id": 1}}


def test_a_search_names_partitions_and_fields_and_sorts_again():
    session = FakeSession(search=[[hit(9, 0.5), hit(3, 0.9), hit(2, 0.5)]])
    found = search_rows(session, version(), np.eye(4, dtype=np.float32)[:1], np.array([1, 1]), 3)[0]

    assert found.ids.tolist() == [3, 2, 9]
    assert found.uris == ("3.jpg", "2.jpg", "9.jpg")
    asked = session.asked[0][2]
    assert asked["partition_names"] == ["c00001"] and asked["output_fields"] == ["uri", "cluster_id"]
    assert asked["filter"] == "" and asked["consistency_level"] == "Session"


def test_a_shared_partition_is_filtered():
    session = FakeSession(search=[[]])
    shared = version(PartitionLayout(("s00000", "s00001", "s00000")))
    search_rows(session, shared, np.eye(4, dtype=np.float32)[:1], np.array([2]), 3)
    assert session.asked[0][2]["partition_names"] == ["s00000"]
    assert session.asked[0][2]["filter"] == "cluster_id in [2]"


def test_no_clusters_are_never_asked_for():
    session = FakeSession()
    assert [len(one) for one in search_rows(session, version(), np.eye(4, dtype=np.float32), np.array([]), 3)] == [
        0
    ] * 4
    assert session.asked == []


@pytest.mark.parametrize(("limit", "calls"), [(1, 4), (1024, 4), (16_384, 50)])
def test_many_queries_are_asked_in_turns(limit, calls):
    session = FakeSession(search=lambda data, **_: [[] for _ in data])
    queries = np.tile(np.eye(4, dtype=np.float32), (50, 1))
    assert len(search_rows(session, version(), queries, np.array([0]), limit)) == 200
    assert len(session.asked) == calls


def test_one_sketch_is_not_waited_for_as_long_as_many():
    session = FakeSession(search=lambda data, **_: [[] for _ in data])
    for n in (1, 2):
        search_rows(session, version(), np.eye(4, dtype=np.float32)[:n], np.array([0]), 3)
    assert session.waits == [False, True]


def test_what_fits_one_page_is_asked_for_plainly():
    session = FakeSession(query=[{"id": 1}, {"id": 2}])
    assert list(read_pages(session, "cats__v1", ["id"], 3, "c00001")) == [[{"id": 1}, {"id": 2}]]
    assert session.asked == [
        (
            "query",
            ("cats__v1",),
            {
                "filter": "",
                "limit": 3,
                "output_fields": ["id"],
                "consistency_level": "Strong",
                "partition_names": ["c00001"],
            },
        )
    ]


def test_what_does_not_fit_is_iterated_from_the_start():
    iterator = FakeIterator([[{"id": 1}, {"id": 2}], [{"id": 3}]])
    session = FakeSession(query=[{"id": 2}, {"id": 1}], query_iterator=iterator)
    pages = read_pages(session, "cats__v1", ["id"], 2)
    assert list(pages) == [[{"id": 1}, {"id": 2}], [{"id": 3}]]
    assert iterator.closed
    assert "partition_names" not in session.asked[1][2]


def test_pages_are_bounded():
    assert page_rows(1) == 16_384
    assert page_rows(2048) == 4096
    assert page_rows(10**9) == 1
