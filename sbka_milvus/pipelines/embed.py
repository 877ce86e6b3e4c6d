"""Embed: find photos, decode those that are new or changed, encode them, write shards."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords, QuarantinedFile, read_quarantine, write_quarantine
from sbka_milvus.embeddings.shards import read_known, write_shard
from sbka_milvus.errors import EncoderMismatch, ImageError
from sbka_milvus.images import DecodedPhoto, PhotoFile, find_photos, load_photo_file
from sbka_milvus.progress import Advance, Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.types import FloatArray

_WINDOW = 4
"""Batches that may wait decoded: the decoding threads stay ahead of the encoder, and memory stays bounded."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed; see :class:`~sbka_milvus.settings.IngestSettings`."""

    batch_size: int = 32
    decode_threads: int = 2
    shard_size: int = 4096
    max_pixels: int = 178_956_970
    decode_size: int = 224


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What embedding did.

    Attributes:
        found: photos in the sources.
        embedded: photos embedded in this run.
        unchanged: photos that were embedded before and have not changed.
        quarantined: files of these sources that could not be used.
        seconds: wall time.
    """

    found: int
    embedded: int
    unchanged: int
    quarantined: tuple[QuarantinedFile, ...]
    seconds: float


def embed_photos(
    sources: Sequence[str | Path], gallery: Gallery, encoder: Encoder, options: EmbedOptions, progress: Progress
) -> EmbedReport:
    """Embeds the photos of ``sources`` that the gallery does not hold yet. Safe to stop and run again at any time.

    Raises:
        EncoderMismatch: The encoder is not the gallery's.
        ImageError: A source does not exist or matches nothing.
        GalleryError: A shard or the list of quarantined files is damaged.
        OutputError: The disk is full or the folder cannot be written.
    """
    start = time.perf_counter()
    if encoder.fingerprint != gallery.fingerprint:
        raise EncoderMismatch(
            f"The gallery {gallery.root} is embedded with the model {gallery.fingerprint}, not {encoder.fingerprint}.",
            "Ingest with the gallery's own model, or into a new folder.",
        )
    problems: dict[str, str] = {}
    with progress.stage("Finding photos") as advance:
        files = list(_counted(find_photos(sources, lambda path, why: problems.update({str(path): why})), advance))
    known = read_known(gallery.shard_folder)
    fresh = [file for file in files if known.get(file.uri) != (file.size, file.mtime_ns)]
    writer = _ShardBuffer(gallery, encoder.fingerprint, options.shard_size)
    if fresh:
        with progress.stage("Embedding photos", len(fresh), "photos") as advance:
            try:
                _embed(fresh, encoder, options, writer, problems, advance)
            finally:
                # Also after Ctrl-C or a full disk: what was encoded need not be encoded again.
                writer.flush()
    quarantined = tuple(QuarantinedFile(uri, why) for uri, why in sorted(problems.items()))
    _update_quarantine(gallery, sources, files, quarantined)
    return EmbedReport(len(files), writer.written, len(files) - len(fresh), quarantined, time.perf_counter() - start)


def _counted(files: Iterable[PhotoFile], advance: Advance) -> Iterator[PhotoFile]:
    for file in files:
        advance(1)
        yield file


def _embed(
    files: Sequence[PhotoFile],
    encoder: Encoder,
    options: EmbedOptions,
    writer: _ShardBuffer,
    problems: dict[str, str],
    advance: Advance,
) -> None:
    # Closed before the pool is: after Ctrl-C it would else decode all that waits.
    with (
        ThreadPoolExecutor(options.decode_threads, thread_name_prefix="sbka-decode") as pool,
        closing(_decode_ahead(pool, files, options)) as decoded,
    ):
        while batch := list(itertools.islice(decoded, options.batch_size)):
            photos = [photo for photo in batch if isinstance(photo, DecodedPhoto)]
            problems.update({failure.uri: failure.reason for failure in batch if isinstance(failure, QuarantinedFile)})
            if photos:
                writer.add(photos, encoder.encode_photos([photo.image for photo in photos]))
            advance(len(batch))


def _decode_ahead(
    pool: ThreadPoolExecutor, files: Sequence[PhotoFile], options: EmbedOptions
) -> Generator[DecodedPhoto | QuarantinedFile, None, None]:
    """Decodes in order, at most a few batches ahead."""
    waiting: list[Future[DecodedPhoto | QuarantinedFile]] = []
    source = iter(files)
    try:
        for file in source:
            waiting.append(pool.submit(_decode, file, options))
            if len(waiting) >= _WINDOW * options.batch_size:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def _decode(file: PhotoFile, options: EmbedOptions) -> DecodedPhoto | QuarantinedFile:
    try:
        return load_photo_file(file, max_pixels=options.max_pixels, target_size=options.decode_size)
    except ImageError as error:
        return QuarantinedFile(file.uri, error.problem)


class _ShardBuffer:
    """Collects embedded photos and writes them as shards."""

    def __init__(self, gallery: Gallery, fingerprint: str, shard_size: int) -> None:
        self.written = 0
        self._gallery = gallery
        self._fingerprint = fingerprint
        self._shard_size = shard_size
        self._photos: list[tuple[PhotoFile, str, int, int]] = []
        self._vectors: list[FloatArray] = []

    def add(self, photos: Sequence[DecodedPhoto], vectors: FloatArray) -> None:
        # The pictures themselves are dropped here: a shard's worth of them would not fit into memory.
        self._photos.extend((photo.file, photo.content_hash, photo.width, photo.height) for photo in photos)
        self._vectors.append(vectors)
        if len(self._photos) >= self._shard_size:
            self.flush()

    def flush(self) -> None:
        if not self._photos:
            return
        files, hashes, widths, heights = zip(*self._photos, strict=True)
        records = PhotoRecords(
            uris=tuple(file.uri for file in files),
            content_hashes=tuple(hashes),
            sizes=np.asarray([file.size for file in files], dtype=np.int64),
            mtimes_ns=np.asarray([file.mtime_ns for file in files], dtype=np.int64),
            widths=np.asarray(widths, dtype=np.int64),
            heights=np.asarray(heights, dtype=np.int64),
            vectors=np.concatenate(self._vectors),
        )
        write_shard(self._gallery.shard_folder, records, self._fingerprint)
        self.written += len(records)
        self._photos, self._vectors = [], []


def _update_quarantine(
    gallery: Gallery, sources: Sequence[str | Path], files: Sequence[PhotoFile], fresh: Sequence[QuarantinedFile]
) -> None:
    """Files of other sources stay listed while they are there; those of this run are listed anew."""
    seen = {file.uri for file in files}
    # Not resolved: files are named by the links as the user wrote them.
    roots = [Path(os.path.abspath(source)) for source in sources]  # noqa: PTH100
    listed = read_quarantine(gallery.quarantine_file)
    kept = {file.uri: file for file in listed if file.uri not in seen and _is_elsewhere(Path(file.uri), roots)}
    kept.update({file.uri: file for file in fresh})
    if kept or listed:
        write_quarantine(gallery.quarantine_file, kept.values())


def _is_elsewhere(path: Path, roots: Sequence[Path]) -> bool:
    return os.path.lexists(path) and not any(path.is_relative_to(root) for root in roots)
