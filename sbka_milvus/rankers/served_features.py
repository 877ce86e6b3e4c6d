"""What a search through a vector store says of itself: the inputs of the confidence that is served.

Only what such a search has at hand: the sketch's cosines with the clusters' centroids, the scores and clusters of its
first hits, and its cosines with some photos of the training. The vectors of the hits are not fetched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.ranker import Float64Array
from sbka_milvus.types import FloatArray, IntArray

SERVED_FEATURES = (
    "top_score",
    "mean_of_first",
    "top_against_cohort",
    "odds",
    "cluster_distinction",
    "cluster_agreement",
    "spread",
)
N_FIRST = 10
"""Hits that are looked at: a search for fewer asks for so many."""

_TEMPERATURE = 0.1
_FAR = 20.0
"""Bound of z-scores: where a deviation is nearly nought they say no more than "far"."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchEvidence:
    """The scores of Q searches.

    Attributes:
        clusters: shape (Q, K), float: of each sketch with each centroid, K at least 1.
        hits: shape (Q, H), float, highest first: scores of the first hits, 1 <= H <= 10.
        hit_clusters: shape (Q, H), integers: the cluster of each hit.
        cohort: shape (Q, C), float: of each sketch with each photo of the cohort, C at least 1.

    Raises:
        InvalidValue: The shapes do not fit, or a number is not finite.
    """

    clusters: FloatArray
    hits: FloatArray
    hit_clusters: IntArray
    cohort: FloatArray

    def __post_init__(self) -> None:
        shapes = [part.shape for part in (self.clusters, self.hits, self.hit_clusters, self.cohort)]
        if any(len(shape) != 2 or shape[0] != len(self.clusters) or shape[1] < 1 for shape in shapes):
            raise InvalidValue(f"Scores of the shapes {shapes} are not those of the same searches.")
        if self.hits.shape != self.hit_clusters.shape or self.hits.shape[1] > N_FIRST:
            raise InvalidValue(f"{self.hits.shape} hits do not fit {self.hit_clusters.shape} clusters, or are over 10.")
        if not all(np.isfinite(part).all() for part in (self.clusters, self.hits, self.cohort)):
            raise InvalidValue("A score is not finite.", "Check the vectors.")
        if (np.diff(self.hits, axis=1) > 0).any():
            raise InvalidValue("Hits must come with the highest score first.")


def served_features(evidence: SearchEvidence) -> Float64Array:
    """Seven numbers a search, in the order of :data:`SERVED_FEATURES`.

    * ``top_score``: s1, the score of the first hit.
    * ``mean_of_first``: the mean of the first hits' scores.
    * ``top_against_cohort``: (s1 - mean) / deviation over the cosines with the cohort, within +-20.
    * ``odds``: log mean exp(score / 0.1) of the first hits, less the same of the cohort.
    * ``cluster_distinction``: the best cluster's score as a z-score among those of all clusters.
    * ``cluster_agreement``: share of the first hits in the cluster that holds most of them.
    * ``spread``: s1 less the score of the last of the first hits.

    A *cohort* is a set of photos that are not what the sketch shows: how near the sketch comes to those says what
    nearness means nothing (cohort normalisation, as in the verification of speakers).

    Returns:
        shape (Q, 7), float64, finite.

    >>> one = np.float64([[0.5, 0.3]])
    >>> served_features(SearchEvidence(one, one, np.array([[4, 4]]), np.float64([[0.2, 0.4]]))).round(2).tolist()
    [[0.5, 0.4, 2.0, 1.0, 1.0, 1.0, 0.2]]
    """
    clusters, hits, cohort = (part.astype(np.float64) for part in (evidence.clusters, evidence.hits, evidence.cohort))
    columns = [
        hits[:, 0],
        hits.mean(axis=1),
        _z(hits[:, 0], cohort),
        _log_mean_exp(hits) - _log_mean_exp(cohort),
        _z(clusters.max(axis=1), clusters),
        _agreement(evidence.hit_clusters),
        hits[:, 0] - hits[:, -1],
    ]
    return np.stack(columns, axis=1)


def _z(value: Float64Array, among: Float64Array) -> Float64Array:
    z = (value - among.mean(axis=1)) / np.maximum(among.std(axis=1), 1e-6)
    return np.asarray(np.clip(z, -_FAR, _FAR))


def _log_mean_exp(scores: Float64Array) -> Float64Array:
    return np.asarray(np.log(np.exp(scores / _TEMPERATURE).mean(axis=1)))


def _agreement(clusters: IntArray) -> Float64Array:
    same = (clusters[:, :, None] == clusters[:, None, :]).sum(axis=2)
    return np.asarray(same.max(axis=1) / clusters.shape[1], dtype=np.float64)
