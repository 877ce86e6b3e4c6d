"""Fitting a :class:`~sbka_milvus.rankers.lifted.LiftedMatching` to a gallery, also to one of a million photos."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.alignment import AlignmentOptions, ModalityAlignment, mean_of
from sbka_milvus.rankers.fused import DEFAULT_WEIGHT, Fused
from sbka_milvus.rankers.lifted import LiftedMatching
from sbka_milvus.rankers.ranker import require_gallery
from sbka_milvus.rankers.spectrum import STRICT_MARGIN
from sbka_milvus.rankers.systems import N_CLUSTERINGS
from sbka_milvus.types import FloatArray

LEAST_PHOTOS = 2
"""Fewer have no directions."""
_ALIGN_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class LiftedOptions:
    """What is fitted.

    Attributes:
        n_clusters: K of each clustering; as many as there are photos where the gallery is smaller.
        weight: of the cluster scores; 0 is plain ranking, whose projection is narrower.
        n_clusterings: how many clusterings.
        seed: of all that is drawn.
        most_sampled: photos that the projection is fitted on; of a larger gallery so many are drawn at random.
    """

    n_clusters: int
    weight: float = DEFAULT_WEIGHT
    n_clusterings: int = N_CLUSTERINGS
    seed: int = 0
    most_sampled: int = 20_000

    def __post_init__(self) -> None:
        Fused(self.n_clusters, self.weight, self.n_clusterings)  # refuses what is out of range
        if self.most_sampled < LEAST_PHOTOS:
            raise InvalidValue(f"most_sampled is {self.most_sampled}.", f"At least {LEAST_PHOTOS} photos are needed.")

    @property
    def alignment(self) -> AlignmentOptions:
        """In which space photos are matched."""
        return AlignmentOptions(margin=STRICT_MARGIN) if self.weight == 0.0 else AlignmentOptions()


def fit_lifted(gallery: FloatArray, sketches: FloatArray, options: LiftedOptions) -> LiftedMatching:
    """What ranks as :func:`~sbka_milvus.rankers.systems.linear_system` does, up to photos whose scores tie.

    Beside the gallery it needs room for its aligned vectors, which are shorter, and for ``most_sampled`` photos in
    float64. In a gallery of more photos than that the projection is one of a sample, and so slightly another one.

    Args:
        gallery: shape (N, D), float32, unit rows, N at least 2, as encoded.
        sketches: shape (B, D), float32, unit rows, B at least 1: of the training's categories, as encoded.
        options: what is fitted.

    Raises:
        InvalidValue: A shape, dtype or norm does not fit, or there are too few photos or sketches.
    """
    require_gallery(gallery)
    if len(gallery) < LEAST_PHOTOS:
        raise InvalidValue(f"{len(gallery)} photo has no directions to match in.", f"At least {LEAST_PHOTOS} have.")
    alignment, aligned = _align(gallery, sketches, options)
    fused = Fused(options.n_clusters, options.weight, options.n_clusterings, seed=options.seed)
    return LiftedMatching(alignment, tuple(fused.tables(aligned)), options.weight, alignment.sketches(sketches))


def _align(gallery: FloatArray, sketches: FloatArray, options: LiftedOptions) -> tuple[ModalityAlignment, FloatArray]:
    sample = gallery
    if len(gallery) > options.most_sampled:
        rng = np.random.default_rng(options.seed)
        sample = gallery[np.sort(rng.choice(len(gallery), options.most_sampled, replace=False))]
    fitted = ModalityAlignment.fit(sample, mean_of(sketches), options.alignment)
    alignment = replace(fitted, photo_mean=gallery.mean(axis=0, dtype=np.float64))
    photos = np.empty((len(gallery), alignment.dims), dtype=np.float32)
    for start in range(0, len(gallery), _ALIGN_AT_ONCE):
        rows = slice(start, start + _ALIGN_AT_ONCE)
        photos[rows] = alignment.photos(gallery[rows])
    return alignment, photos
