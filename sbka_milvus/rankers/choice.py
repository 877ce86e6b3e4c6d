"""How to match, chosen without labels: from the photos of a gallery alone.

K is the largest with which clusters lie as well apart as they can (silhouette). Whether to use clusters at all is
whether they lie better apart than those of the same gallery with its features shuffled, which has no kin. The weight
and the number of sub-spaces are those with which photos find their kin best
(:mod:`sbka_milvus.rankers.self_retrieval`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers.alignment import AlignmentOptions, ModalityAlignment, mean_of
from sbka_milvus.rankers.fused import Fused
from sbka_milvus.rankers.plain import Plain
from sbka_milvus.rankers.quantised import Quantised
from sbka_milvus.rankers.ranker import Ranker, nearest_centroids, require_at_least, require_gallery
from sbka_milvus.rankers.self_retrieval import SelfRetrievalOptions, find_kin, make_views
from sbka_milvus.rankers.spectrum import STRICT_MARGIN
from sbka_milvus.rankers.structure import adjusted_rand, silhouette
from sbka_milvus.types import FloatArray, IntArray, normalise

LEAST_STRUCTURE = 0.12
"""Silhouette above that of the shuffled gallery below which clusters are accidents, and plain ranking is preferred."""


@dataclass(frozen=True, slots=True)
class ChoiceOptions:
    """What is tried.

    Attributes:
        roots: K as multiples of the square root of the gallery's size.
        weights: cluster weights.
        subspaces: M of the paper's form.
        n_clusterings: as the ranker will have.
        n_starts: clusterings compared with one another at each K.
        alignment: in whose space photos are clustered.
        self_retrieval: how photos stand in for sketches.
    """

    roots: tuple[float, ...] = (0.35, 0.5, 0.7, 1.0, 1.25, 1.75, 2.5, 3.5)
    weights: tuple[float, ...] = (0.3, 0.5, 0.8, 0.95)
    subspaces: tuple[int, ...] = (1, 2, 4)
    n_clusterings: int = 5
    n_starts: int = 3
    alignment: AlignmentOptions = field(default_factory=lambda: AlignmentOptions(margin=STRICT_MARGIN))
    self_retrieval: SelfRetrievalOptions = field(default_factory=SelfRetrievalOptions)

    def __post_init__(self) -> None:
        if not (self.roots and self.weights and self.subspaces):
            raise InvalidValue(
                "There is nothing to choose from.", "Name at least one of each: roots, weights, subspaces."
            )
        for root in self.roots:
            require_at_least(root, 0.0, "roots")
        require_at_least(self.n_clusterings, 1, "n_clusterings")
        require_at_least(self.n_starts, 2, "n_starts")


@dataclass(frozen=True, slots=True)
class MatchingChoice:
    """How to match, and the figures that led to it.

    Attributes:
        n_clusters: K.
        n_subspaces: M, for the paper's form.
        weight: of the cluster score; 0 where plain ranking is preferred.
        plain: whether plain ranking is preferred.
        structure: silhouette at K, less that of the shuffled gallery.
        silhouettes: by K.
        stabilities: by K: mean adjusted Rand index of clusterings from different starts.
        kin_by_weight: mAP of finding kin, by weight; weight 0 is plain ranking.
        kin_by_subspaces: the same for the paper's form, by M.
    """

    n_clusters: int
    n_subspaces: int
    weight: float
    plain: bool
    structure: float
    silhouettes: dict[int, float]
    stabilities: dict[int, float]
    kin_by_weight: dict[float, float]
    kin_by_subspaces: dict[int, float]

    def ranker(self, n_clusterings: int = 5, seed: int = 0) -> Ranker:
        """The matcher that was chosen."""
        return Plain() if self.plain else Fused(self.n_clusters, self.weight, n_clusterings, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """For reports; keys of the curves become text."""
        curves = ("silhouettes", "stabilities", "kin_by_weight", "kin_by_subspaces")
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in curves}
        return plain | {
            name: {str(at): round(value, 4) for at, value in getattr(self, name).items()} for name in curves
        }


def choose_matching(
    gallery: FloatArray,
    options: ChoiceOptions = ChoiceOptions(),
    *,
    seed: int = 0,
) -> MatchingChoice:
    """K, M, the weight, and whether to use clusters at all. The same gallery, options and seed give the same choice.

    A gallery of fewer than 8 photos gets plain ranking: there is nothing to learn from it.

    Args:
        gallery: shape (N, D), float32, unit rows, as encoded (not aligned).
        options: what is tried.
        seed: of all that is drawn.

    Raises:
        InvalidValue: The gallery is empty, or its vectors do not fit.
    """
    require_gallery(gallery)
    if len(gallery) < 8 or gallery.shape[1] < 4:
        return MatchingChoice(1, 1, 0.0, True, 0.0, {}, {}, {0.0: math.nan}, {})
    aligned = _align(gallery, options.alignment)
    curves = {k: _judge(aligned, k, options.n_starts, seed) for k in candidates(len(gallery), options.roots)}
    n_clusters = most_apart({k: apart for k, (apart, _) in curves.items()})
    shuffled = _align(
        shuffle(gallery, seed), AlignmentOptions(options.alignment.form, aligned.shape[1], options.alignment.power)
    )
    structure = curves[n_clusters][0] - _judge(shuffled, n_clusters, options.n_starts, seed)[0]
    weights: list[Ranker] = [Fused(n_clusters, weight, options.n_clusterings, seed=seed) for weight in options.weights]
    views = make_views(gallery, options.self_retrieval, seed)
    width = min(view.gallery.shape[1] for view in views)
    subspaces = [m for m in options.subspaces if m <= width] or [1]
    spaces: list[Ranker] = [Quantised(m, n_clusters, seed=seed) for m in subspaces]
    by_weight = dict(zip((0.0, *options.weights), find_kin(views, [Plain(), *weights]), strict=True))
    by_subspaces = dict(zip(subspaces, find_kin(views, spaces), strict=True))
    best = max(by_weight, key=lambda weight: by_weight[weight])
    plain = structure < LEAST_STRUCTURE or best == 0.0
    return MatchingChoice(
        n_clusters=n_clusters,
        n_subspaces=max(by_subspaces, key=lambda m: (by_subspaces[m], -m)),
        weight=0.0 if plain else best,
        plain=plain,
        structure=structure,
        silhouettes={k: apart for k, (apart, _) in curves.items()},
        stabilities={k: stable for k, (_, stable) in curves.items()},
        kin_by_weight=by_weight,
        kin_by_subspaces=by_subspaces,
    )


def most_apart(silhouettes: dict[int, float]) -> int:
    """The largest K whose silhouette is as good as the best, up to a twentieth of it.

    Silhouettes of a few starts are no more exact than that, and too few clusters hurt more than too many.

    >>> most_apart({10: 0.3, 20: 0.40, 28: 0.39, 40: 0.35})
    28
    """
    best = max(silhouettes.values())
    return max(k for k, apart in silhouettes.items() if apart >= best - abs(best) / 20.0)


def candidates(n_photos: int, roots: tuple[float, ...]) -> tuple[int, ...]:
    """The K that are tried: distinct, at least 2, at most half the photos.

    >>> candidates(100, (0.1, 0.5, 0.52, 1.0, 9.0))
    (2, 5, 10, 50)
    """
    wanted = {min(max(2, round(root * math.sqrt(n_photos))), max(2, n_photos // 2)) for root in roots}
    return tuple(sorted(wanted))


def shuffle(gallery: FloatArray, seed: int) -> FloatArray:
    """The gallery with each feature shuffled by itself: as it would look if no photo had kin.

    Args:
        gallery: shape (N, D), float32, unit rows.
        seed: of the shuffles.

    Returns:
        shape (N, D), float32, unit rows.
    """
    mixed = np.random.default_rng(seed).permuted(gallery.astype(np.float64), axis=0)
    silent = np.linalg.norm(mixed, axis=1) == 0
    mixed[silent] = gallery[silent]
    return normalise(mixed)


def _align(gallery: FloatArray, options: AlignmentOptions) -> FloatArray:
    return ModalityAlignment.fit(gallery, mean_of(gallery), options).photos(gallery)


def _judge(gallery: FloatArray, n_clusters: int, n_starts: int, seed: int) -> tuple[float, float]:
    found = [_assign(gallery, n_clusters, seed + start) for start in range(n_starts)]
    apart = [silhouette(gallery, one) if one.max() > 0 else -1.0 for one in found]
    stable = [adjusted_rand(one, other) for place, one in enumerate(found) for other in found[:place]]
    return float(np.mean(apart)), float(np.mean(stable))


def _assign(gallery: FloatArray, n_clusters: int, seed: int) -> IntArray:
    centroids = fit_centroids(gallery, n_clusters, seed=seed, n_restarts=1)
    return np.unique(nearest_centroids(gallery, centroids), return_inverse=True)[1].astype(np.int64)
