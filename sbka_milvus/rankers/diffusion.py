"""Diffusion: the sketch's scores flow along the graph of the gallery's own neighbours.

Zhou et al., "Ranking on Data Manifolds" (NIPS 2003): f = (1 - a) (I - a S)^-1 y, with S = D^-1/2 W D^-1/2 the
normalised affinity of the gallery and y where the flow starts. f is the sum over t of (1 - a) a^t S^t y: what
arrives after a walk of any length that goes on with probability a.

**The query side is not linear.** Started from raw cosines the flow is carried by the many photos that the sketch is a
little like, and ranking gets worse than without it. So y = max(score, 0)^power: only photos on the sketch's side start
a flow, and the best of them most of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import cg

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.graph import neighbour_graph
from sbka_milvus.rankers.plain import Plain
from sbka_milvus.rankers.ranker import Float64Array, Ranker, moved, require_at_least, require_pair
from sbka_milvus.types import FloatArray

Solver = Literal["auto", "direct", "iterative"]
_LARGEST_DIRECT = 2048  # photos: 32 MB of float64, and below a second
_TOLERANCE = 1e-6
_MOST_ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Diffusion:
    """score = (1 - a) (I - a S)^-1 max(base score, 0)^power.

    Attributes:
        base: where the flow starts from.
        k: neighbours of each photo in the graph.
        alpha: a, in [0, 1): how far the flow goes; 0 gives the order of the base.
        graph_power: of the cosines between photos.
        power: of the base's scores.
        solver: ``direct`` factors a dense matrix, ``iterative`` uses conjugate gradients on the sparse one; ``auto``
            takes the first for up to 2048 photos.
    """

    base: Ranker = field(default_factory=Plain)
    k: int = 10
    alpha: float = 0.9
    graph_power: float = 1.0
    power: float = 3.0
    solver: Solver = "auto"

    def __post_init__(self) -> None:
        require_at_least(self.k, 1, "k")
        require_at_least(self.graph_power, 0.0, "graph_power")
        if not self.power > 0.0:
            raise InvalidValue(f"power is {self.power}.", "It must be above 0.")
        require_alpha(self.alpha)
        if self.solver not in ("auto", "direct", "iterative"):
            raise InvalidValue(f"The solver {self.solver!r} is unknown.", "Choose auto, direct or iterative.")

    @property
    def name(self) -> str:
        """For tables."""
        return f"diffusion k={self.k} a={self.alpha:g} p={self.power:g} of {self.base.name}"

    def moved(self, move: Callable[[FloatArray], FloatArray]) -> Diffusion:
        """The same with what its base holds of sketches in another space."""
        return replace(self, base=moved(self.base, move))

    def scores(self, queries: FloatArray, gallery: FloatArray) -> FloatArray:
        """See :class:`sbka_milvus.rankers.ranker.Ranker`.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        require_pair(queries, gallery)
        start = np.maximum(self.base.scores(queries, gallery).astype(np.float64), 0.0) ** self.power
        graph = neighbour_graph(gallery, self.k, self.graph_power)
        return np.asarray(spread(graph, start, self.alpha, self.solver), dtype=np.float32)


def normalised(graph: sparse.csr_array) -> sparse.csr_array:
    """D^-1/2 W D^-1/2, with D the row sums of W; rows of photos without neighbours stay zero.

    Args:
        graph: shape (N, N), symmetric, entries at least 0.

    Returns:
        shape (N, N); its eigenvalues lie in [-1, 1].
    """
    degrees = np.asarray(graph.sum(axis=1), dtype=np.float64)
    roots = np.zeros_like(degrees)
    np.divide(1.0, np.sqrt(degrees), out=roots, where=degrees > 0)
    scale = sparse.diags_array(roots)
    return sparse.csr_array(scale @ graph @ scale)


def spread(graph: sparse.csr_array, start: Float64Array, alpha: float, solver: Solver = "auto") -> Float64Array:
    """(1 - a) (I - a S)^-1 y for each row y.

    Args:
        graph: W, shape (N, N), symmetric, entries at least 0.
        start: shape (Q, N), float64.
        alpha: a, in [0, 1).
        solver: see :class:`Diffusion`.

    Returns:
        shape (Q, N), float64.

    Raises:
        InvalidValue: alpha is out of range, the shapes do not fit, or the iteration did not come to an end.

    >>> pair = sparse.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> spread(pair, np.array([[1.0, 0.0]]), 0.5).round(3).tolist()
    [[0.667, 0.333]]
    """
    require_alpha(alpha)
    n = graph.shape[0]
    if start.ndim != 2 or start.shape[1] != n:
        raise InvalidValue(f"Scores of shape {start.shape} do not fit a graph of {n} photos.")
    system = sparse.csr_array(sparse.eye_array(n) - alpha * normalised(graph))
    if solver == "direct" or (solver == "auto" and n <= _LARGEST_DIRECT):
        factor = linalg.cho_factor(system.toarray())
        return np.asarray((1.0 - alpha) * linalg.cho_solve(factor, start.T).T)
    found = np.empty_like(start, dtype=np.float64)
    for row, wanted in enumerate(start):
        # In float64 with an absolute floor of 0: tiny scores are as exact as large ones.
        found[row], left = cg(system, (1.0 - alpha) * wanted, rtol=_TOLERANCE, atol=0.0, maxiter=_MOST_ITERATIONS)
        if left:
            raise InvalidValue(f"The diffusion of query {row} did not settle in {left} steps.", "Lower alpha.")
    return found


def require_alpha(alpha: float) -> None:
    """Refuses what is outside [0, 1): at 1 the flow has no end.

    Raises:
        InvalidValue: As said.
    """
    if not 0.0 <= alpha < 1.0:
        raise InvalidValue(f"alpha is {alpha}.", "It must be at least 0 and below 1.")
