"""Files to vectors: decoded ahead by processes, encoded in batches, handed over in their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sbka_milvus.images import DecodedPhoto, PhotoFile
from sbka_milvus.memory import keeping_freed_memory
from sbka_milvus.pipelines.decode_ahead import DecodeAhead, OnFile, Outcome
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.in_hand import InHand
from sbka_milvus.pipelines.stages import EncodeUse, StageTimes
from sbka_milvus.progress import Advance
from sbka_milvus.protocols import Encoder, ExpectingEncoder
from sbka_milvus.stopping import Stopped
from sbka_milvus.types import FloatArray

OnBatch = Callable[[Sequence[DecodedPhoto], FloatArray], None]


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
    with keeping_freed_memory(), DecodeAhead(files, options, on_file) as ahead, InHand(encoder) as in_hand:

        def next_batch() -> list[Outcome]:
            nonlocal times
            start = time.perf_counter()
            batch = ahead.next_batch()
            times = times.add(waiting=time.perf_counter() - start)
            return batch

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

        while batch := next_batch():
            in_hand.take(batch)
            if in_hand.is_full:
                finish_oldest()
        while in_hand.count:
            finish_oldest()
        return ahead.use(times)
