"""Files of vectors made elsewhere, read a block of rows at a time: parquet, npz, and npy with a CSV beside it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from sbka_milvus.errors import SourceError

URI_NAMES = ("uri", "url", "path", "file", "file_name", "filename", "image", "image_path", "key", "id")
"""Columns that may name photos, the first that there is."""

VECTOR_NAMES = ("vector", "embedding", "embeddings", "vectors", "features")
"""Columns that may hold vectors, likewise."""

SUFFIXES = (".parquet", ".npz", ".npy")


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """What the columns are called; none: found by the usual names."""

    uri: str | None = None
    vector: str | None = None


@dataclass(frozen=True, slots=True)
class VectorBlock:
    """Some rows of a file, with values that were not looked at.

    Attributes:
        source: the file.
        first: number of the first row, counted from 1 without any header.
        uris: N names of photos.
        vectors: shape (N, D), of any float type. A row whose vector is missing or of another length is all NaN.
        lengths: of the N vectors, where they differ; else none.
        columns: all others, N values each.
    """

    source: Path
    first: int
    uris: list[str]
    vectors: Any
    lengths: list[int] | None
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.uris)


@dataclass(frozen=True, slots=True)
class VectorFile:
    """A file of vectors that can be read any number of times.

    Attributes:
        path: the file.
        rows: how many it has.
        columns: names of its other columns.
        blocks: reads it, at most so many rows at a time.
        model: fingerprint of the model that made the vectors, where `sbka export` wrote the file; else empty.
    """

    path: Path
    rows: int
    columns: tuple[str, ...]
    blocks: Callable[[int], Iterator[VectorBlock]]
    model: str = ""


def open_vector_file(path: Path, names: ColumnNames) -> VectorFile:
    """Looks at a file; no vector is read yet.

    Raises:
        SourceError: It is missing, damaged, of another kind, or has no column of names or of vectors.
    """
    kinds = {".parquet": _open_parquet, ".npz": _open_npz, ".npy": _open_npy}
    opener = kinds.get(path.suffix.lower())
    if opener is None:
        raise SourceError(f"{path} is no file of vectors by its name.", f"Give one of {', '.join(SUFFIXES)}.")
    try:
        return opener(path, names)
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename or path} does not exist.", "Check the path.") from None
    except (OSError, ValueError, KeyError, pa.ArrowException, zipfile.BadZipFile, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}.", "Export it again.") from error


def _open_parquet(path: Path, names: ColumnNames) -> VectorFile:
    file = pq.ParquetFile(path)
    found = file.schema_arrow.names
    uri, vector = _named(path, found, names)
    kind = file.schema_arrow.field(vector).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise SourceError(
            f"The column {vector!r} of {path} holds {kind}, and vectors are lists of numbers.",
            "Name the right one with --vector-column.",
        )
    others = tuple(name for name in found if name not in (uri, vector))

    def blocks(size: int) -> Iterator[VectorBlock]:
        first = 1
        try:
            # Opened anew each time: an iteration that is left open would hold row groups.
            for batch in pq.ParquetFile(path).iter_batches(batch_size=size):
                rows, lengths = _vectors(batch.column(batch.schema.get_field_index(vector)))
                columns = {name: batch.column(batch.schema.get_field_index(name)).to_pylist() for name in others}
                uris = _texts(batch.column(batch.schema.get_field_index(uri)).to_pylist())
                yield VectorBlock(path, first, uris, rows, lengths, columns)
                first += len(uris)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"{path} is damaged from row {first} on: {error}.", "Export it again.") from error

    model = (file.schema_arrow.metadata or {}).get(b"sbka.model", b"").decode(errors="replace")
    return VectorFile(path, file.metadata.num_rows, others, blocks, model)


def _vectors(column: Any) -> tuple[Any, list[int] | None]:
    """Rows of a list column as an array; rows that do not fit the others are NaN, and then all lengths are told."""
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    flat = column.flatten()
    if column.null_count == 0 and flat.null_count == 0 and len(lengths) and (lengths == lengths[0]).all():
        return flat.to_numpy(zero_copy_only=False).reshape(len(lengths), int(lengths[0])), None
    dim = int(np.bincount(lengths).argmax()) if len(lengths) else 0
    rows = np.full((len(lengths), dim), np.nan)
    for place, values in enumerate(column.to_pylist()):
        if values is not None and len(values) == dim:
            rows[place] = [np.nan if value is None else value for value in values]
    return rows, [int(length) for length in lengths]


def _open_npz(path: Path, names: ColumnNames) -> VectorFile:
    with zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist()]
        uri, vector = _named(path, members, names)
        shape, _, _ = _header(archive, vector)
        said = _read_member(archive, "model") if "model" in members else np.array("")
        uris = _texts(_read_member(archive, uri).tolist())
        others = {
            name: _plain(_read_member(archive, name))
            for name in members
            if name not in (uri, vector) and _header(archive, name)[0] == (len(uris),)
        }
    _require_rows(path, shape, len(uris), vector)

    def blocks(size: int) -> Iterator[VectorBlock]:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{vector}.npy") as stream:
                shape, order, kind = _read_header(stream)
                if order:
                    raise SourceError(f"The array {vector!r} of {path} is in Fortran order.", "Save it in C order.")
                for first in range(0, len(uris), size):
                    count = min(size, len(uris) - first)
                    data = stream.read(count * shape[1] * kind.itemsize)
                    rows = np.frombuffer(data, dtype=kind).reshape(count, shape[1])
                    cut = slice(first, first + count)
                    columns = {name: values[cut] for name, values in others.items()}
                    yield VectorBlock(path, first + 1, uris[cut], rows, None, columns)
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise SourceError(f"{path} is damaged: {error}.", "Export it again.") from error

    return VectorFile(path, len(uris), tuple(others), blocks, str(said) if said.ndim == 0 else "")


def _open_npy(path: Path, names: ColumnNames) -> VectorFile:
    vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    beside = path.with_suffix(".csv")
    table = pacsv.read_csv(beside)
    found = table.column_names
    uri = names.uri or next((name for name in URI_NAMES if name in found), None)
    if uri is None or uri not in found:
        raise _no_column(beside, found, "names of photos", "--uri-column")
    _require_rows(path, vectors.shape, len(table), beside.name)
    others = {name: table[name].to_pylist() for name in found if name != uri}
    uris = _texts(table[uri].to_pylist())

    def blocks(size: int) -> Iterator[VectorBlock]:
        for first in range(0, len(uris), size):
            cut = slice(first, first + size)
            columns = {name: values[cut] for name, values in others.items()}
            yield VectorBlock(path, first + 1, uris[cut], np.array(vectors[cut]), None, columns)

    return VectorFile(path, len(uris), tuple(others), blocks)


def _named(path: Path, found: Sequence[str], names: ColumnNames) -> tuple[str, str]:
    uri = names.uri or next((name for name in URI_NAMES if name in found), None)
    vector = names.vector or next((name for name in VECTOR_NAMES if name in found), None)
    if uri is None or uri not in found:
        raise _no_column(path, found, "names of photos", "--uri-column")
    if vector is None or vector not in found:
        raise _no_column(path, found, "vectors", "--vector-column")
    return uri, vector


def _no_column(path: Path, found: Sequence[str], what: str, option: str) -> SourceError:
    return SourceError(
        f"{path} has no known column of {what}; it has {', '.join(found) or 'none'}.", f"Name it with {option}."
    )


def _require_rows(path: Path, shape: tuple[int, ...], count: int, what: str) -> None:
    if len(shape) != 2 or shape[0] != count:
        raise SourceError(
            f"{path} holds an array of shape {shape} where {count} rows of vectors are named by {what!r}.",
            "Vectors are a matrix with one row a photo.",
        )


def _texts(values: list[Any]) -> list[str]:
    # Bytes are file names as they are; whole numbers are keys.
    return [
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else "" if value is None else str(value)
        for value in values
    ]


def _plain(values: Any) -> list[Any]:
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values.tolist()]


def _read_member(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], bool, Any]:
    with archive.open(f"{name}.npy") as stream:
        return _read_header(stream)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, order, kind = read(stream)
    return shape, order, kind
