"""How sure search results are: computed from what a search has at hand, beside the very version that answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sbka_milvus.encoders.statistics import STATISTICS_FILE, read_statistics
from sbka_milvus.errors import BundleError, InvalidValue
from sbka_milvus.protocols import Matching
from sbka_milvus.rankers.fused import DEFAULT_WEIGHT
from sbka_milvus.rankers.served_confidence import ServedConfidence
from sbka_milvus.rankers.served_features import N_FIRST, served_features
from sbka_milvus.rankers.served_matching import ServedMatching
from sbka_milvus.rankers.spaces import FusedSpace, LinearSpace, SearchSpace, ServedForm, search_evidence
from sbka_milvus.types import ClusterTable, FloatArray, Hit, SearchResult


class ConfidenceJudge:
    """Gives search results their confidence; threads may share it.

    Args:
        confidences: of the forms of search that it can judge.
        cohort: shape (C, D), float32, unit rows, as encoded: photos of the training.
    """

    least_hits = N_FIRST
    """Hits that a search should ask for, so that the confidence does not depend on how many are shown."""

    def __init__(self, confidences: dict[ServedForm, ServedConfidence], cohort: FloatArray) -> None:
        self._confidences = confidences
        self._cohort = cohort
        self._moved: tuple[ClusterTable, SearchSpace, FloatArray] | None = None

    @classmethod
    def of_bundle(cls, folder: Path) -> ConfidenceJudge | None:
        """From a bundle's statistics; none where it has none, or no confidence in them.

        Raises:
            BundleError: The statistics are damaged, or of another model.
        """
        statistics = read_statistics(folder)
        if statistics is None or statistics.confidence is None:
            return None
        forms = statistics.confidence.get("forms")
        try:
            if not isinstance(forms, dict):
                raise InvalidValue("It holds no forms of search.")
            confidences: dict[ServedForm, ServedConfidence] = {
                name: ServedConfidence.from_dict(forms[name]) for name in ("fused", "linear") if name in forms
            }
        except InvalidValue as error:
            raise BundleError(
                f"The confidence in {folder / STATISTICS_FILE} cannot be used: {error.problem}",
                "Make the file anew with `sbka model statistics`.",
            ) from error
        return cls(confidences, statistics.photos)

    def judge(
        self,
        queries: FloatArray,
        table: ClusterTable,
        results: Sequence[SearchResult],
        matching: Matching | None = None,
    ) -> list[SearchResult]:
        """The results with their confidence.

        Args:
            queries: shape (Q, D), float32, unit rows, as encoded.
            table: clusters of the version that answered; one object for as long as that version is served.
            results: Q, each with at least :attr:`least_hits` hits where there are so many.
            matching: by what the version's vectors were lifted; none: it was searched as encoded, one-to-many.

        Returns:
            The same results. Those without a hit are sure that there is none; where the model's confidence is of
            another form of search, or of vectors of another length, it is none.
        """
        if self._cohort.shape[1] != queries.shape[1]:
            return list(results)
        moved, cohort = self._space(table, matching)
        confidence = self._confidences.get(moved.form)
        # Clusters of another length are of a version whose vectors are not as encoded, and whose space is not known.
        if confidence is None or moved.centroids.shape[1] != cohort.shape[1]:
            return list(results)
        judged = []
        for query, result in zip(queries, results, strict=True):
            if len(result) == 0:
                judged.append(replace(result, confidence=0.0))
                continue
            scores = np.array([_score(hit, moved.form) for hit in result], dtype=np.float32)
            clusters = np.array([hit.cluster_id for hit in result], dtype=np.int64)
            order = np.argsort(-scores, kind="stable")[:N_FIRST]
            evidence = search_evidence(
                moved, query[np.newaxis], scores[order][np.newaxis], clusters[order][np.newaxis], cohort
            )
            judged.append(replace(result, confidence=float(confidence.probability(served_features(evidence))[0])))
        return judged

    def _space(self, table: ClusterTable, matching: Matching | None) -> tuple[SearchSpace, FloatArray]:
        """The space of a version, and the cohort in it, which is moved once a version."""
        kept = self._moved
        if kept is None or kept[0] is not table:
            found: SearchSpace = FusedSpace(table.centroids)
            if isinstance(matching, ServedMatching):
                found = LinearSpace(matching.lifted.alignment, matching.lifted.tables[0])
            self._moved = kept = table, found, found.photos(self._cohort)
        return kept[1], kept[2]


def _score(hit: Hit, form: ServedForm) -> float:
    """As the confidence was fitted, whatever weight this search was asked for."""
    if form == "linear":
        return hit.score
    return DEFAULT_WEIGHT * hit.cluster_score + (1.0 - DEFAULT_WEIGHT) * hit.member_score
