"""Searches as a vector store makes them, where categories were taken out of the gallery: what confidence learns from.

Half of the searched categories are in the gallery and half are not, so a sketch is as often without an answer as with
one. A user's gallery holds more than what sketches show, so photos of further categories, the *backdrop*, join the
gallery in some rounds: without them the confidence takes a large gallery's better chance hits for good ones. Those
categories of the backdrop that do not join are the cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers.alignment import ModalityAlignment, mean_of
from sbka_milvus.rankers.confidence import Evidence, Labelled
from sbka_milvus.rankers.fused import DEFAULT_WEIGHT, Fused
from sbka_milvus.rankers.levelled import Levelled
from sbka_milvus.rankers.ranker import Float64Array, nearest_centroids, rank_positions
from sbka_milvus.rankers.served_features import N_FIRST, served_features
from sbka_milvus.rankers.spaces import FusedSpace, LinearSpace, SearchSpace, ServedForm, search_evidence
from sbka_milvus.rankers.systems import N_CLUSTERINGS
from sbka_milvus.types import FloatArray, IntArray

SHARES = (0.0, 0.15, 0.5)
"""Of the backdrop's categories that join the gallery, round by round."""


@dataclass(frozen=True, slots=True)
class ServedSearch:
    """How galleries are searched.

    Attributes:
        form: see :data:`~sbka_milvus.rankers.spaces.ServedForm`.
        n_clusters: K from the number of photos.
        training_sketches: shape (B, D), float32, unit rows: what the form ``linear`` knows of sketches.
    """

    form: ServedForm
    n_clusters: Callable[[int], int]
    training_sketches: FloatArray

    def search(self, queries: FloatArray, gallery: FloatArray) -> tuple[SearchSpace, FloatArray, IntArray]:
        """All scores, and the space in which they were made.

        Args:
            queries: shape (Q, D), float32, unit rows, as encoded.
            gallery: shape (N, D), float32, unit rows, as encoded, N at least 2.

        Returns:
            The space; scores, shape (Q, N), float32; the cluster of each photo, shape (N,), int64.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        k = self.n_clusters(len(gallery))
        if self.form == "fused":
            space: SearchSpace = FusedSpace(fit_centroids(gallery, k, n_restarts=1))
            return space, Fused(k).scores(queries, gallery), nearest_centroids(gallery, space.centroids)
        alignment = ModalityAlignment.fit(gallery, mean_of(self.training_sketches))
        photos = alignment.photos(gallery)
        levelled = Levelled(Fused(k, DEFAULT_WEIGHT, N_CLUSTERINGS), alignment.sketches(self.training_sketches))
        space = LinearSpace(alignment, fit_centroids(photos, k, n_restarts=1))
        scores = levelled.scores(alignment.sketches(queries), photos)
        return space, scores, nearest_centroids(photos, space.centroids)

    def features(self, queries: FloatArray, gallery: FloatArray, cohort: FloatArray) -> tuple[Float64Array, IntArray]:
        """What searches say of themselves, and what they find first.

        Args:
            queries: shape (Q, D), float32, unit rows, as encoded.
            gallery: shape (N, D), float32, unit rows, as encoded, N at least 2.
            cohort: shape (C, D), float32, unit rows, as encoded, C at least 1.

        Returns:
            Features, shape (Q, 7), float64; positions of the first hits, shape (Q,), int64.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        space, scores, clusters = self.search(queries, gallery)
        first = rank_positions(scores)[:, :N_FIRST]
        hits = np.take_along_axis(scores, first, axis=1)
        evidence = search_evidence(space, queries, hits, clusters[first], space.photos(cohort))
        return served_features(evidence), first[:, 0]


def simulate_served(
    sketches: Labelled,
    photos: Labelled,
    backdrop: Labelled,
    search: ServedSearch,
    *,
    n_rounds: int = 6,
    seed: int = 0,
) -> Iterator[Evidence]:
    """Simulated searches, round by round; rounds go in pairs that take out complementary halves.

    Args:
        sketches: of the searched categories.
        photos: of the same, at least two.
        backdrop: photos of other categories, at least one.
        search: how it is searched.
        n_rounds: at least 1.
        seed: of halves and backdrops.

    Raises:
        InvalidValue: There are too few categories, they overlap, or a vector does not fit.
    """
    names, asked, behind = (np.array(part.categories) for part in (photos, sketches, backdrop))
    categories, others = np.unique(names), np.unique(behind)
    if len(categories) < 2 or len(others) < 1 or n_rounds < 1:
        raise InvalidValue("Searches need photos of at least two categories, and of one more for the cohort.")
    if np.isin(others, categories).any() or not np.isin(asked, categories).all():
        raise InvalidValue("The backdrop and the searched categories must differ, and every sketch needs photos.")
    rng = np.random.default_rng(seed)
    for number in range(n_rounds):
        if number % 2 == 0:
            shuffled = rng.permutation(categories)
            halves = shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]
            joining = rng.permutation(others)[: int(SHARES[number // 2 % len(SHARES)] * len(others))]
        held, added = np.isin(names, halves[number % 2]), np.isin(behind, joining)
        gallery = np.concatenate([photos.vectors[held], backdrop.vectors[added]])
        labels = np.concatenate([names[held], behind[added]])
        features, first = search.features(sketches.vectors, gallery, backdrop.vectors[~added])
        yield Evidence(features, np.isin(asked, halves[number % 2]), np.asarray(labels[first] == asked))


def joined(rounds: list[Evidence]) -> Evidence:
    """Several as one.

    Args:
        rounds: at least one.
    """
    return Evidence(
        np.concatenate([one.features for one in rounds]),
        np.concatenate([one.present for one in rounds]),
        np.concatenate([one.correct for one in rounds]),
    )
