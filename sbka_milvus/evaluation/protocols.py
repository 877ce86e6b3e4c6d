"""The three protocols of the field's papers. Their figures are not comparable with one another.

Source: the evaluation scripts that the authors of SAKE (used by ClusterRetri and SBKA, too) and of ZSE-SBIR published.

| protocol | average precision | average | P@K |
|---|---|---|---|
| ``plain`` | not interpolated | over queries | hits / K |
| ``sake`` | interpolated as in VOC | over a category's queries, then over categories | hits / min(K, gallery) |
| ``zse`` | interpolated as in VOC | over queries | hits / min(K, relevant) |

mAP@K exists in two forms that are named apart everywhere: ``mAP@200`` is strict and divides by min(200, relevant);
``mAP@200 lenient`` divides by the hits among the first 200, and is never lower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.metrics import rank_average_precision
from sbka_milvus.evaluation.ranks import CountArray, Float64Array, hits_within
from sbka_milvus.types import IntArray

Average = Literal["query", "category"]
PrecisionOver = Literal["k", "gallery", "relevant"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a paper computes its figures.

    Attributes:
        name: such as "sake".
        interpolated: whether average precision takes the largest precision from a rank on.
        average: "query": the mean over queries; "category": the mean over categories of the means of their queries.
        precision_over: what P@K divides by: "k", or the smaller of K and the photos of the "gallery", or of K and the
            "relevant" photos.
    """

    name: str
    interpolated: bool
    average: Average
    precision_over: PrecisionOver

    def average_precision(
        self, ranks: IntArray, n_relevant: CountArray, k: int | None = None, *, lenient: bool = False
    ) -> Float64Array:
        """AP of each query, or AP@k; the arguments are those of :func:`rank_average_precision`.

        >>> PROTOCOLS["plain"].average_precision(np.array([[2, 3]]), np.array([2])).round(3).tolist()
        [0.583]
        >>> PROTOCOLS["sake"].average_precision(np.array([[2, 3]]), np.array([2])).round(3).tolist()
        [0.667]
        """
        return rank_average_precision(ranks, n_relevant, k, interpolated=self.interpolated, lenient=lenient)

    def precision(self, ranks: IntArray, k: int, n_relevant: CountArray, n_gallery: int) -> Float64Array:
        """P@K of each query.

        Args:
            ranks: shape (Q, H), int64, as :func:`~sbka_milvus.evaluation.ranks.hit_ranks` gives them.
            k: K, at least 1.
            n_relevant: shape (Q,), integer, at least 1: relevant photos in the gallery.
            n_gallery: photos in the gallery.

        Returns:
            shape (Q,), float64, in [0, 1].

        Raises:
            InvalidValue: ``k`` is below 1.

        >>> ranks, relevant = np.array([[1, 2]]), np.array([2])
        >>> [float(PROTOCOLS[name].precision(ranks, 8, relevant, 4)[0]) for name in ("plain", "sake", "zse")]
        [0.25, 0.5, 1.0]
        """
        return np.asarray(hits_within(ranks, k) / self.precision_divisors(k, n_relevant, n_gallery), dtype=np.float64)

    def precision_divisors(self, k: int, n_relevant: CountArray, n_gallery: int) -> CountArray:
        """What P@K divides by, for each query: shape of ``n_relevant``, integer."""
        if self.precision_over == "relevant":
            return np.minimum(n_relevant, k)
        return np.full(np.shape(n_relevant), k if self.precision_over == "k" else min(k, n_gallery), dtype=np.int64)

    def mean(self, values: Float64Array, labels: IntArray) -> float:
        """The protocol's average of figures of single queries.

        Args:
            values: shape (Q,), float64, at least one.
            labels: shape (Q,), integer, at least 0: the category of each query.

        Raises:
            InvalidValue: There is no query, or values and labels differ in number.

        >>> values, labels = np.array([1.0, 0.0, 0.0]), np.array([0, 1, 1])
        >>> round(PROTOCOLS["plain"].mean(values, labels), 3), PROTOCOLS["sake"].mean(values, labels)
        (0.333, 0.5)
        """
        if len(values) == 0 or values.shape != labels.shape:
            raise InvalidValue(
                f"There are {len(values)} figures of queries and {len(labels)} categories of queries.",
                "Pass at least one query, and one category for each.",
            )
        if self.average == "query":
            return float(values.mean())
        queries = np.bincount(labels)
        present = queries > 0
        return float((np.bincount(labels, weights=values)[present] / queries[present]).mean())

    def describe(self) -> str:
        """The protocol in one line, for a reader of a report."""
        form = "interpolated as in VOC" if self.interpolated else "not interpolated"
        over = "queries" if self.average == "query" else "each category's queries, then over categories"
        divisor = {"k": "K", "gallery": "min(K, gallery)", "relevant": "min(K, relevant)"}[self.precision_over]
        return f"AP {form}, mean over {over}, P@K = hits / {divisor}"


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("plain", interpolated=False, average="query", precision_over="k"),
        Protocol("sake", interpolated=True, average="category", precision_over="gallery"),
        Protocol("zse", interpolated=True, average="query", precision_over="relevant"),
    )
}
"""Protocols by name."""


def protocol_named(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        InvalidValue: There is none.
    """
    if name not in PROTOCOLS:
        raise InvalidValue(f"The protocol {name!r} is not known.", f"Known are: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
