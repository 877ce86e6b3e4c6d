"""Batches of photos that the encoder has in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sbka_milvus.embeddings import QuarantinedFile
from sbka_milvus.images import DecodedPhoto
from sbka_milvus.pipelines.decode_ahead import Outcome
from sbka_milvus.protocols import Encoder, ExpectingEncoder
from sbka_milvus.types import FloatArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch that went through the encoder: how many files it was of, and what became of them."""

    files: int
    photos: Sequence[DecodedPhoto]
    problems: Mapping[str, str]
    vectors: FloatArray


class InHand:
    """Batches on their way through the encoder, in their order: several at once where it encodes those faster."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._batches: deque[tuple[list[Outcome], list[DecodedPhoto], Future[FloatArray] | None]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> InHand:
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

    def take(self, batch: list[Outcome]) -> None:
        """One more, at least one file."""
        photos = [photo for photo in batch if isinstance(photo, DecodedPhoto)]
        encoding = None
        if photos and self._at_once > 1:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._at_once, "sbka-batch")
            encoding = self._pool.submit(self._encode, photos)
        self._batches.append((batch, photos, encoding))

    def oldest(self) -> Encoded:
        """The one that was taken first, when it is encoded: in this thread, where it is the only one."""
        batch, photos, encoding = self._batches.popleft()
        problems = {failure.uri: failure.reason for failure in batch if isinstance(failure, QuarantinedFile)}
        vectors = self._encode(photos) if encoding is None else encoding.result()
        return Encoded(len(batch), photos, problems, vectors)

    def _encode(self, photos: Sequence[DecodedPhoto]) -> FloatArray:
        if not photos:
            return np.empty((0, self._encoder.dim), dtype=np.float32)
        return self._encoder.encode_photos([photo.image for photo in photos])
