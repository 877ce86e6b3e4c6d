"""Whether vectors made elsewhere are those that a gallery's encoder makes: some photos are embedded again."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from sbka_milvus.errors import EncoderMismatch, ImageError, SourceError
from sbka_milvus.images import is_on_disk, load_photo_uri
from sbka_milvus.images.uris import is_remote
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.types import FloatArray, normalise

LEAST_COSINE = 0.98
"""Of a vector from elsewhere and that of the gallery's own encoder."""

_MOST_TRIED = 20
"""For each photo that is to be checked, so many are tried for one that can be read."""


class Sample:
    """Draws some of the photos that pass by, each with the same chance.

    Args:
        wanted: photos to check; 0: none is drawn.
        seed: of the draw.
    """

    def __init__(self, wanted: int, seed: int) -> None:
        self.wanted = wanted
        self._rng = np.random.default_rng(seed)
        self._drawn: list[tuple[float, int, str, FloatArray]] = []
        self._seen = 0

    def add(self, uris: Sequence[str], vectors: Any) -> None:
        """Lets photos pass by.

        Args:
            uris: N.
            vectors: shape (N, D), of any float type.
        """
        for place, lot in enumerate(self._rng.random(len(uris)) if self.wanted else ()):
            entry = (-float(lot), self._seen + place, uris[place], np.array(vectors[place], dtype=np.float32))
            keep = heapq.heappush if len(self._drawn) < self.wanted * _MOST_TRIED else heapq.heappushpop
            keep(self._drawn, entry)
        self._seen += len(uris)

    @property
    def drawn(self) -> list[tuple[str, FloatArray]]:
        """Photos and their vectors, in the order in which they are tried."""
        return [(uri, vector) for _, _, uri, vector in sorted(self._drawn, reverse=True)]


def compare_sample(sample: Sample, encoder: Encoder, progress: Progress) -> list[float]:
    """Cosines of vectors and those that the encoder makes of the same photos; what cannot be read is passed over.

    Raises:
        EncoderMismatch: One is below :data:`LEAST_COSINE`.
        SourceError: No photo can be read.
    """
    wanted = sample.wanted
    cosines: list[float] = []
    with progress.stage("Embedding a sample", wanted, "photos") as advance:
        for uri, vector in sample.drawn:
            if len(cosines) == wanted:
                break
            if not (is_on_disk(uri) or is_remote(uri)):
                continue
            try:
                photo = load_photo_uri(uri)
            except ImageError:
                continue
            own = encoder.encode_photos([photo])[0]
            cosines.append(float(own @ normalise(vector)))
            advance(1)
            if cosines[-1] < LEAST_COSINE:
                raise EncoderMismatch(
                    f"The vector of {uri} has a cosine of {cosines[-1]:.3f} with the one that the gallery's model "
                    f"makes of that photo, and at least {LEAST_COSINE} is needed.",
                    "Name the model that made the vectors with --model, or embed the photos with `sbka ingest`.",
                )
    if not cosines:
        raise SourceError(
            "None of the photos that were drawn to be checked can be read.",
            "Say where they are with --root, or leave --check out and make sure of the model yourself.",
        )
    return cosines
