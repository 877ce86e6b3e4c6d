"""A ranker in the space of an alignment: what is done to vectors, then how scores are made."""

from __future__ import annotations

from dataclasses import dataclass, field

from sbka_milvus.rankers.alignment import AlignmentOptions, ModalityAlignment, mean_of
from sbka_milvus.rankers.ranker import Float64Array, Ranker, moved, require_pair
from sbka_milvus.types import FloatArray


@dataclass(frozen=True, slots=True)
class AlignedRanker:
    """Fits an alignment to the gallery at hand and matches in its space.

    Attributes:
        matcher: how scores are made.
        options: how vectors are aligned.
        sketch_mean: shape (D,), float64, of the training's sketches (inductive); None takes the mean of the queries at
            hand (transductive), and the name says so.
    """

    matcher: Ranker
    options: AlignmentOptions = field(default_factory=AlignmentOptions)
    sketch_mean: Float64Array | None = None

    @property
    def name(self) -> str:
        """Alignment, then matcher."""
        seen = " transductive" if self.sketch_mean is None and self.options.form != "none" else ""
        return f"{self.options.name}{seen} | {self.matcher.name}"

    def alignment(self, queries: FloatArray, gallery: FloatArray) -> ModalityAlignment:
        """The alignment that :meth:`scores` uses for these.

        Raises:
            InvalidValue: As :meth:`ModalityAlignment.fit`.
        """
        mean = mean_of(queries) if self.sketch_mean is None else self.sketch_mean
        return ModalityAlignment.fit(gallery, mean, self.options)

    def scores(self, queries: FloatArray, gallery: FloatArray) -> FloatArray:
        """See :class:`sbka_milvus.rankers.ranker.Ranker`.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        require_pair(queries, gallery)
        alignment = self.alignment(queries, gallery)
        matcher = moved(self.matcher, alignment.sketches)
        return matcher.scores(alignment.sketches(queries), alignment.photos(gallery))
