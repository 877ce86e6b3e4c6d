"""The probability that a gallery holds what a sketch shows, so that a search can say "no good match".

It is fitted by simulation where labels are known, on the training's side: half of the categories are taken out of the
gallery, and the sketches of those have no right answer. Categories of the training are many, but the model is surer of
them than of others; those held out of it (the pseudo-unseen ones) are few. Neither is better by rule: measure both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers.aligned import AlignedRanker
from sbka_milvus.rankers.alignment import AlignmentOptions, ModalityAlignment, mean_of
from sbka_milvus.rankers.logistic import Logistic
from sbka_milvus.rankers.ranker import Float64Array, require_at_least
from sbka_milvus.rankers.result_features import FEATURE_NAMES, result_features
from sbka_milvus.types import FloatArray

FORM = 1
"""Of the stored values: raised where the features change their meaning."""


RIDGE = 0.1
"""Penalty on the weights for each simulated search. The features say nearly the same; this lets them share the work."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Results of simulated searches.

    Attributes:
        features: shape (R, 8), float64.
        present: shape (R,), bool: whether the gallery held the sketch's category.
        correct: shape (R,), bool: whether the first hit is of the sketch's category.
    """

    features: Float64Array
    present: NDArray[np.bool_]
    correct: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Confidence:
    """A fitted confidence: 25 numbers.

    Attributes:
        regression: over :data:`sbka_milvus.rankers.result_features.FEATURE_NAMES`.
    """

    regression: Logistic

    def __post_init__(self) -> None:
        if len(self.regression.weights) != len(FEATURE_NAMES):
            raise InvalidValue(
                f"A confidence has {len(FEATURE_NAMES)} weights, not {len(self.regression.weights)}.", "Fit it anew."
            )

    @classmethod
    def fit(cls, evidence: Evidence) -> Confidence:
        """From simulated searches (:func:`simulate_searches`).

        Raises:
            InvalidValue: The category was always there, or never.
        """
        return cls(Logistic.fit(evidence.features, evidence.present, RIDGE * len(evidence.present)))

    def probability(self, features: Float64Array) -> Float64Array:
        """That the gallery holds the sketch's category.

        Args:
            features: shape (Q, 8), float64, of :meth:`Search.features`.

        Returns:
            shape (Q,), float64, in [0, 1].

        Raises:
            InvalidValue: The shape does not fit.
        """
        return self.regression.probability(features)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"form": FORM, "features": list(FEATURE_NAMES), "regression": self.regression.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Confidence:
        """What :meth:`to_dict` wrote.

        Raises:
            InvalidValue: It is of another form, or damaged.
        """
        if values.get("form") != FORM or values.get("features") != list(FEATURE_NAMES):
            raise InvalidValue("This confidence is of another form.", "Fit it anew with this version.")
        if not isinstance(values.get("regression"), dict):
            raise InvalidValue("This confidence holds no regression.", "Fit it anew.")
        return cls(Logistic.from_dict(values["regression"]))


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """How galleries are searched, and what a result is held against.

    Attributes:
        ranker: what ranks.
        cohort: shape (C, D), float32, unit rows, as encoded: photos of the training; some thousand are enough.
        n_clusters: K of the clusters whose agreement is asked; as many as photos where a gallery is smaller.
        seed: of those clusters.
    """

    ranker: AlignedRanker
    cohort: FloatArray
    n_clusters: int
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self.n_clusters, 1, "n_clusters")

    def features(self, queries: FloatArray, gallery: FloatArray) -> tuple[Float64Array, FloatArray]:
        """The features of one search, and its scores.

        Args:
            queries: shape (Q, D), float32, unit rows, as encoded.
            gallery: shape (N, D), float32, unit rows, as encoded, N at least 2.

        Returns:
            Features, shape (Q, 8), float64, and scores, shape (Q, N), float32.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        scores = self.ranker.scores(queries, gallery)
        sketch_mean = mean_of(queries) if self.ranker.sketch_mean is None else self.ranker.sketch_mean
        # Not projected on the gallery's directions: what a sketch shows beyond them is what the gallery lacks.
        means = AlignmentOptions("means")
        alignment = ModalityAlignment.fit(gallery, sketch_mean, means)
        photos = alignment.photos(gallery)
        centroids = fit_centroids(photos, min(self.n_clusters, len(photos)), seed=self.seed)
        cohort = ModalityAlignment.fit(self.cohort, sketch_mean, means).photos(self.cohort)
        return result_features(alignment.sketches(queries), photos, scores, centroids, cohort), scores


@dataclass(frozen=True, slots=True)
class Labelled:
    """Encoded pictures and their categories.

    Attributes:
        vectors: shape (N, D), float32, unit rows.
        categories: N names.
    """

    vectors: FloatArray
    categories: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.vectors) != len(self.categories):
            raise InvalidValue(f"{len(self.vectors)} vectors do not fit {len(self.categories)} categories.")


def simulate_searches(
    queries: Labelled, gallery: Labelled, search: Search, *, n_rounds: int = 10, seed: int = 0
) -> Evidence:
    """Searches in galleries from which half of the categories were taken out, another half in each round.

    Args:
        queries: sketches.
        gallery: photos, of at least two categories.
        search: how it is searched.
        n_rounds: at least 1. Rounds go in pairs that take out complementary halves, so that a sketch is as often
            without an answer as with one.
        seed: of the halves.

    Raises:
        InvalidValue: There are too few categories, or a vector does not fit.
    """
    require_at_least(n_rounds, 1, "n_rounds")
    names = np.array(gallery.categories)
    asked = np.array(queries.categories)
    categories = np.unique(names)
    if len(categories) < 2:
        raise InvalidValue("Photos of one category alone cannot be halved.", "Pass at least two categories.")
    rng = np.random.default_rng(seed)
    found: list[Evidence] = []
    for number in range(n_rounds):
        if number % 2 == 0:
            shuffled = rng.permutation(categories)
            halves = shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]
        held = np.isin(names, halves[number % 2])
        features, scores = search.features(queries.vectors, gallery.vectors[held])
        first = names[held][scores.argmax(axis=1)]
        found.append(Evidence(features, np.isin(asked, halves[number % 2]), first == asked))
    return Evidence(
        np.concatenate([one.features for one in found]),
        np.concatenate([one.present for one in found]),
        np.concatenate([one.correct for one in found]),
    )
