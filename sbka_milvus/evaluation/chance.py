"""What rankings drawn at random are expected to score: the level below which a method knows nothing.

All rankings of the gallery are as likely. Exact where a formula exists; the interpolated average precision has none
that is short, so that one is the mean over rankings that are drawn, by seed.
"""

from __future__ import annotations

import math

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.metrics import rank_average_precision
from sbka_milvus.evaluation.protocols import Protocol
from sbka_milvus.evaluation.ranks import CountArray, Float64Array, require_cutoff

CHANCE_DRAWS = 400
"""Rankings drawn for each number of relevant photos, where chance is simulated."""


def expected_random_average_precision(
    n_relevant: CountArray | int, n_gallery: int, k: int | None = None, *, lenient: bool = False
) -> Float64Array:
    """Expectation of the average precision that is not interpolated.

    A rank holds a relevant photo with probability R / N, and then each rank above it holds one with probability
    (R - 1) / (N - 1). By linearity, with H_n the n-th harmonic number and n = N, or min(k, N) for AP@k:
    E[AP] = R / (N D) * (H_n + (R - 1) / (N - 1) * (n - H_n)), with D = R, or min(R, k) for AP@k. The lenient form is
    the mean of E[AP] of h photos in a gallery of n over the hypergeometric number h of hits among the first n.

    Args:
        n_relevant: any shape, integer, in [1, n_gallery].
        n_gallery: N, photos in the gallery.
        k: cut-off rank, at least 1; None for AP over all ranks.
        lenient: whether AP@k divides by the hits among the first k.

    Returns:
        float64 of the shape of ``n_relevant``.

    Raises:
        InvalidValue: A count or the cut-off is out of range.

    >>> expected_random_average_precision(np.array([1, 2]), 2).tolist()
    [0.75, 1.0]
    >>> expected_random_average_precision(np.array([1]), 2, 1, lenient=True).tolist()
    [0.5]
    """
    counts = _counts_in_range(n_relevant, n_gallery)
    require_cutoff(k)
    if lenient:
        return _expected_lenient(counts, n_gallery, n_gallery if k is None else min(k, n_gallery))
    depth = n_gallery if k is None else min(k, n_gallery)
    harmonic = float((1.0 / np.arange(1, depth + 1)).sum())
    another = (counts - 1) / max(n_gallery - 1, 1)
    summed = counts / n_gallery * (harmonic + another * (depth - harmonic))
    return np.asarray(summed / (counts if k is None else np.minimum(counts, k)), dtype=np.float64)


def simulated_random_average_precision(
    n_relevant: CountArray | int,
    n_gallery: int,
    k: int | None = None,
    *,
    lenient: bool = False,
    draws: int = CHANCE_DRAWS,
    seed: int = 0,
) -> Float64Array:
    """Mean of the interpolated average precision over rankings drawn at random.

    Args:
        n_relevant: as for :func:`expected_random_average_precision`, like the next three.
        n_gallery: see there.
        k: see there.
        lenient: see there.
        draws: rankings for each number of relevant photos.
        seed: of the drawing.

    Returns:
        float64 of the shape of ``n_relevant``.

    Raises:
        InvalidValue: A count or the cut-off is out of range.

    >>> simulated_random_average_precision(np.array([2]), 2).tolist()
    [1.0]
    """
    counts = _counts_in_range(n_relevant, n_gallery)
    distinct, places = np.unique(counts, return_inverse=True)
    means = np.empty(len(distinct))
    for index, count in enumerate(distinct.tolist()):
        rng = np.random.default_rng([seed, count])
        drawn = np.stack([rng.choice(n_gallery, count, replace=False, shuffle=False) for _ in range(draws)])
        ranks = np.sort(drawn.astype(np.int64), axis=1) + 1
        totals = np.full(draws, count)
        means[index] = rank_average_precision(ranks, totals, k, interpolated=True, lenient=lenient).mean()
    return np.asarray(means[places].reshape(counts.shape), dtype=np.float64)


def expected_random_precision_at_k(
    n_relevant: CountArray | int, n_gallery: int, k: int, protocol: Protocol | None = None
) -> Float64Array:
    """Expectation of P@K: the first min(k, N) photos hold R / N of their number, whatever it is divided by.

    Args:
        n_relevant: any shape, integer, in [1, n_gallery].
        n_gallery: N, photos in the gallery.
        k: at least 1.
        protocol: says what P@K divides by; without one, K.

    Returns:
        float64 of the shape of ``n_relevant``.

    Raises:
        InvalidValue: A count or the cut-off is out of range.

    >>> expected_random_precision_at_k(np.array([25]), 625, 10).tolist()
    [0.04]
    """
    counts = _counts_in_range(n_relevant, n_gallery)
    require_cutoff(k)
    divisors = k if protocol is None else protocol.precision_divisors(k, counts, n_gallery)
    return np.asarray(counts / n_gallery * (min(k, n_gallery) / divisors), dtype=np.float64)


def expected_random_recall(n_targets: CountArray, n_gallery: CountArray | int, k: int) -> Float64Array:
    """Probability that a random ranking has one of a query's targets among the first k: 1 - C(N - m, k) / C(N, k).

    Args:
        n_targets: m, shape (Q,), integer, at least 1.
        n_gallery: N, photos that are ranked, for each query or for all.
        k: at least 1.

    Returns:
        shape (Q,), float64.

    >>> expected_random_recall(np.array([1, 2]), 4, 2).round(3).tolist()
    [0.5, 0.833]
    """
    require_cutoff(k)
    galleries = np.broadcast_to(n_gallery, n_targets.shape)
    return np.array(
        [
            1.0 - math.comb(total - targets, min(k, total)) / math.comb(total, min(k, total))
            for targets, total in zip(n_targets.tolist(), galleries.tolist(), strict=True)
        ],
        dtype=np.float64,
    )


def _expected_lenient(counts: CountArray, n_gallery: int, depth: int) -> Float64Array:
    distinct, places = np.unique(counts, return_inverse=True)
    means = np.zeros(len(distinct))
    for index, count in enumerate(distinct.tolist()):
        hits = np.arange(max(1, count - (n_gallery - depth)), min(count, depth) + 1)
        # Whole numbers of any size, divided once: binomials of a large gallery fit no float.
        ways = math.comb(n_gallery, depth)
        shares = [math.comb(count, hit) * math.comb(n_gallery - count, depth - hit) / ways for hit in hits.tolist()]
        means[index] = float(np.dot(shares, expected_random_average_precision(hits, depth))) if len(hits) else 0.0
    return np.asarray(means[places].reshape(counts.shape), dtype=np.float64)


def _counts_in_range(n_relevant: CountArray | int, n_gallery: int) -> CountArray:
    counts = np.asarray(n_relevant)
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 1).any() or (counts > n_gallery).any():
        raise InvalidValue(
            f"n_relevant must hold whole numbers between 1 and n_gallery, which is {n_gallery}.",
            "Leave out queries with no relevant photo.",
        )
    return counts
