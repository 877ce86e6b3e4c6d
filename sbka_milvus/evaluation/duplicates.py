"""Photos that a gallery holds twice: each counts once in the de-duplicated figures.

The extended Sketchy gallery lists most of its original photos a second time, under ``EXTEND_...``, with the same class
and file name. A method that finds one finds its double with it, which lifts every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.ranks import BoolArray


def first_copies(categories: Sequence[str], uris: Sequence[str], hashes: Sequence[str] | None = None) -> BoolArray:
    """Which photos count: one of those that share category and file name, or category and content.

    Doubles of doubles are doubles. Of each group the one whose URI comes first counts, so the answer does not depend on
    the order of the gallery. One content in two categories stays in both: it answers two kinds of sketches.

    Args:
        categories: N names.
        uris: N paths or URIs.
        hashes: N hashes of contents, "" where that is not known; without them names alone decide.

    Returns:
        shape (N,), bool.

    Raises:
        InvalidValue: The numbers differ.

    >>> first_copies(["cat", "cat", "dog"], ["EXTEND_/cat/1.jpg", "256x256/cat/1.jpg", "256x256/dog/1.jpg"]).tolist()
    [False, True, True]
    >>> first_copies(["cat", "cat"], ["a.jpg", "b.jpg"], ["f00d", "f00d"]).tolist()
    [True, False]
    """
    if len(uris) != len(categories) or (hashes is not None and len(hashes) != len(categories)):
        raise InvalidValue(f"There are {len(categories)} categories for {len(uris)} photos.", "Give one for each.")
    parents = list(range(len(uris)))

    def root(photo: int) -> int:
        while parents[photo] != photo:
            parents[photo] = parents[parents[photo]]
            photo = parents[photo]
        return photo

    seen: dict[tuple[str, str, str], int] = {}
    for photo in sorted(range(len(uris)), key=lambda photo: uris[photo]):
        keys = [("name", categories[photo], PurePath(uris[photo]).name)]
        if hashes is not None and hashes[photo]:
            keys.append(("content", categories[photo], hashes[photo]))
        for key in keys:
            one, other = root(photo), root(seen.setdefault(key, photo))
            # The root is the photo whose URI comes first.
            first, second = sorted((one, other), key=lambda photo: uris[photo])
            parents[second] = first
    return np.fromiter((root(photo) == photo for photo in range(len(uris))), dtype=np.bool_, count=len(uris))
