"""Manifests: tables that name photos and say something of each. CSV, TSV, Parquet and JSON lines, read by pyarrow."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbka_milvus.errors import SourceError
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.metadata import MAX_COLUMNS, UnfitValue, plain_value, require_name
from sbka_milvus.images.uris import has_suffix
from sbka_milvus.types import Metadata, Scalar

URI_COLUMNS = ("uri", "url", "path", "file", "file_name", "filename", "image")
"""The column that names the picture, the first of these that there is; letters' case does not matter."""

_BATCH = 10_000
_ROW = re.compile(r"(?:Column\(/?(?P<column>.*?)\) )?(?P<what>.*?) in row (?P<row>\d+)", re.DOTALL)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a manifest.

    Attributes:
        number: as an editor of tables counts: a header is row 1.
        target: what the row names, as it stands there.
        metadata: the other columns that have a value.
        problem: why the row cannot be used: the end of a sentence; empty where it can.
    """

    number: int
    target: str
    metadata: Metadata
    problem: str = ""


class Manifest:
    """A table of photos.

    Args:
        uri: its path or address; the suffix says what it is.
        data: its bytes; none for a file on the disk.
    """

    def __init__(self, uri: str, data: bytes | None = None) -> None:
        self._uri = uri
        self._data = data
        self._broken: list[tuple[int, str]] = []

    def check(self) -> None:
        """Looks at the columns alone.

        Raises:
            SourceError: The manifest cannot be read, no column names photos, or there are too many.
        """
        try:
            names = self._column_names()
        except SourceError:
            raise
        # pyarrow's own errors, and those of the disk and of the text's encoding.
        except Exception as error:
            raise self._unreadable(error) from error
        found = uri_column(names)
        if found is None:
            shown = ", ".join(map(repr, names[:10])) or "none"
            raise SourceError(
                f"{self._name} has no column that names the photos: its columns are {shown}.",
                f"Call it one of {', '.join(URI_COLUMNS)}; columns of .csv are separated by commas, of .tsv by tabs.",
            )
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise SourceError(f"{self._name} has several columns {doubled[0]!r}.", "Give each a name of its own.")
        if len(names) > MAX_COLUMNS + 1:
            raise SourceError(
                f"{self._name} has {len(names)} columns, and at most {MAX_COLUMNS} can be kept beside the photos'.",
                "Leave out those that no search is filtered by.",
            )
        for name in names:
            try:
                require_name(name)
            except UnfitValue as error:
                raise SourceError(f"{self._name} has a column that cannot be kept: {error}.", "Rename it.") from error

    def rows(self) -> Iterator[Row]:
        """The rows in their order; those that cannot be used say why.

        Raises:
            SourceError: As :meth:`check`; or the table is damaged, naming row and column where they are known.
        """
        self.check()
        self._broken = []
        number, told = self._first_row, 0
        try:
            for columns in self._batches():
                wanted = uri_column(list(columns)) or ""
                targets = columns.pop(wanted)
                for index, target in enumerate(targets):
                    while told < len(self._broken) and self._broken[told][0] <= number:
                        yield Row(number, "", {}, self._broken[told][1])
                        number, told = number + 1, told + 1
                    yield _row(number, target, {name: values[index] for name, values in columns.items()})
                    number += 1
            for place, why in self._broken[told:]:
                yield Row(place, "", {}, why)
        except SourceError:
            raise
        except Exception as error:
            raise self._unreadable(error) from error

    @property
    def _name(self) -> str:
        return printable(self._uri)

    @property
    def _first_row(self) -> int:
        return 2 if self._is(".csv", ".tsv") else 1

    def _is(self, *suffixes: str) -> bool:
        return has_suffix(self._uri, suffixes)

    def _source(self) -> Any:
        return io.BytesIO(self._data) if self._data is not None else self._uri

    def _column_names(self) -> list[str]:
        if self._is(".parquet"):
            import pyarrow.parquet as pq

            with pq.ParquetFile(self._source()) as file:
                return list(file.schema_arrow.names)
        with io.BytesIO(self._data) if self._data is not None else Path(self._uri).open("rb") as file:
            if self._is(".jsonl", ".ndjson"):
                line = next((line for line in file if line.strip()), b"{}")
                first = json.loads(line)
                if not isinstance(first, dict):
                    raise SourceError(f"{self._name} holds something else than an object in row 1.", "See the docs.")
                return list(first)
            import pyarrow.csv as pc

            with pc.open_csv(io.BytesIO(_first_line(file)), parse_options=self._csv_form()) as reader:
                return list(reader.schema.names)

    def _batches(self) -> Iterator[dict[str, list[Any]]]:
        if self._is(".parquet"):
            import pyarrow.parquet as pq

            with pq.ParquetFile(self._source()) as file:
                for batch in file.iter_batches(batch_size=_BATCH):
                    yield self._columns(batch)
            return
        table = self._read_json() if self._is(".jsonl", ".ndjson") else self._read_csv()
        for batch in table.to_batches(max_chunksize=_BATCH):
            yield self._columns(batch)

    def _read_csv(self) -> Any:
        import pyarrow as pa
        import pyarrow.csv as pc

        names = self._column_names()
        # One thread: only then does pyarrow say which row is broken.
        return pc.read_csv(
            self._source(),
            read_options=pc.ReadOptions(use_threads=False),
            parse_options=self._csv_form(),
            convert_options=pc.ConvertOptions(column_types={uri_column(names): pa.string()}),
        )

    def _csv_form(self) -> Any:
        import pyarrow.csv as pc

        delimiter = "\t" if self._is(".tsv") else ","
        return pc.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=self._broken_row)

    def _broken_row(self, row: Any) -> str:
        self._broken.append((row.number or 0, f"has {row.actual_columns} columns instead of {row.expected_columns}"))
        return "skip"

    def _read_json(self) -> Any:
        import pyarrow as pa
        import pyarrow.json as pj

        names = self._column_names()
        size = len(self._data) if self._data is not None else Path(self._uri).stat().st_size
        # One block: pyarrow counts rows anew in each, and then does not say which one it means.
        return pj.read_json(
            self._source(),
            read_options=pj.ReadOptions(use_threads=False, block_size=min(size + 1, 2**31 - 1)),
            parse_options=pj.ParseOptions(explicit_schema=pa.schema([(uri_column(names), pa.string())])),
        )

    def _columns(self, batch: Any) -> dict[str, list[Any]]:
        import pyarrow.types as kinds

        found: dict[str, list[Any]] = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if kinds.is_nested(column.type) or kinds.is_binary(column.type) or kinds.is_large_binary(column.type):
                _log.warning("The column %r of %s is left out: it holds %s.", name, self._name, column.type)
            else:
                # An empty cell of a .csv is no value; pyarrow says so of numbers alone.
                found[name] = [None if value == "" else value for value in column.to_pylist()]
        return found

    def _unreadable(self, error: Exception) -> SourceError:
        if isinstance(error, OSError) and error.strerror:
            return SourceError(f"{self._name} cannot be read: {error.strerror}.", "Check its path and permissions.")
        text = " ".join(str(error).split()) or type(error).__name__
        found = _ROW.search(text.removeprefix("JSON parse error: "))
        if found is None:
            return SourceError(f"{self._name} cannot be read: {text.rstrip('.')}.", "Check that it is what it says.")
        where = f"row {int(found['row']) + self._first_row}"
        if found["column"]:
            where += f", column {found['column']!r}"
        return SourceError(f"{self._name} cannot be read at {where}: it {found['what'].rstrip('.')}.", "Correct it.")


def uri_column(names: Sequence[str]) -> str | None:
    """The column that names the photos.

    >>> uri_column(["year", "Path", "file"]), uri_column(["year"])
    ('Path', None)
    """
    return next((name for wanted in URI_COLUMNS for name in names if name.lower() == wanted), None)


def _row(number: int, target: Any, values: dict[str, Any]) -> Row:
    if not isinstance(target, str) or not target.strip() or "\0" in target:
        return Row(number, "", {}, "names no photo")
    kept: dict[str, Scalar] = {}
    for name, value in values.items():
        try:
            plain = plain_value(value)
        except UnfitValue as error:
            return Row(number, target, {}, f"has a value that cannot be kept: column {name!r} {error}")
        if plain is not None:
            kept[name] = plain
    return Row(number, target, kept)


def _first_line(file: Any) -> bytes:
    """The header, and no more: types are looked for when all is read."""
    return bytes(file.readline(2**20))
