"""How well a ranker finds kin, measured on photos alone.

Photos stand in for sketches. The features are cut at random into two halves, two *views* of the gallery. One view says
which photos are kin (the nearest neighbours there); a ranker must find them in the other view, from the photo itself
with noise added. A sketch is far from its photos in many directions at once, and the noise stands for that distance:
without it a ranker that looks at single photos would always seem best. Each view has its own mean removed and is
projected on its own directions above noise, so the difference between the modalities, which is a shift, has no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.alignment import AlignmentOptions, ModalityAlignment, mean_of
from sbka_milvus.rankers.graph import nearest_neighbours
from sbka_milvus.rankers.ranker import Ranker, rank_positions, require_at_least, require_gallery
from sbka_milvus.rankers.spectrum import STRICT_MARGIN
from sbka_milvus.types import FloatArray, normalise


@dataclass(frozen=True, slots=True)
class SelfRetrievalOptions:
    """How photos are made to stand in for sketches.

    Attributes:
        noise: length of the noise added to a unit vector; 1 turns it by 45 degrees, 1.5 by 56.
        n_kin: how many nearest neighbours in the other view count as kin.
        n_cuts: how many times the features are cut; each cut is used in both directions.
        most_photos: of a larger gallery so many are drawn at random.
        most_queries: so many photos stand in for sketches.
    """

    noise: float = 1.5
    n_kin: int = 10
    n_cuts: int = 2
    most_photos: int = 2000
    most_queries: int = 1000

    def __post_init__(self) -> None:
        require_at_least(self.noise, 0.0, "noise")
        for name in ("n_kin", "n_cuts", "most_photos", "most_queries"):
            require_at_least(getattr(self, name), 1, name)


@dataclass(frozen=True, slots=True)
class View:
    """A gallery as one half of the features sees it.

    Attributes:
        queries: shape (Q, P), float32, unit rows: photos with noise, standing in for sketches.
        gallery: shape (N, P), float32, unit rows.
        rows: shape (Q,), int64: which photo each query was made of; it is no hit of its own.
        kin: shape (Q, N), bool: the nearest neighbours in the other half of the features.
    """

    queries: FloatArray
    gallery: FloatArray
    rows: NDArray[np.int64]
    kin: NDArray[np.bool_]


def self_retrieval(
    gallery: FloatArray,
    rankers: Sequence[Ranker],
    options: SelfRetrievalOptions = SelfRetrievalOptions(),
    *,
    seed: int = 0,
) -> tuple[float, ...]:
    """mAP of finding kin, for each ranker; the same views and the same noise for all.

    Args:
        gallery: shape (N, D), float32, unit rows, as encoded (not aligned), N at least 4, D at least 4.
        rankers: matchers; they are given aligned vectors.
        options: how.
        seed: of the cuts, the draws and the noise.

    Returns:
        One value in [0, 1] a ranker.

    Raises:
        InvalidValue: The gallery is too small, or a vector does not fit.
    """
    return find_kin(make_views(gallery, options, seed), rankers)


def find_kin(views: Sequence[View], rankers: Sequence[Ranker]) -> tuple[float, ...]:
    """mAP of finding kin over some views, for each ranker.

    Raises:
        InvalidValue: A view's vectors do not fit a ranker.
    """
    return tuple(float(np.mean([_map(ranker, view) for view in views])) for ranker in rankers)


def make_views(gallery: FloatArray, options: SelfRetrievalOptions, seed: int) -> list[View]:
    """The views of a gallery: two for each cut.

    Raises:
        InvalidValue: There are fewer than 4 photos or dimensions.
    """
    require_gallery(gallery)
    if min(gallery.shape) < 4:
        raise InvalidValue(f"A gallery of shape {gallery.shape} is too small to be cut in two.")
    rng = np.random.default_rng(seed)
    if len(gallery) > options.most_photos:
        gallery = gallery[np.sort(rng.choice(len(gallery), options.most_photos, replace=False))]
    views = []
    for _ in range(options.n_cuts):
        columns = rng.permutation(gallery.shape[1])
        half = len(columns) // 2
        halves = [_aligned(gallery[:, part]) for part in (columns[:half], columns[half:])]
        for judge, seen in (halves, halves[::-1]):
            views.append(_view(judge, seen, options, rng))
    return views


def _aligned(part: FloatArray) -> FloatArray:
    # A photo without any of these features has no direction; the mean stands for it.
    silent = np.linalg.norm(part, axis=1) < 1e-6
    filled = part.astype(np.float64)
    filled[silent] = filled[~silent].mean(axis=0) if (~silent).any() else 1.0
    unit = normalise(filled)
    return ModalityAlignment.fit(unit, mean_of(unit), AlignmentOptions(margin=STRICT_MARGIN)).photos(unit)


def _view(judge: FloatArray, seen: FloatArray, options: SelfRetrievalOptions, rng: np.random.Generator) -> View:
    n, dim = seen.shape
    rows = np.sort(rng.choice(n, min(n, options.most_queries), replace=False))
    near, _ = nearest_neighbours(judge, options.n_kin)
    kin = np.zeros((len(rows), n), dtype=np.bool_)
    kin[np.arange(len(rows))[:, None], near[rows]] = True
    noise = rng.normal(scale=options.noise / np.sqrt(dim), size=(len(rows), dim))
    return View(normalise(seen[rows] + noise), seen, rows, kin)


def _map(ranker: Ranker, view: View) -> float:
    order = rank_positions(ranker.scores(view.queries, view.gallery))
    others = order[order != view.rows[:, None]].reshape(len(order), -1)
    found = np.take_along_axis(view.kin, others, axis=1)
    precision = np.cumsum(found, axis=1) / np.arange(1, found.shape[1] + 1)
    return float(((precision * found).sum(axis=1) / found.sum(axis=1)).mean())
