"""Reading more rows than one answer may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sbka_milvus.store.faults import store_faults
from sbka_milvus.store.limits import MAX_LIMIT
from sbka_milvus.store.session import Session

PAGE_BYTES = 8 * 1024 * 1024
"""What one message carries: well below the 64 MB of a server's default."""

READ_BYTES = 4 * PAGE_BYTES
"""What one answer carries where whole versions are read: most partitions of a large gallery then fit into one."""

Record = Mapping[str, Any]


LITE_PAGE = 131_072
"""The most rows of a page of Milvus Lite, which has no limit: it walks all rows for each page anew."""


def page_rows(row_bytes: int, page_bytes: int = PAGE_BYTES, most: int = MAX_LIMIT) -> int:
    """How many rows of a size go into one message."""
    return max(1, min(most, page_bytes // max(1, row_bytes)))


def read_pages(
    session: Session, collection: str, fields: list[str], page: int, partition: str | None = None
) -> Iterator[list[Record]]:
    """All rows of a collection or of one of its partitions, in pages, in no particular order.

    Args:
        page: the most rows of a page, 1 to 16,384; more on Milvus Lite.

    Raises:
        StoreError: Or one of its kinds.
    """
    scope = {"partition_names": [partition]} if partition else {}
    arguments: dict[str, Any] = {"output_fields": fields, "consistency_level": "Strong", **scope}
    # An iterator begins with a look at the whole collection, which Milvus Lite walks row by row, so what fits
    # into one page is asked for plainly: most partitions do.
    first = session.call("query", collection, filter="", limit=page, **arguments)
    if len(first) < page:
        if first:
            yield list(first)
        return
    iterator = session.call("query_iterator", collection, batch_size=min(page, MAX_LIMIT), long=True, **arguments)
    try:
        while records := _next(session, iterator):
            yield records
    finally:
        iterator.close()


def _next(session: Session, iterator: Any) -> list[Record]:
    with store_faults(session.place):
        return list(iterator.next())
