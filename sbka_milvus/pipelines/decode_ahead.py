"""Photos on their way to the encoder: read and decoded ahead, in their order, and no further than there is room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition

from sbka_milvus.embeddings import QuarantinedFile
from sbka_milvus.errors import ImageError
from sbka_milvus.images import DecodedPhoto, Decoders, PhotoFile, is_remote
from sbka_milvus.memory import peak_memory
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.stages import EncodeUse, StageTimes

OnFile = Callable[[PhotoFile | None], None]
Outcome = DecodedPhoto | QuarantinedFile

_READERS = 16
"""Threads where photos come from addresses: these are waited for, which takes no processor."""


class DecodeAhead:
    """Decodes in order, at most a few batches ahead.

    Args:
        files: the photos.
        options: sizes, processes and limits.
        on_file: is told of each file before it is read, and at the end of none.

    Raises:
        DecoderError: Processes that decode cannot be started.
    """

    def __init__(self, files: Sequence[PhotoFile], options: EmbedOptions, on_file: OnFile | None) -> None:
        self._options = options
        self._on_file = on_file
        self._source: Iterator[PhotoFile] | None = iter(files)
        self._waiting: deque[Future[Outcome]] = deque()
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

    def __enter__(self) -> DecodeAhead:
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

    def next_batch(self) -> list[Outcome]:
        """The next files' photos, or why there is none; empty at the end."""
        batch: list[Outcome] = []
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

    def _decode(self, file: PhotoFile, number: int) -> Outcome:
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


def _bytes_of(outcome: Outcome) -> int:
    if isinstance(outcome, QuarantinedFile):
        return 0
    width, height = outcome.image.size
    return 4 * width * height
