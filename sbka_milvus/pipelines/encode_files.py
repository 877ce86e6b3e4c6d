"""Files on their way to vectors: decoded ahead by threads, encoded in batches, collected into a shard."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords, QuarantinedFile
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.errors import ImageError
from sbka_milvus.images import DecodedPhoto, PhotoFile, load_photo_file
from sbka_milvus.progress import Advance
from sbka_milvus.protocols import Encoder
from sbka_milvus.types import FloatArray

OnFile = Callable[[PhotoFile | None], None]
OnBatch = Callable[[Sequence[DecodedPhoto], FloatArray], None]


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed; see :class:`~sbka_milvus.settings.IngestSettings`."""

    batch_size: int = 32
    decode_threads: int = 2
    shard_size: int = 4096
    max_pixels: int = 178_956_970
    decode_size: int = 224
    ahead: int = 4
    """Batches that may wait decoded: the decoding threads stay ahead of the encoder, and memory stays bounded."""


def encode_files(
    files: Sequence[PhotoFile],
    encoder: Encoder,
    options: EmbedOptions,
    on_batch: OnBatch,
    problems: dict[str, str],
    advance: Advance,
    on_file: OnFile | None = None,
) -> None:
    """Decodes and encodes files in their order.

    Args:
        files: the photos.
        encoder: what encodes them.
        options: sizes and threads.
        on_batch: is given the photos of a batch that could be decoded, and their vectors.
        problems: gains the reason for every file that could not be used, by its URI.
        advance: is told how many files are done.
        on_file: is told of each file before it is read, and at the end of none.
    """
    # Closed before the pool is: after Ctrl-C it would else decode all that waits.
    with (
        ThreadPoolExecutor(options.decode_threads, thread_name_prefix="sbka-decode") as pool,
        closing(_decode_ahead(pool, files, options, on_file)) as decoded,
    ):
        while batch := list(itertools.islice(decoded, options.batch_size)):
            photos = [photo for photo in batch if isinstance(photo, DecodedPhoto)]
            problems.update({failure.uri: failure.reason for failure in batch if isinstance(failure, QuarantinedFile)})
            if photos:
                on_batch(photos, encoder.encode_photos([photo.image for photo in photos]))
            advance(len(batch))


def _decode_ahead(
    pool: ThreadPoolExecutor, files: Sequence[PhotoFile], options: EmbedOptions, on_file: OnFile | None
) -> Generator[DecodedPhoto | QuarantinedFile, None, None]:
    """Decodes in order, at most a few batches ahead."""
    waiting: list[Future[DecodedPhoto | QuarantinedFile]] = []
    source = iter(files)
    try:
        for file in source:
            if on_file is not None:
                on_file(file)
            waiting.append(pool.submit(_decode, file, options))
            if len(waiting) >= options.ahead * options.batch_size:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
        if on_file is not None:
            on_file(None)
    finally:
        for future in waiting:
            future.cancel()


def _decode(file: PhotoFile, options: EmbedOptions) -> DecodedPhoto | QuarantinedFile:
    try:
        return load_photo_file(file, max_pixels=options.max_pixels, target_size=options.decode_size)
    except ImageError as error:
        return QuarantinedFile(file.uri, error.problem)


class ShardBuffer:
    """Collects embedded photos and writes them as shards.

    Args:
        gallery: whose shards they are.
        shard_size: photos in one; none: a shard is written when :meth:`flush` is called.
        name: of the shard, where there is one; by default each has a new name.
    """

    def __init__(self, gallery: Gallery, shard_size: int | None = None, name: str | None = None) -> None:
        self.written = 0
        self._gallery = gallery
        self._shard_size = shard_size
        self._name = name
        self._photos: list[tuple[PhotoFile, str, int, int]] = []
        self._vectors: list[FloatArray] = []

    def add(self, photos: Sequence[DecodedPhoto], vectors: FloatArray) -> None:
        """Takes embedded photos.

        Args:
            photos: N of them.
            vectors: shape (N, D), float32, unit rows.

        Raises:
            OutputError: A shard was full and cannot be written.
        """
        # The pictures themselves are dropped here: a shard's worth of them would not fit into memory.
        self._photos.extend((photo.file, photo.content_hash, photo.width, photo.height) for photo in photos)
        self._vectors.append(vectors)
        if self._shard_size is not None and len(self._photos) >= self._shard_size:
            self.flush()

    def flush(self) -> None:
        """Writes what is left.

        Raises:
            OutputError: The disk is full or the folder cannot be written.
        """
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
            metadata=tuple(file.metadata for file in files),
        )
        write_shard(self._gallery.shard_folder, records, self._gallery.fingerprint, self._name)
        self.written += len(records)
        self._photos, self._vectors = [], []
