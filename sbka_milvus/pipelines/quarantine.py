"""The files that a gallery could not use: told, taken out to a table, and tried again."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sbka_milvus.embeddings import Gallery, QuarantinedFile, read_quarantine
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.errors import SettingsError
from sbka_milvus.files import replacing
from sbka_milvus.images import photos_of_uris, still_there
from sbka_milvus.images.uris import is_remote, split_member
from sbka_milvus.pipelines.embed import require_own_encoder, update_quarantine
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.encode_files import encode_files
from sbka_milvus.pipelines.index import IndexOptions, IndexReport, build_index, require_current
from sbka_milvus.pipelines.shard_buffer import ShardBuffer
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder, GalleryStore

EXPORT_SUFFIXES = (".csv", ".jsonl")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file in quarantine, and what is at its place now.

    Attributes:
        uri: the file.
        reason: one sentence.
        kind: :attr:`~sbka_milvus.embeddings.QuarantinedFile.kind` of the reason.
        size: bytes now; none where there is no such file on the disk. Of a member, its archive's.
        changed: when it was last changed, as ISO 8601 in UTC; none likewise.
    """

    uri: str
    reason: str
    kind: str
    size: int | None
    changed: str | None


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What a second try has brought.

    Attributes:
        tried: files that were in quarantine, and were looked at again.
        embedded: photos that are in the gallery now; a folder or an archive may have held many.
        gone: files that are there no more, and are listed no more.
        remaining: files that still cannot be used, each with its reason now.
        index: the index afterwards; none where nothing was embedded.
        seconds: wall time.
    """

    tried: int = 0
    embedded: int = 0
    gone: int = 0
    remaining: tuple[QuarantinedFile, ...] = ()
    index: IndexReport | None = None
    seconds: float = 0.0


def quarantined_files(gallery: Gallery, reason: str = "") -> list[ListedFile]:
    """The files in quarantine, in order of URI.

    Args:
        gallery: whose they are.
        reason: a part of the reason, whatever the letters' case; empty: all.

    Raises:
        GalleryError: The list is damaged.
    """
    return [_listed(file) for file in read_quarantine(gallery.quarantine_file) if _matches(file, reason)]


def count_kinds(files: Iterable[ListedFile]) -> dict[str, int]:
    """How many files there are of each kind of reason, the most frequent first."""
    return dict(Counter(file.kind for file in files).most_common())


def export_quarantine(files: Sequence[ListedFile], suffix: str) -> bytes:
    """A table of the files: ``uri``, ``reason``, ``kind``, ``size``, ``changed``.

    Args:
        files: its rows.
        suffix: ``.csv``, where names that are not UTF-8 stand as the bytes that they are; or ``.jsonl``, which is
            ASCII, and where they stand as Python's ``os.fsencode`` takes them.

    Raises:
        SettingsError: It is another suffix.
    """
    if suffix.lower() not in EXPORT_SUFFIXES:
        raise SettingsError(
            f"The list cannot be exported as {suffix or 'a file without a suffix'}.",
            f"Name a file that ends in {' or '.join(EXPORT_SUFFIXES)}.",
        )
    rows = [asdict(file) for file in files]
    if suffix.lower() == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(ListedFile.__dataclass_fields__))
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue().encode("utf-8", "surrogateescape")


def write_export(files: Sequence[ListedFile], path: Path) -> None:
    """Writes :func:`export_quarantine` to a file, by its suffix.

    Raises:
        SettingsError: It has another suffix.
        OutputError: It cannot be written.
    """
    data = export_quarantine(files, path.suffix)
    with replacing(path) as stream:
        stream.write(data)


def retry_quarantined(
    gallery: Gallery,
    encoder: Encoder,
    store: GalleryStore,
    embed_options: EmbedOptions,
    index_options: IndexOptions,
    progress: Progress,
    reason: str = "",
) -> RetryReport:
    """Looks at files in quarantine again, embeds those that can be used now, and brings the index up to date.

    What a manifest says of a photo comes with the next ingest of the manifest.

    Args:
        gallery: whose they are.
        encoder: the gallery's own.
        store: where it is indexed.
        embed_options: sizes, processes and limits.
        index_options: how to index.
        progress: what shows how far it is.
        reason: only files whose reason has this in it.

    Raises:
        EncoderMismatch: The encoder is not the gallery's.
        GalleryError: A shard or the list is damaged, or another model is served by now.
        OutputError: The disk is full or the folder cannot be written.
        StoreError: Milvus refused.
    """
    start = time.perf_counter()
    require_own_encoder(gallery, encoder)
    require_current(gallery, store)
    listed = {file.uri: file.reason for file in read_quarantine(gallery.quarantine_file) if _matches(file, reason)}
    there = {uri: why for uri, why in listed.items() if still_there(uri)}
    problems: dict[str, str] = {}
    with progress.stage("Finding photos") as advance:
        files = []
        for file in photos_of_uris(list(there), lambda uri, why: problems.update({uri: why})):
            files.append(file)
            advance(1)
    # Names that say where something went wrong, such as a manifest's row, are no photos: their reasons stay.
    problems.update({uri: why for uri, why in there.items() if uri in problems and _names_a_place(uri)})
    known = read_known(gallery.shard_folder)
    fresh = [file for file in files if known.get(file.uri) != (file.size, file.mtime_ns)]
    writer = ShardBuffer(gallery, embed_options.shard_size)
    if fresh:
        with progress.stage("Embedding photos", len(fresh), "photos") as advance:
            try:
                encode_files(fresh, encoder, embed_options, writer.add_photos, problems, advance)
            finally:
                writer.flush()
    remaining = tuple(QuarantinedFile(uri, why) for uri, why in sorted(problems.items()))
    update_quarantine(gallery, (), {*listed, *(file.uri for file in files)}, remaining)
    index = build_index(gallery, store, index_options, progress) if writer.written else None
    return RetryReport(
        tried=len(listed),
        embedded=writer.written,
        gone=len(listed) - len(there),
        remaining=remaining,
        index=index,
        seconds=time.perf_counter() - start,
    )


def has_quarantined(gallery: Gallery, reason: str = "") -> bool:
    """Whether there is any such file in quarantine.

    Raises:
        GalleryError: The list is damaged.
    """
    return any(_matches(file, reason) for file in read_quarantine(gallery.quarantine_file))


def _matches(file: QuarantinedFile, reason: str) -> bool:
    return reason.casefold() in file.reason.casefold()


def _names_a_place(uri: str) -> bool:
    return "#" in uri and not is_remote(uri) and not os.path.lexists(uri)


def _listed(file: QuarantinedFile) -> ListedFile:
    size = changed = None
    member = split_member(file.uri)
    if not is_remote(file.uri):
        try:
            found = os.stat(member[0] if member and not os.path.lexists(file.uri) else file.uri)  # noqa: PTH116
            size = found.st_size
            changed = datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds")
        except (OSError, ValueError, OverflowError):
            pass
    return ListedFile(file.uri, file.reason, file.kind, size, changed)
