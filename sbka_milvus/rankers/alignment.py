"""Closing the gap between sketches and photos at test time, from unlabelled statistics.

Sketch features lie beside photo features, not among them. Three things help, none of which needs a label: subtract
from each modality its own mean; keep the directions in which the gallery's photos differ by more than noise; and, if
wanted, flatten their variances in part ("half-whitening").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.ranker import Float64Array, require_at_least, require_gallery, require_share
from sbka_milvus.rankers.spectrum import WIDE_MARGIN, noise_edge, principal_directions, signal_dimensions
from sbka_milvus.types import FloatArray, normalise, require_unit_rows

Form = Literal["none", "means", "projected"]


@dataclass(frozen=True, slots=True)
class AlignmentOptions:
    """What is done to vectors before they are matched.

    Attributes:
        form: ``none``; ``means``: each modality's mean is subtracted; ``projected``: then the directions of the
            gallery's greatest variance are kept.
        dims: how many directions; None for as many as stand out from noise, which looks at no label.
        power: each direction is scaled by its variance to the power of minus this; 0 keeps the scales, 0.25 is
            half-whitened, 0.5 whitened.
        margin: where ``dims`` is None: times the noise's largest variance, above which a direction is kept. The default
            suits matching that averages over kin; :data:`sbka_milvus.rankers.spectrum.STRICT_MARGIN` suits plain
            ranking.
    """

    form: Form = "projected"
    dims: int | None = None
    power: float = 0.0
    margin: float = WIDE_MARGIN

    def __post_init__(self) -> None:
        if self.form not in ("none", "means", "projected"):
            raise InvalidValue(f"The alignment {self.form!r} is unknown.", "Choose none, means or projected.")
        if self.dims is not None and self.dims < 1:
            raise InvalidValue(f"dims is {self.dims}.", "At least one direction must be kept.")
        require_share(self.power, "power")
        require_at_least(self.margin, 0.0, "margin")

    @property
    def name(self) -> str:
        """For tables.

        >>> AlignmentOptions("projected", 64, 0.25).name, AlignmentOptions("means").name
        ('projected(64, 0.25)', 'means')
        >>> AlignmentOptions().name
        'projected(auto 0.7)'
        """
        if self.form != "projected":
            return self.form
        dims = f"auto {self.margin:g}" if self.dims is None else str(self.dims)
        return f"projected({dims}{f', {self.power:g}' if self.power else ''})"


@dataclass(frozen=True, slots=True)
class ModalityAlignment:
    """A fitted alignment: small, and all that a search needs of it.

    Attributes:
        photo_mean: shape (D,), float64.
        sketch_mean: shape (D,), float64.
        projection: shape (D, P), float64; None keeps the space.
    """

    photo_mean: Float64Array
    sketch_mean: Float64Array
    projection: Float64Array | None = None

    def __post_init__(self) -> None:
        dim = self.photo_mean.shape
        if len(dim) != 1 or self.sketch_mean.shape != dim:
            raise InvalidValue(f"A photo mean of shape {dim} does not fit a sketch mean of {self.sketch_mean.shape}.")
        if self.projection is not None and (self.projection.ndim != 2 or len(self.projection) != dim[0]):
            raise InvalidValue(f"A projection of shape {self.projection.shape} does not fit {dim[0]} dimensions.")

    @classmethod
    def fit(
        cls,
        gallery: FloatArray,
        sketch_mean: NDArray[Any],
        options: AlignmentOptions = AlignmentOptions(),
        *,
        seed: int = 0,
    ) -> ModalityAlignment:
        """From a gallery's photos and the mean of sketches.

        Args:
            gallery: shape (N, D), float32, unit rows.
            sketch_mean: shape (D,): :func:`mean_of` the training's sketches (*inductive*: it is known before any query
                comes) or of the queries at hand (*transductive*: many queries must be there at once).
            options: what to do.
            seed: of the estimate of noise.

        Raises:
            InvalidValue: A shape does not fit, or a projection is wanted of fewer than two photos.
        """
        require_gallery(gallery)
        dim = gallery.shape[1]
        if np.shape(sketch_mean) != (dim,):
            raise InvalidValue(f"A sketch mean of shape {np.shape(sketch_mean)} does not fit {dim} dimensions.")
        if options.form == "none":
            return cls(np.zeros(dim), np.zeros(dim))
        means = gallery.mean(axis=0, dtype=np.float64), np.asarray(sketch_mean, dtype=np.float64)
        if options.form == "means":
            return cls(*means)
        directions, variances = principal_directions(gallery)
        usable = max(1, int(np.count_nonzero(variances > 1e-12 * variances[0])))
        wanted = options.dims or signal_dimensions(variances, noise_edge(gallery, seed=seed), options.margin)
        kept = min(wanted, usable)
        scale = variances[:kept] ** -options.power if options.power else 1.0
        return cls(*means, directions[:, :kept] * scale)

    @property
    def dims(self) -> int:
        """Length of an aligned vector."""
        return len(self.photo_mean) if self.projection is None else int(self.projection.shape[1])

    def photos(self, vectors: FloatArray) -> FloatArray:
        """Photos, aligned.

        Args:
            vectors: shape (N, D), float32, unit rows.

        Returns:
            shape (N, P), float32, unit rows. A vector that is the mean itself keeps its own direction, or the first
            axis where there is a projection: it is like everything alike.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        return self._apply(vectors, self.photo_mean)

    def sketches(self, vectors: FloatArray) -> FloatArray:
        """Sketches, aligned; as :meth:`photos`."""
        return self._apply(vectors, self.sketch_mean)

    def _apply(self, vectors: FloatArray, mean: Float64Array) -> FloatArray:
        require_unit_rows(vectors, "vectors")
        if vectors.shape[1] != len(mean):
            raise InvalidValue(f"Vectors of {vectors.shape[1]} dimensions do not fit an alignment of {len(mean)}.")
        moved = vectors.astype(np.float64) - mean
        if self.projection is not None:
            moved = moved @ self.projection
        nowhere = np.linalg.norm(moved, axis=1) < 1e-9
        if nowhere.any():
            moved[nowhere] = vectors[nowhere] if self.projection is None else np.eye(1, self.dims)
        return normalise(moved) if len(moved) else moved.astype(np.float32)


def mean_of(vectors: FloatArray) -> Float64Array:
    """The mean of sketches or photos, as alignments want it.

    Args:
        vectors: shape (N, D), float32, unit rows, N at least 1.

    Returns:
        shape (D,), float64.

    Raises:
        InvalidValue: There are no vectors.
    """
    require_unit_rows(vectors, "vectors")
    if len(vectors) == 0:
        raise InvalidValue("The mean of no vectors is unknown.", "Pass at least one.")
    return np.asarray(vectors.mean(axis=0, dtype=np.float64))
