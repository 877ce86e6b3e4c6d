"""What a search result says of itself, without labels: the inputs of the confidence."""

from __future__ import annotations

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.graph import nearest_neighbours
from sbka_milvus.rankers.ranker import Float64Array, dot_scores, nearest_centroids, rank_positions, require_pair
from sbka_milvus.types import FloatArray

FEATURE_NAMES = (
    "top_score",
    "top_against_gallery",
    "against_cohort",
    "odds",
    "best_cluster",
    "cluster_distinction",
    "cluster_agreement",
    "cohesion",
)
N_FIRST = 10
_N_COHORT = 50
_TEMPERATURE = 0.1


def result_features(
    queries: FloatArray, gallery: FloatArray, scores: FloatArray, centroids: FloatArray, cohort: FloatArray
) -> Float64Array:
    """Eight numbers a query, in the order of :data:`FEATURE_NAMES`.

    A *cohort* is a set of photos that are not what the sketch shows, such as the training's: how near the sketch comes
    to those says what nearness means nothing, as cohorts of impostors do in the verification of speakers.

    * ``top_score``: the highest cosine with a photo.
    * ``top_against_gallery``: the same as a z-score among the photos' cosines with their own nearest neighbour.
    * ``against_cohort``: mean cosine with the ten nearest photos, less that with the 50 nearest of the cohort.
    * ``odds``: log of the mean over the gallery of exp(cosine / 0.1), less the same over the cohort.
    * ``best_cluster``: the highest cosine with a centroid.
    * ``cluster_distinction``: the same as a z-score among the query's cosines with all centroids.
    * ``cluster_agreement``: share of the first ten hits in the cluster that holds most of them.
    * ``cohesion``: mean cosine of the first ten hits with one another.

    Args:
        queries: shape (Q, D), float32, unit rows, each modality's mean removed.
        gallery: shape (N, D), float32, unit rows, the same, N at least 2.
        scores: shape (Q, N), float32, from any ranker: which photos are the first hits.
        centroids: shape (K, D), float32, unit rows, K at least 1: of the gallery's clusters.
        cohort: shape (C, D), float32, unit rows, its own mean removed, C at least 1.

    Returns:
        shape (Q, 8), float64, finite.

    Raises:
        InvalidValue: A shape, dtype or norm does not fit, or there are fewer than two photos.
    """
    require_pair(queries, gallery)
    require_pair(queries, centroids)
    require_pair(queries, cohort)
    if scores.shape != (len(queries), len(gallery)) or len(gallery) < 2:
        raise InvalidValue(
            f"Scores of shape {scores.shape} do not fit {len(queries)} queries and {len(gallery)} photos, of which "
            "there must be at least 2."
        )
    first = rank_positions(scores)[:, :N_FIRST]
    cosines = dot_scores(queries, gallery).astype(np.float64)
    top = cosines.max(axis=1)
    nearest = nearest_neighbours(gallery, 1)[1][:, 0]
    clusters = dot_scores(queries, centroids).astype(np.float64)
    strange = dot_scores(queries, cohort).astype(np.float64)
    columns = [
        top,
        _z(top, nearest.mean(), nearest.std()),
        _mean_of_best(cosines, N_FIRST) - _mean_of_best(strange, _N_COHORT),
        _log_mean_exp(cosines) - _log_mean_exp(strange),
        clusters.max(axis=1),
        _z(clusters.max(axis=1), clusters.mean(axis=1), clusters.std(axis=1)),
        _agreement(nearest_centroids(gallery, centroids)[first], len(centroids)),
        _cohesion(gallery.astype(np.float64)[first]),
    ]
    return np.stack(columns, axis=1)


def _mean_of_best(cosines: Float64Array, count: int) -> Float64Array:
    count = min(count, cosines.shape[1])
    return np.asarray(np.partition(cosines, -count, axis=1)[:, -count:].mean(axis=1))


def _log_mean_exp(cosines: Float64Array) -> Float64Array:
    return np.asarray(np.log(np.exp(cosines / _TEMPERATURE).mean(axis=1)))


def _z(value: Float64Array, mean: Float64Array, deviation: Float64Array) -> Float64Array:
    return np.asarray((value - mean) / np.maximum(deviation, 1e-6))


def _agreement(clusters: np.ndarray, n_clusters: int) -> Float64Array:
    counts = np.zeros((len(clusters), n_clusters))
    np.add.at(counts, (np.arange(len(clusters))[:, None], clusters), 1.0)
    return np.asarray(counts.max(axis=1) / clusters.shape[1])


def _cohesion(hits: Float64Array) -> Float64Array:
    n = hits.shape[1]
    if n < 2:
        return np.ones(len(hits))
    # |sum|^2 counts each pair twice and each photo once.
    return np.asarray(((hits.sum(axis=1) ** 2).sum(axis=1) - (hits**2).sum(axis=(1, 2))) / (n * (n - 1)))
