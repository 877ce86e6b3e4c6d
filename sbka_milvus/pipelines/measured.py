"""Rankings on their way to a report: scored as they come, in the gallery as it is and in the one without doubles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbka_milvus.errors import DatasetError, ImageError
from sbka_milvus.evaluation import EvaluationPlan, QueryScores, Tally, Truth, first_copies, number_photos
from sbka_milvus.images.source import content_hash, read_image_file
from sbka_milvus.pipelines.labelled import LabelledVectors
from sbka_milvus.pipelines.rankings import Blocks
from sbka_milvus.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One gallery: what is true of it, and what each method scored, query by query.

    Attributes:
        truth: labels of queries and photos.
        scores: one a method, in the order in which they were ranked.
    """

    truth: Truth
    scores: tuple[QueryScores, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What all methods scored, query by query: for reports, and for comparing runs of several models.

    Attributes:
        standard: the gallery as it is.
        deduplicated: the gallery with each photo once; None where that was not asked for.
        uris: the gallery's photos, in order of position.
        sketches: files of the queries that were scored.
        n_clusters: clusters of the gallery.
        notes: what a reader should know.
    """

    standard: Scored
    deduplicated: Scored | None
    uris: tuple[str, ...]
    sketches: tuple[Path, ...]
    n_clusters: int
    notes: tuple[str, ...]


class Measurement:
    """Takes rankings block by block and keeps what they score.

    Args:
        categories: of each photo, in order of position.
        uris: of each photo.
        sketches: the queries.
        plan: what to measure.

    Raises:
        DatasetError: No sketch has a photo of its category.
    """

    def __init__(
        self, categories: Sequence[str], uris: Sequence[str], sketches: LabelledVectors, plan: EvaluationPlan
    ) -> None:
        self._uris, self._sketches, self._plan = tuple(uris), sketches, plan
        self._notes = list(sketches.notes)
        truth = _truth(categories, self._uris, sketches)
        if not truth.usable.any():
            raise DatasetError(
                "No sketch has a photo of its category in the gallery.",
                "Photos must lie in folders named like the sketches' categories.",
            )
        if not truth.usable.all():
            left_out = int((~truth.usable).sum())
            self._notes.append(f"{left_out} sketches left out: the gallery has no photo of their category.")
        self._truths = [truth]
        if plan.deduplicate:
            self._truths.append(truth.without(self._doubles(categories)))
        self._tallies: dict[str, list[Tally]] = {}

    def add(self, method: str, part: slice, positions: IntArray) -> None:
        """Scores a block of one method's rankings; see :meth:`~sbka_milvus.evaluation.Tally.add`."""
        if method not in self._tallies:
            self._tallies[method] = [Tally(method, truth, self._plan) for truth in self._truths]
        for tally in self._tallies[method]:
            tally.add(part, positions)

    def add_blocks(self, method: str, blocks: Blocks) -> None:
        """Scores all of one method's rankings."""
        for part, positions in blocks:
            self.add(method, part, positions)

    def finish(self, n_clusters: int) -> Measured:
        """What was scored.

        Raises:
            InvalidValue: A method left out a query.
        """
        scored = [
            Scored(truth, tuple(tallies[view].finish() for tallies in self._tallies.values()))
            for view, truth in enumerate(self._truths)
        ]
        usable = np.flatnonzero(self._truths[0].usable).tolist()
        return Measured(
            scored[0],
            scored[1] if len(scored) > 1 else None,
            self._uris,
            tuple(self._sketches.paths[query] for query in usable),
            n_clusters,
            tuple(self._notes),
        )

    def _doubles(self, categories: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        hashes = [_hash_of(uri) for uri in self._uris]
        unread = hashes.count("")
        if unread:
            self._notes.append(
                f"{unread} photos cannot be read now: by name alone it was told whether they are doubles."
            )
        return ~first_copies(categories, self._uris, hashes)


def _truth(categories: Sequence[str], uris: Sequence[str], sketches: LabelledVectors) -> Truth:
    names: dict[str, int] = {}
    photo_labels = np.array([names.setdefault(name, len(names)) for name in categories], dtype=np.int64)
    query_labels = np.array([names.setdefault(name, len(names)) for name in sketches.categories], dtype=np.int64)
    files = [str(path) for path in sketches.paths]
    numbers, drawn = number_photos(
        list(zip(categories, uris, strict=True)), list(zip(sketches.categories, files, strict=True))
    )
    everything = np.ones(len(photo_labels), dtype=np.bool_)
    return Truth(tuple(names), query_labels, photo_labels, drawn, numbers, everything)


def _hash_of(uri: str) -> str:
    try:
        return content_hash(read_image_file(uri))
    except ImageError:
        return ""
