"""Files on their way to vectors: read and decoded ahead by processes, encoded in batches, collected into a shard."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords, QuarantinedFile
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.errors import ImageError
from sbka_milvus.images import DecodedPhoto, DecodeLimits, Decoders, PhotoFile, is_remote
from sbka_milvus.memory import keeping_freed_memory, peak_memory
from sbka_milvus.pipelines.stages import EncodeUse, StageTimes
from sbka_milvus.progress import Advance
from sbka_milvus.protocols import Encoder, ExpectingEncoder
from sbka_milvus.stopping import Stopped
from sbka_milvus.types import FloatArray

OnFile = Callable[[PhotoFile | None], None]
OnBatch = Callable[[Sequence[DecodedPhoto], FloatArray], None]
_Outcome = DecodedPhoto | QuarantinedFile

_READERS = 16
"""Threads where photos come from addresses: these are waited for, which takes no processor."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed; see :class:`~sbka_milvus.settings.IngestSettings`."""

    batch_size: int = 32
    decode_processes: int = 2
    shard_size: int = 4096
    max_pixels: int = 178_956_970
    decode_size: int = 224
    ahead: int = 4
    """Batches that may wait decoded: decoding stays ahead of the encoder, and memory stays bounded."""
    decode_seconds: float = 30.0
    decode_memory_mb: int = 2048
    max_bytes: int = 512 * 2**20
    ahead_bytes: int = 256 * 2**20
    """Bytes of pixels that may wait decoded: a few pictures of absurd proportions cannot be made small."""

    @property
    def limits(self) -> DecodeLimits:
        """What one photo may cost."""
        return DecodeLimits(
            self.decode_seconds, self.decode_memory_mb, self.max_bytes, self.max_pixels, self.decode_size
        )


def encode_files(
    files: Sequence[PhotoFile],
    encoder: Encoder,
    options: EmbedOptions,
    on_batch: OnBatch,
    problems: dict[str, str],
    advance: Advance,
    on_file: OnFile | None = None,
) -> EncodeUse:
    """Decodes and encodes files in their order.

    Where it is asked to stop, which ``advance`` says by :class:`~sbka_milvus.stopping.Stopped`, batches that are being
    encoded are finished and handed over too.

    Args:
        files: the photos.
        encoder: what encodes them.
        options: sizes, processes and limits.
        on_batch: is given the photos of a batch that could be decoded, and their vectors.
        problems: gains the reason for every file that could not be used, by its URI.
        advance: is told how many files are done.
        on_file: is told of each file before it is read, and at the end of none.

    Raises:
        DecoderError: Processes that decode cannot be started.
    """
    times = StageTimes()
    if isinstance(encoder, ExpectingEncoder):
        encoder.expect(len(files))
    with keeping_freed_memory(), _Ahead(files, options, on_file) as ahead, _InHand(encoder) as in_hand:

        def finish_oldest() -> None:
            nonlocal times
            start = time.perf_counter()
            done = in_hand.oldest()
            encoded = time.perf_counter()
            if done.photos:
                on_batch(done.photos, done.vectors)
            problems.update(done.problems)
            times = times.add(encoding=encoded - start, writing=time.perf_counter() - encoded)
            try:
                advance(done.files, ahead.use(times).note)
            except Stopped:
                if in_hand.count:
                    # Says it again, with what is done then.
                    finish_oldest()
                raise

        more = True
        while more or in_hand.count:
            start = time.perf_counter()
            batch = ahead.next_batch() if more else []
            times = times.add(waiting=time.perf_counter() - start)
            if batch:
                in_hand.take(batch)
            more = bool(batch)
            if in_hand.is_full or (not more and in_hand.count):
                finish_oldest()
        return ahead.use(times)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A batch that went through the encoder: how many files it was of, and what became of them."""

    files: int
    photos: Sequence[DecodedPhoto]
    problems: Mapping[str, str]
    vectors: FloatArray


class _InHand:
    """Batches on their way through the encoder, in their order: several at once where it encodes those faster."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._batches: deque[tuple[list[_Outcome], list[DecodedPhoto], Future[FloatArray] | None]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> _InHand:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._batches.clear()

    @property
    def count(self) -> int:
        """Batches in hand."""
        return len(self._batches)

    @property
    def is_full(self) -> bool:
        """Whether the oldest has to be waited for before another is taken."""
        return self.count >= self._at_once

    @property
    def _at_once(self) -> int:
        return self._encoder.batches_at_once if isinstance(self._encoder, ExpectingEncoder) else 1

    def take(self, batch: list[_Outcome]) -> None:
        """One more, at least one file."""
        photos = [photo for photo in batch if isinstance(photo, DecodedPhoto)]
        encoding = None
        if photos and self._at_once > 1:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._at_once, "sbka-batch")
            encoding = self._pool.submit(self._encode, photos)
        self._batches.append((batch, photos, encoding))

    def oldest(self) -> _Encoded:
        """The one that was taken first, when it is encoded: in this thread, where it is the only one."""
        batch, photos, encoding = self._batches.popleft()
        problems = {failure.uri: failure.reason for failure in batch if isinstance(failure, QuarantinedFile)}
        vectors = self._encode(photos) if encoding is None else encoding.result()
        return _Encoded(len(batch), photos, problems, vectors)

    def _encode(self, photos: Sequence[DecodedPhoto]) -> FloatArray:
        if not photos:
            return np.empty((0, self._encoder.dim), dtype=np.float32)
        return self._encoder.encode_photos([photo.image for photo in photos])


class _Ahead:
    """Decodes in order, at most a few batches ahead."""

    def __init__(self, files: Sequence[PhotoFile], options: EmbedOptions, on_file: OnFile | None) -> None:
        self._options = options
        self._on_file = on_file
        self._source: Iterator[PhotoFile] | None = iter(files)
        self._waiting: deque[Future[_Outcome]] = deque()
        # How many were told to be decoded and how many of them were taken; what is decoded and not yet taken, in bytes.
        self._told = self._taken = self._held = 0
        self._closed = False
        self._room = Condition()
        self._decoders = Decoders(options.limits, options.decode_processes)
        # Twice as many threads: while one takes a picture over from its process, another keeps the process at work.
        threads = 2 * options.decode_processes
        if any(is_remote(file.uri) for file in files):
            threads = max(threads, _READERS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sbka-decode")

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        # After Ctrl-C it would else decode all that waits.
        for future in self._waiting:
            future.cancel()
        with self._room:
            self._closed = True
            self._room.notify_all()
        self._decoders.close()
        self._pool.shutdown()
        # Whoever holds the traceback would else hold the pictures.
        self._waiting.clear()

    def next_batch(self) -> list[_Outcome]:
        """The next files' photos, or why there is none; empty at the end."""
        batch: list[_Outcome] = []
        size = 0
        while len(batch) < self._options.batch_size and size <= self._options.ahead_bytes:
            self._fill()
            if not self._waiting:
                break
            outcome = self._waiting.popleft().result()
            batch.append(outcome)
            size += _bytes_of(outcome)
            with self._room:
                self._held -= _bytes_of(outcome)
                self._taken += 1
                self._room.notify_all()
        return batch

    def use(self, times: StageTimes) -> EncodeUse:
        """What it has cost so far, with the stages that this class sees nothing of."""
        use = self._decoders.use
        peak = peak_memory() + self._decoders.most_memory
        return EncodeUse(times.add(reading=use.reading_s, decoding=use.decoding_s), peak)

    def _fill(self) -> None:
        most = self._options.ahead * self._options.batch_size
        while self._source is not None and len(self._waiting) < most:
            file = next(self._source, None)
            if self._on_file is not None:
                self._on_file(file)
            if file is None:
                self._source = None
            else:
                self._waiting.append(self._pool.submit(self._decode, file, self._told))
                self._told += 1

    def _decode(self, file: PhotoFile, number: int) -> _Outcome:
        with self._room:
            # The one that is taken next never waits, else what is decoded behind it might keep it waiting for ever.
            self._room.wait_for(
                lambda: self._closed or self._held <= self._options.ahead_bytes or number == self._taken
            )
            if self._closed:
                return QuarantinedFile(file.uri, "was not read: the run was stopped")
        try:
            photo = self._decoders.decode(file)
        except ImageError as error:
            return QuarantinedFile(file.uri, error.problem)
        with self._room:
            self._held += _bytes_of(photo)
        return photo


def _bytes_of(outcome: _Outcome) -> int:
    if isinstance(outcome, QuarantinedFile):
        return 0
    width, height = outcome.image.size
    return 4 * width * height


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
