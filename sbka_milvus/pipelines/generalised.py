"""Generalised zero-shot galleries: photos of seen categories among the unseen ones, as a real gallery has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sbka_milvus.errors import DatasetError
from sbka_milvus.images import LabelledImage, Split, list_images
from sbka_milvus.images.datasets import list_categories, name_key


def draw_seen_photos(root: Path, split: Split, share: float, seed: int) -> list[LabelledImage]:
    """A share of the photos of the seen categories, drawn at random from all of them together.

    OCEAN adds 20 % of the seen photos to the gallery.

    Args:
        root: folder of photos, one folder a category.
        split: names the seen categories; where it names none, every folder that is not unseen is seen.
        share: in (0, 1]; at least one photo is drawn.
        seed: the same photos for the same seed and folder.

    Raises:
        DatasetError: There is no seen category, or one has no folder or no photos.
    """
    unseen = {name_key(name) for name in split.unseen}
    seen = split.seen or tuple(name for name in list_categories(root) if name_key(name) not in unseen)
    if not seen:
        raise DatasetError(f"{root} has no folder of a seen category.", "Add some, or leave out --generalised.")
    photos = list_images(root, seen)
    drawn = np.random.default_rng(seed).choice(len(photos), max(1, round(share * len(photos))), replace=False)
    return [photos[index] for index in sorted(drawn.tolist())]
