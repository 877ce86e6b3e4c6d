"""Rankers put together: the ones that the figures recommend."""

from __future__ import annotations

from sbka_milvus.rankers.aligned import AlignedRanker
from sbka_milvus.rankers.alignment import AlignmentOptions, mean_of
from sbka_milvus.rankers.diffusion import Diffusion
from sbka_milvus.rankers.fused import DEFAULT_WEIGHT, Fused
from sbka_milvus.rankers.levelled import Levelled
from sbka_milvus.types import FloatArray

N_CLUSTERINGS = 5


def full_system(
    training_sketches: FloatArray,
    n_clusters: int,
    weight: float = DEFAULT_WEIGHT,
    alignment: AlignmentOptions | None = None,
) -> AlignedRanker:
    """All that helps, chosen on pseudo-unseen and trained categories.

    Means removed and projected on the directions above noise; one-to-many over five clusterings; levelled by the
    training's sketches; spread over the gallery's neighbours.

    Args:
        training_sketches: shape (B, D), float32, unit rows: encoded sketches of the training's categories.
        n_clusters: K of each clustering.
        weight: of the cluster score.
        alignment: by default the directions above noise.

    Raises:
        InvalidValue: There are no training sketches, or a number is out of range.
    """
    fused = Levelled(Fused(n_clusters, weight, N_CLUSTERINGS), training_sketches)
    return AlignedRanker(Diffusion(fused), alignment or AlignmentOptions(), mean_of(training_sketches))


def linear_system(
    training_sketches: FloatArray,
    n_clusters: int,
    weight: float = DEFAULT_WEIGHT,
    alignment: AlignmentOptions | None = None,
) -> AlignedRanker:
    """The best that is one vector and one number a photo, so that a vector store can serve it: no diffusion.

    Args and raises as :func:`full_system`.
    """
    fused = Levelled(Fused(n_clusters, weight, N_CLUSTERINGS), training_sketches)
    return AlignedRanker(fused, alignment or AlignmentOptions(), mean_of(training_sketches))
