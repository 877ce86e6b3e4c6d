"""``index.json`` of a gallery: which version is served, and in which Milvus."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sbka_milvus.files import replacing


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """What was served when it was written.

    Attributes:
        version: its number.
        source: digest of the shards and options that it was built from.
        photos: how many it holds.
        token: its name in the store; empty where an earlier release of this package wrote the record.
        place: the Milvus that has it: ``embedded``, a server's address, ``up:<workspace>``; empty where it is unknown.
    """

    version: int
    source: str
    photos: int
    token: str = ""
    place: str = ""


def read_index_record(path: Path) -> IndexRecord | None:
    """The record; none where there is none or it is damaged: Milvus itself knows what it serves."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {field.name for field in fields(IndexRecord)}
        record = IndexRecord(**{name: value for name, value in content.items() if name in names})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    texts = (record.source, record.token, record.place)
    return record if all(isinstance(text, str) for text in texts) else None


def write_index_record(path: Path, record: IndexRecord) -> None:
    """Replaces the record, where it is another one.

    Raises:
        OutputError: The folder cannot be written.
    """
    if read_index_record(path) == record:
        return
    with replacing(path) as file:
        file.write(json.dumps(asdict(record)).encode())
