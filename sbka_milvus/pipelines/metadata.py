"""What sources say of photos beside their pixels: carried along, renewed without embedding again, and indexed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import read_metadata, read_records, write_shard
from sbka_milvus.images import PhotoFile
from sbka_milvus.types import Embeddings, FieldKind, Metadata, MetadataField, Scalar


@dataclass(frozen=True, slots=True)
class Sorted:
    """Photos of sources, against what a gallery holds of them.

    Attributes:
        fresh: new or changed: to be embedded.
        renewed: embedded as they are now, with other metadata: to be written again with their vectors.
        unchanged: number of those that need nothing.
    """

    fresh: list[PhotoFile]
    renewed: list[PhotoFile]
    unchanged: int


class Sorting:
    """Tells which photos need work.

    A source that says nothing of photos, such as a folder, takes nothing away from what another one has said.

    Args:
        known: size and time of what is embedded, by URI: :func:`~sbka_milvus.embeddings.shards.read_known`.
        said: metadata of it: :func:`~sbka_milvus.embeddings.shards.read_metadata`.
    """

    def __init__(self, known: Mapping[str, tuple[int, int]], said: Mapping[str, Metadata]) -> None:
        self._known = known
        self._said = said

    def is_fresh(self, file: PhotoFile) -> bool:
        """Whether a photo is new or changed."""
        return self._known.get(file.uri) != (file.size, file.mtime_ns)

    def is_renewed(self, file: PhotoFile) -> bool:
        """Whether a photo that is embedded has other metadata now."""
        return file.metadata is not None and dict(file.metadata) != self._said.get(file.uri, {})

    def with_metadata(self, file: PhotoFile) -> PhotoFile:
        """The photo with what was said of it before, where its source says nothing."""
        said = self._said.get(file.uri)
        return replace(file, metadata=said) if file.metadata is None and said is not None else file

    def sort(self, files: Iterable[PhotoFile]) -> Sorted:
        """Sorts all of them."""
        result = Sorted([], [], 0)
        count = 0
        for file in files:
            if self.is_fresh(file):
                result.fresh.append(self.with_metadata(file))
            elif self.is_renewed(file):
                result.renewed.append(file)
            else:
                count += 1
        return replace(result, unchanged=count)


def renew_metadata(gallery: Gallery, files: Sequence[PhotoFile]) -> None:
    """Writes embedded photos again, in one new shard, with the metadata that they have now.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
        OutputError: The disk is full or the folder cannot be written.
    """
    wanted = {file.uri: file.metadata for file in files}
    parts = [] if not wanted else list(_chosen(read_records(gallery.shard_folder, gallery.fingerprint), wanted))
    if not parts:
        return
    uris = [uri for part in parts for uri in part.uris]
    newest = sorted({uri: row for row, uri in enumerate(uris)}.values())
    kept = PhotoRecords.joined(parts).rows(newest)
    renewed = replace(kept, metadata=tuple(wanted[uri] for uri in kept.uris))
    write_shard(gallery.shard_folder, renewed, gallery.fingerprint)


def metadata_fields(said: Iterable[Metadata]) -> tuple[MetadataField, ...]:
    """The columns of photos and the kinds in which all their values fit, by name.

    >>> [(field.name, field.kind) for field in metadata_fields([{"a": 1, "b": True}, {"a": 1.5, "b": "x"}])]
    [('a', 'float'), ('b', 'text')]
    """
    kinds: dict[str, set[FieldKind]] = {}
    for one in said:
        for name, value in one.items():
            kinds.setdefault(name, set()).add(_kind_of(value))
    return tuple(MetadataField(name, _common(found)) for name, found in sorted(kinds.items()))


def indexed_metadata(gallery: Gallery, embeddings: Embeddings) -> tuple[tuple[MetadataField, ...], list[Metadata]]:
    """What an index keeps of photos beside their vectors.

    Returns:
        The columns, none where nothing is known of any photo; and the values of each photo in their kinds.

    Raises:
        GalleryError: A shard is damaged.
    """
    said = read_metadata(gallery.shard_folder)
    fields = metadata_fields(said.values())
    kinds = {field.name: field.kind for field in fields}
    values = [{name: _as(kinds[name], value) for name, value in said.get(uri, {}).items()} for uri in embeddings.uris]
    return fields, list(values)


def in_kinds(fields: Sequence[MetadataField], said: Metadata) -> Metadata:
    """What is said of a photo, each value in the kind of its column."""
    kinds = {field.name: field.kind for field in fields}
    return {name: _as(kinds[name], value) for name, value in said.items()}


def _chosen(records: Iterable[PhotoRecords], wanted: Mapping[str, Metadata | None]) -> Iterator[PhotoRecords]:
    for part in records:
        rows = [row for row, uri in enumerate(part.uris) if uri in wanted]
        if rows:
            yield part.rows(rows)


def _kind_of(value: Scalar) -> FieldKind:
    # A bool is an int to Python.
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "float" if isinstance(value, float) else "text"


def _common(kinds: set[FieldKind]) -> FieldKind:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float" if kinds == {"int", "float"} else "text"


def _as(kind: FieldKind, value: Scalar) -> Scalar:
    if kind == "float":
        return float(value)
    if kind == "text" and not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value
