"""What an evaluation found, and everything a reader needs to compare it with another one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sbka_milvus.errors import InvalidValue

PROTOCOLS = ("plain",)
"""The protocols that are measured; ``plain``: AP not interpolated, mean over queries, P@K = hits / K."""

_METRIC_NAME = re.compile(r"mAP@all|(mAP|P)@[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class MethodScores:
    """The scores of one method.

    Attributes:
        method: such as "chance", "frozen", "one-to-one", "one-to-many".
        values: metric name ("mAP@all", "mAP@200", "P@100", ...) to a score in [0, 1].
    """

    method: str
    values: Mapping[str, float]

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or not self.method:
            raise InvalidValue("A method has no name.")
        if not isinstance(self.values, Mapping) or not self.values:
            raise InvalidValue(f"The method {self.method!r} has no scores.")
        for name in self.values:
            if not isinstance(name, str) or not _METRIC_NAME.fullmatch(name):
                raise InvalidValue(f"{name!r} is no metric.", "Name it mAP@all, mAP@<k> or P@<k>.")
        object.__setattr__(self, "values", _scores(self.values, f"method {self.method!r}"))


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """One evaluation, with what its figures depend on.

    Attributes:
        data_set: such as "Sketchy-Ext".
        split_name: such as "sketchy-25".
        split_digest: hash of the split's class lists.
        protocol: one of :data:`PROTOCOLS`.
        n_queries: queries that were scored.
        n_gallery: photos in the gallery.
        n_categories: categories of the queries.
        n_clusters: clusters of the gallery; 0 where it was not clustered.
        cluster_weight: weight of the cluster score, in [0, 1].
        fingerprint: of the encoder.
        rows: the scores of each method; no method comes twice, all have the same metrics.
        categories: category to mean AP of its queries, for one-to-many matching.
        notes: what a reader should know, such as "12 queries left out: no photo of their category".
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
    categories: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("data_set", "split_name", "split_digest", "fingerprint"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise InvalidValue(f"The report's {name} is {value!r}.", "It must be a text that is not empty.")
        if self.protocol not in PROTOCOLS:
            raise InvalidValue(f"The protocol {self.protocol!r} is not known.", f"Known are: {', '.join(PROTOCOLS)}.")
        for name, least in (("n_queries", 1), ("n_gallery", 1), ("n_categories", 1), ("n_clusters", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidValue(f"The report's {name} is {value!r}.", f"It must be a whole number from {least} up.")
        if not _is_score(self.cluster_weight):
            raise InvalidValue(f"The report's cluster_weight is {self.cluster_weight!r}.", "It must be in [0, 1].")
        self._check_rows()
        object.__setattr__(self, "categories", _scores(self.categories, "categories"))
        if not isinstance(self.notes, tuple) or not all(isinstance(note, str) for note in self.notes):
            raise InvalidValue("The report's notes must be a tuple of texts.")

    def _check_rows(self) -> None:
        if not isinstance(self.rows, tuple) or not all(isinstance(row, MethodScores) for row in self.rows):
            raise InvalidValue("The report's rows must be a tuple of MethodScores.")
        methods = [row.method for row in self.rows]
        if not methods or len(set(methods)) != len(methods):
            raise InvalidValue(f"The report's methods are {methods}.", "There must be at least one, and none twice.")
        for row in self.rows[1:]:
            if set(row.values) != set(self.rows[0].values):
                raise InvalidValue(
                    f"{row.method!r} has other metrics than {self.rows[0].method!r}.", "Score all methods alike."
                )

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

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Header and rows for a reader: the method, then its scores to three decimals."""
        metrics = tuple(self.rows[0].values)
        body = tuple((row.method, *(f"{row.values[metric]:.3f}" for metric in metrics)) for row in self.rows)
        return ("method", *metrics), body

    def to_json(self) -> str:
        """JSON text (ASCII, indented); :meth:`from_json` reads it back to an equal report."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EvaluationReport:
        """Reads what :meth:`to_json` wrote.

        Raises:
            InvalidValue: The text is not JSON, lacks a field, has one too many, or holds a bad value.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"The evaluation report is not JSON: {error}.", "Evaluate again.") from error
        _require_fields(document, cls, "evaluation report")
        for name in ("rows", "notes"):
            if not isinstance(document[name], list):
                raise InvalidValue(f"The evaluation report's {name} are no list.", "Evaluate again.")
        for row in document["rows"]:
            _require_fields(row, MethodScores, "row of the evaluation report")
        rows = tuple(MethodScores(**row) for row in document["rows"])
        return cls(**{**document, "rows": rows, "notes": tuple(document["notes"])})


def _require_fields(document: Any, kind: type[EvaluationReport] | type[MethodScores], name: str) -> None:
    wanted = {field.name for field in fields(kind)}
    if not isinstance(document, dict):
        raise InvalidValue(f"The {name} is no JSON object.", "Evaluate again.")
    if set(document) != wanted:
        missing, extra = sorted(wanted - set(document)), sorted(set(document) - wanted)
        raise InvalidValue(f"The {name} lacks {missing} and has {extra} too many.", "Evaluate again.")


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def _scores(values: Any, name: str) -> dict[str, float]:
    """A copy, so that nobody changes a frozen report through the mapping it was made from."""
    if not isinstance(values, Mapping):
        raise InvalidValue(f"The scores of {name} are no mapping.")
    for key, value in values.items():
        if not isinstance(key, str) or not _is_score(value):
            raise InvalidValue(f"The score {key!r} of {name} is {value!r}.", "A score is a number in [0, 1].")
    return {key: float(value) for key, value in values.items()}
