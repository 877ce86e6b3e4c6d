"""What an evaluation found, and everything a reader needs to compare it with another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.bootstrap import Resampling
from sbka_milvus.evaluation.documents import read_document
from sbka_milvus.evaluation.protocols import protocol_named
from sbka_milvus.evaluation.report_parts import (
    CategoryScores,
    Example,
    MethodDifference,
    MethodScores,
    ScoreTable,
    SeenPhotos,
    is_score,
    require_count,
    require_rows,
)
from sbka_milvus.evaluation.tally import RECALL_LEVELS

REPORT_FORMAT = 2
"""Of the JSON. Format 1 had neither intervals nor categories with counts, and named no format."""


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """One evaluation, with what its figures depend on.

    Attributes:
        data_set: such as "Sketchy-Ext".
        split_name: such as "sketchy-25".
        split_digest: hash of the split's class lists.
        protocol: name of one of :data:`~sbka_milvus.evaluation.protocols.PROTOCOLS`.
        n_queries: queries that were scored.
        n_gallery: photos in the gallery.
        n_categories: categories of the queries.
        n_clusters: clusters of the gallery; 0 where it was not clustered.
        cluster_weight: weight of the cluster score, in [0, 1].
        fingerprint: of the encoder.
        rows: the scores of each method; no method comes twice, all have the same metrics.
        categories: each category of the queries, with its counts and the scores of each method.
        notes: what a reader should know, such as "12 queries left out: no photo of their category".
        resampling: how the intervals were drawn; None where there are none.
        differences: each method against the first that is not chance.
        deduplicated: the same with each photo once; None where that was not asked for.
        drawn: R@k of the photo that was drawn; None where no file name tells it.
        seen: the seen photos in a generalised gallery; None: unseen ones alone.
        curves: method to the interpolated precision at recall 0, 0.05, ..., 1.
        examples: the best and the worst queries of ``headline``.
    """

    data_set: str
    split_name: str
    split_digest: str
    protocol: str
    n_queries: int
    n_gallery: int
    n_categories: int
    n_clusters: int
    cluster_weight: float
    fingerprint: str
    rows: tuple[MethodScores, ...]
    categories: tuple[CategoryScores, ...]
    notes: tuple[str, ...] = ()
    resampling: Resampling | None = None
    differences: tuple[MethodDifference, ...] = ()
    deduplicated: ScoreTable | None = None
    drawn: ScoreTable | None = None
    seen: SeenPhotos | None = None
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        for name in ("data_set", "split_name", "split_digest", "fingerprint"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise InvalidValue(f"The report's {name} is {value!r}.", "It must be a text that is not empty.")
        protocol_named(self.protocol)
        for name, least in (("n_queries", 1), ("n_gallery", 1), ("n_categories", 1), ("n_clusters", 0)):
            require_count(getattr(self, name), name, least)
        if not is_score(self.cluster_weight):
            raise InvalidValue(f"The report's cluster_weight is {self.cluster_weight!r}.", "It must be in [0, 1].")
        require_rows(self.rows)
        if not isinstance(self.categories, tuple):
            raise InvalidValue("The report's categories must be a tuple of CategoryScores.")
        if not isinstance(self.notes, tuple) or not all(isinstance(note, str) for note in self.notes):
            raise InvalidValue("The report's notes must be a tuple of texts.")
        for method, curve in self.curves.items():
            if len(curve) != len(RECALL_LEVELS) or not all(map(is_score, curve)):
                raise InvalidValue(f"The curve of {method!r} is not {len(RECALL_LEVELS)} scores in [0, 1].")
        object.__setattr__(self, "curves", {method: tuple(curve) for method, curve in self.curves.items()})

    @property
    def headline(self) -> str:
        """The method whose categories and examples a reader is shown: one-to-many where it is there, else the last."""
        methods = [row.method for row in self.rows]
        return "one-to-many" if "one-to-many" in methods else methods[-1]

    def score(self, method: str, metric: str) -> float:
        """The score of one method.

        Raises:
            InvalidValue: The report has no such method or metric.
        """
        for row in self.rows:
            if row.method == method and metric in row.values:
                return row.values[metric]
        raise InvalidValue(
            f"The report has no {metric} of {method!r}.",
            f"It has {', '.join(self.rows[0].values)} of {', '.join(row.method for row in self.rows)}.",
        )

    def table(self, *, intervals: bool = False) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Header and rows for a reader, as :func:`score_table` gives them."""
        return score_table(self.rows, intervals=intervals)

    def to_json(self) -> str:
        """JSON text (ASCII, indented); :meth:`from_json` reads it back to an equal report."""
        return json.dumps({"format": REPORT_FORMAT} | asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EvaluationReport:
        """Reads what :meth:`to_json` wrote.

        Raises:
            InvalidValue: The text is not JSON, is of another format, lacks a field, has one too many, or holds a bad
                value.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"The evaluation report is not JSON: {error}.", "Evaluate again.") from error
        if not isinstance(document, dict):
            raise InvalidValue("The evaluation report is no JSON object.", "Evaluate again.")
        found: Any = document.pop("format", 1)
        if found != REPORT_FORMAT:
            raise InvalidValue(
                f"The evaluation report is of format {found!r}; this version reads format {REPORT_FORMAT}.",
                "Evaluate again: earlier reports lack the intervals and the counts of categories.",
            )
        return read_document(cls, document, "evaluation report")


def score_table(
    rows: tuple[MethodScores, ...], *, intervals: bool = False
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Header and rows for a reader: the method, then its scores to three decimals.

    Args:
        rows: all of the same metrics.
        intervals: whether the ends stand on a second line of a cell that has them.

    >>> score_table((MethodScores("m", {"P@1": 0.5}, {"P@1": (0.25, 0.75)}),), intervals=True)
    (('method', 'P@1'), (('m', '0.500\\n0.250–0.750'),))
    """
    metrics = tuple(rows[0].values)

    def cell(row: MethodScores, metric: str) -> str:
        value = f"{row.values[metric]:.3f}"
        ends = row.intervals.get(metric) if intervals else None
        return value if ends is None else f"{value}\n{ends[0]:.3f}–{ends[1]:.3f}"

    return ("method", *metrics), tuple((row.method, *(cell(row, metric) for metric in metrics)) for row in rows)
