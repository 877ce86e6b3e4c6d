"""The parts of an evaluation's report: frozen values that refuse a bad state."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sbka_milvus.errors import InvalidValue

_METRIC_NAME = re.compile(r"mAP@all|mAP@[1-9][0-9]*( lenient)?|P@[1-9][0-9]*|R@[1-9][0-9]*( in category)?")


@dataclass(frozen=True, slots=True)
class MethodScores:
    """The scores of one method.

    Attributes:
        method: such as "chance", "frozen", "one-to-one", "one-to-many".
        values: metric name to a score in [0, 1]: "mAP@all", "mAP@200", "mAP@200 lenient", "P@100", "R@1",
            "R@1 in category".
        intervals: metric name to the lower and upper end of its interval; no entry where none was drawn.
    """

    method: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or not self.method:
            raise InvalidValue("A method has no name.")
        if not isinstance(self.values, Mapping) or not self.values:
            raise InvalidValue(f"The method {self.method!r} has no scores.")
        for name in self.values:
            if not isinstance(name, str) or not _METRIC_NAME.fullmatch(name):
                raise InvalidValue(
                    f"{name!r} is no metric.",
                    "Name it mAP@all, mAP@<k>, mAP@<k> lenient, P@<k>, R@<k> or R@<k> in category.",
                )
        object.__setattr__(self, "values", checked_scores(self.values, f"method {self.method!r}"))
        for name, ends in self.intervals.items():
            if name not in self.values or not _is_interval(ends):
                raise InvalidValue(
                    f"The interval {name!r} of method {self.method!r} is {ends!r}.",
                    "It must hold two scores, the lower one first, of a metric that the method has.",
                )
        object.__setattr__(self, "intervals", {name: tuple(ends) for name, ends in self.intervals.items()})


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of some methods on the same queries and gallery.

    Attributes:
        n_queries: queries that were scored.
        n_gallery: photos in the gallery.
        rows: the methods; none comes twice, all have the same metrics.
    """

    n_queries: int
    n_gallery: int
    rows: tuple[MethodScores, ...]

    def __post_init__(self) -> None:
        require_count(self.n_queries, "n_queries", 1)
        require_count(self.n_gallery, "n_gallery", 1)
        require_rows(self.rows)


@dataclass(frozen=True, slots=True)
class CategoryScores:
    """One category of the queries.

    Attributes:
        name: the category.
        n_queries: its sketches.
        n_photos: its photos in the gallery.
        values: method to metric ("mAP@all", "P@10", ...) to the mean over its queries.
    """

    name: str
    n_queries: int
    n_photos: int
    values: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidValue("A category has no name.")
        require_count(self.n_queries, f"n_queries of {self.name!r}", 1)
        require_count(self.n_photos, f"n_photos of {self.name!r}", 1)
        checked = {
            method: checked_scores(values, f"{method!r} in category {self.name!r}")
            for method, values in self.values.items()
        }
        object.__setattr__(self, "values", checked)


@dataclass(frozen=True, slots=True)
class MethodDifference:
    """How much better one method is than another, on the same queries.

    Attributes:
        method: the one.
        baseline: the other.
        metric: of which figure.
        value: method minus baseline, in [-1, 1].
        low: lower end of its interval.
        high: upper end.
        share_above: share of the resamples in which the method is above the baseline, in [0, 1].
    """

    method: str
    baseline: str
    metric: str
    value: float
    low: float
    high: float
    share_above: float

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            if not _is_number(getattr(self, name)) or not -1 <= getattr(self, name) <= 1:
                raise InvalidValue(f"The difference's {name} is {getattr(self, name)!r}.", "It must be in [-1, 1].")
        if self.low > self.high:
            raise InvalidValue(f"The difference lies between {self.low} and {self.high}.", "Put the lower end first.")
        if not is_score(self.share_above):
            raise InvalidValue(f"The difference's share_above is {self.share_above!r}.", "It must be in [0, 1].")


@dataclass(frozen=True, slots=True)
class SeenPhotos:
    """The seen photos in a generalised gallery.

    Attributes:
        share: of all seen photos, that were to join it.
        seed: that chose them.
        n_photos: how many are in it.
        n_categories: of how many categories.
    """

    share: float
    seed: int
    n_photos: int
    n_categories: int

    def __post_init__(self) -> None:
        if not is_score(self.share) or self.share == 0:
            raise InvalidValue(f"The share of seen photos is {self.share!r}.", "It must be above 0 and at most 1.")
        require_count(self.seed, "seed of seen photos", 0)
        require_count(self.n_photos, "number of seen photos", 1)
        require_count(self.n_categories, "number of seen categories", 1)


@dataclass(frozen=True, slots=True)
class ExampleHit:
    """One of the first photos that were found for an example.

    Attributes:
        uri: the photo.
        right: whether it is of the sketch's category.
    """

    uri: str
    right: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A query that went well or badly.

    Attributes:
        kind: "best" or "worst".
        sketch: its file.
        category: its category.
        average_precision: over all ranks, by the report's protocol.
        hits: the first photos found, best first.
    """

    kind: str
    sketch: str
    category: str
    average_precision: float
    hits: tuple[ExampleHit, ...]

    def __post_init__(self) -> None:
        if self.kind not in ("best", "worst"):
            raise InvalidValue(f"An example is {self.kind!r}.", "It must be 'best' or 'worst'.")
        if not is_score(self.average_precision):
            raise InvalidValue(f"The example's average_precision is {self.average_precision!r}.", "It is in [0, 1].")


def require_rows(rows: Any) -> None:
    """Refuses rows that are none, come twice or were not scored alike.

    Raises:
        InvalidValue: Naming the methods.
    """
    if not isinstance(rows, tuple) or not all(isinstance(row, MethodScores) for row in rows):
        raise InvalidValue("The report's rows must be a tuple of MethodScores.")
    methods = [row.method for row in rows]
    if not methods or len(set(methods)) != len(methods):
        raise InvalidValue(f"The report's methods are {methods}.", "There must be at least one, and none twice.")
    for row in rows[1:]:
        if set(row.values) != set(rows[0].values):
            raise InvalidValue(f"{row.method!r} has other metrics than {rows[0].method!r}.", "Score all methods alike.")


def require_count(value: Any, name: str, least: int) -> None:
    """Refuses what is no whole number from ``least`` up.

    Raises:
        InvalidValue: Naming it.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidValue(f"The report's {name} is {value!r}.", f"It must be a whole number from {least} up.")


def is_score(value: Any) -> bool:
    """Whether a value is a number in [0, 1]."""
    return _is_number(value) and 0 <= value <= 1


def checked_scores(values: Any, name: str) -> dict[str, float]:
    """A copy, so that nobody changes a frozen report through the mapping it was made from.

    Raises:
        InvalidValue: A score is no number in [0, 1].
    """
    if not isinstance(values, Mapping):
        raise InvalidValue(f"The scores of {name} are no mapping.")
    for key, value in values.items():
        if not isinstance(key, str) or not is_score(value):
            raise InvalidValue(f"The score {key!r} of {name} is {value!r}.", "A score is a number in [0, 1].")
    return {key: float(value) for key, value in values.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_interval(ends: Any) -> bool:
    return isinstance(ends, tuple | list) and len(ends) == 2 and all(map(is_score, ends)) and ends[0] <= ends[1]
