"""Equal photos in a result: kept once, the others named beside it."""

from __future__ import annotations

import numpy as np

from sbka_milvus.protocols import Copies
from sbka_milvus.types import Candidates, IntArray


def first_of_each(groups: IntArray) -> IntArray:
    """Positions of the first member of every group, and of all that are in none (-1), in their order.

    >>> first_of_each(np.array([-1, 4, -1, 4, 2, 4])).tolist()
    [0, 1, 2, 4]
    """
    _, first = np.unique(groups, return_index=True)
    keep = groups < 0
    keep[first] = True
    return np.flatnonzero(keep)


def names_of(
    copies: Copies | None, found: Candidates, best: Candidates, *, filtered: bool
) -> list[tuple[str, tuple[str, ...]]]:
    """By which of its URIs each photo is shown, and the others.

    Args:
        copies: of the version.
        found: all candidates.
        best: those that are shown, each of another content.
        filtered: whether only photos that meet a filter are among the candidates. Then the first of those is shown,
            by URI; else the first of all copies.
    """
    if copies is None:
        return [(uri, ()) for uri in best.uris]
    groups = copies.groups_of(best.ids).tolist()
    met: dict[int, str] = {}
    if filtered:
        for uri, group in zip(found.uris, copies.groups_of(found.ids).tolist(), strict=True):
            met[group] = min(uri, met.get(group, uri))
    result: list[tuple[str, tuple[str, ...]]] = []
    for uri, group in zip(best.uris, groups, strict=True):
        if group < 0:
            result.append((uri, ()))
            continue
        uris = copies.uris(group)
        shown = met.get(group, uris[0])
        result.append((shown, tuple(one for one in uris if one != shown)))
    return result
