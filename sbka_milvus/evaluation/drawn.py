"""The photo that was drawn: file names of Sketchy say it.

``n01887787_1-3.png`` is the third sketch of the photo ``n01887787_1.jpg``: the stem before the last ``-``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from sbka_milvus.types import IntArray

NO_PHOTO = -1


def drawn_photo(sketch: str) -> str:
    """The stem of the photo that a sketch was drawn from, by its file name; empty where the name does not say it.

    >>> drawn_photo("sketches/cow/n01887787_1-3.png"), drawn_photo("sketches/cow/5.png")
    ('n01887787_1', '')
    """
    return PurePath(sketch).stem.rpartition("-")[0]


def number_photos(photos: Sequence[tuple[str, str]], sketches: Sequence[tuple[str, str]]) -> tuple[IntArray, IntArray]:
    """Numbers photos so that each sketch has the number of the photo it was drawn from.

    Args:
        photos: category and path of each.
        sketches: category and path of each.

    Returns:
        shape (N,) and shape (Q,), int64. Photos of one category and stem have one number; a sketch has
        :data:`NO_PHOTO` where its name tells no photo or that photo is not there.

    >>> numbers, drawn = number_photos([("cow", "a.jpg"), ("cow", "b.jpg")], [("cow", "b-1.png"), ("cow", "c-1.png")])
    >>> numbers.tolist(), drawn.tolist()
    ([0, 1], [1, -1])
    """
    numbers: dict[tuple[str, str], int] = {}
    of_photos = [numbers.setdefault((category, PurePath(path).stem), len(numbers)) for category, path in photos]
    of_sketches = [numbers.get((category, drawn_photo(path)), NO_PHOTO) for category, path in sketches]
    return np.array(of_photos, dtype=np.int64), np.array(of_sketches, dtype=np.int64)
