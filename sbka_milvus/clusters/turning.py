"""How vectors are turned and scaled before they are coded, and cut into halves of which the first one tells most.

Residuals are turned to their principal directions; the first half of those holds most of their length, and by Cauchy
and Schwarz what the other half adds to a cosine is at most the product of both lengths there. The length of a photo's
other half is kept as one number more of its first one, so that a product of two vectors bounds the cosine. Each
dimension is scaled by its greatest value, so that all of them fill a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbka_milvus.types import FloatArray, IntArray, products

_SAMPLE = 16_384
_ALIGNED = 16
"""Dimensions that a processor multiplies at once: faiss is several times slower with others."""
_SMALLEST = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class Turning:
    """Of vectors of D dimensions.

    Attributes:
        directions: shape (D, D), float32, unit rows, those first along which residuals are longest; none: as they are.
        scales: shape (D,), float32: the greatest value along each.
        middle: of the lengths of the second halves.
        spread: by how much those are more or less.
    """

    directions: FloatArray | None
    scales: FloatArray
    middle: float = 0.0
    spread: float = 0.0

    @classmethod
    def fit(
        cls, vectors: FloatArray, assignments: IntArray, centroids: FloatArray, *, seed: int, halves: bool
    ) -> Turning:
        """Fitted to a sample.

        Args:
            vectors: shape (N, D), float32, unit rows; N at least 1.
            assignments: shape (N,), int64: the cluster of each.
            centroids: shape (K, D), float32.
            seed: of the sample.
            halves: whether to turn and cut them.
        """
        drawn = np.random.default_rng(seed).permutation(len(vectors))[:_SAMPLE]
        sample = np.asarray(vectors[drawn] - centroids[assignments[drawn]], dtype=np.float32)
        if not halves:
            return cls(None, _greatest(sample))
        _, directions = np.linalg.eigh((sample.T @ sample).astype(np.float64))
        found = cls(np.ascontiguousarray(directions.T[::-1], dtype=np.float32), np.ones(sample.shape[1], np.float32))
        turned = found.turned(sample)
        lengths = np.linalg.norm(turned[:, found.n_first :], axis=1)
        low, high = float(lengths.min()), float(lengths.max())
        return cls(found.directions, _greatest(turned), (low + high) / 2, max((high - low) / 2, float(_SMALLEST)))

    @property
    def dim(self) -> int:
        """D."""
        return len(self.scales)

    @property
    def n_parts(self) -> int:
        """Into how many parts vectors are cut."""
        return 1 if self.directions is None else 2

    @property
    def width(self) -> int:
        """Numbers of a part, zeros at the end included."""
        numbers = self.dim if self.directions is None else (self.dim + 2) // 2
        return -(-numbers // _ALIGNED) * _ALIGNED

    @property
    def n_first(self) -> int:
        """Directions of the first half."""
        return self.dim if self.directions is None else min(self.dim, self.width - 1)

    @property
    def steps(self) -> FloatArray:
        """How far two neighbouring codes lie apart along each direction; shape (D,), float32."""
        return np.asarray(2 * self.scales / 255, dtype=np.float32)

    def turned(self, vectors: FloatArray) -> FloatArray:
        """shape (N, D), float32, of vectors of that shape."""
        return vectors if self.directions is None else products(vectors, self.directions)

    def parts(self, residuals: FloatArray) -> tuple[list[FloatArray], FloatArray]:
        """What is coded of some photos.

        Args:
            residuals: shape (n, D), float32.

        Returns:
            Parts of shape (n, width), float32, in [-1, 1] but for what exceeds the sample; and the turned residuals,
            shape (n, D), float32.
        """
        turned = self.turned(residuals)
        scaled = turned / self.scales
        first = self._part(scaled[:, : self.n_first])
        if self.directions is None:
            return [first], turned
        lengths = np.linalg.norm(turned[:, self.n_first :], axis=1)
        first[:, -1] = (lengths - np.float32(self.middle)) / np.float32(self.spread)
        return [first, self._part(scaled[:, self.n_first :])], turned

    def lost(
        self, parts: Sequence[FloatArray], coded: Sequence[FloatArray], turned: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """What coding lost.

        Args:
            parts: of :meth:`parts`.
            coded: what their codes say.
            turned: of :meth:`parts`.

        Returns:
            Along each direction, shape (n, D), float32; and the length of what the first half lost, the length of the
            second one included, shape (n,), float32.
        """
        known = np.concatenate(
            [coded[0][:, : self.n_first], *(one[:, : self.dim - self.n_first] for one in coded[1:])], axis=1
        )
        lost = turned - known * self.scales
        first = np.einsum("nd,nd->n", lost[:, : self.n_first], lost[:, : self.n_first])
        if self.directions is not None:
            first += ((parts[0][:, -1] - coded[0][:, -1]) * np.float32(self.spread)) ** 2
        return lost.astype(np.float32), np.sqrt(first).astype(np.float32)

    def weights(self, turned: FloatArray) -> list[FloatArray]:
        """What the parts are multiplied by, so that the sum of the products is that of query and residual.

        Args:
            turned: shape (Q, D), float32: queries.

        Returns:
            Of shape (Q, width), float32, for each part.
        """
        scaled = turned * self.scales
        first = self._part(scaled[:, : self.n_first])
        return [first] if self.directions is None else [first, self._part(scaled[:, self.n_first :])]

    def bounding(self, turned: FloatArray) -> tuple[FloatArray, float]:
        """What the first part is multiplied by, and what is added, for the greatest product that there may be.

        Args:
            turned: shape (D,), float32: a query.

        Returns:
            shape (width,), float32, and a number.
        """
        first = self.weights(turned[np.newaxis])[0][0]
        length = float(np.linalg.norm(turned[self.n_first :]))
        if self.directions is not None:
            first[-1] = length * self.spread
        return first, length * self.middle

    def written(self) -> bytes:
        """As :meth:`read` reads it; of :meth:`n_bytes` bytes."""
        directions = np.zeros((self.dim, self.dim)) if self.directions is None else self.directions
        numbers = np.array([self.middle, self.spread], dtype="<f8")
        return directions.astype("<f4").tobytes() + self.scales.astype("<f4").tobytes() + numbers.tobytes()

    @classmethod
    def read(cls, content: bytes, dim: int) -> Turning:
        """From what was written."""
        numbers = np.frombuffer(content[:-16], dtype="<f4").reshape(dim + 1, dim)
        middle, spread = np.frombuffer(content[-16:], dtype="<f8").tolist()
        directions = numbers[:-1] if numbers[:-1].any() else None
        return cls(directions, numbers[-1], middle, spread)

    @staticmethod
    def n_bytes(dim: int) -> int:
        """Of :meth:`written`."""
        return 4 * dim * (dim + 1) + 16

    def _part(self, numbers: FloatArray) -> FloatArray:
        part = np.zeros((len(numbers), self.width), dtype=np.float32)
        part[:, : numbers.shape[1]] = numbers
        return part


def _greatest(sample: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(np.abs(sample).max(axis=0), _SMALLEST), dtype=np.float32)
