"""How many candidates are worth re-ranking."""

from __future__ import annotations

LEAST_DEPTH = 100
_DEPTH_PER_HIT = 4


def usual_depth(k: int) -> int:
    """max(4 k, 100).

    >>> usual_depth(10), usual_depth(50)
    (100, 200)
    """
    return max(_DEPTH_PER_HIT * k, LEAST_DEPTH)
