"""The pictures of seen categories: those of the folders, and further sketches that users gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sbka_milvus.images import LabelledImage, Split, list_categories, list_images
from sbka_milvus.images.datasets import name_key

_SHOWN = 5  # names that a note lists


def seen_images(folder: Path, split: Split | None) -> list[LabelledImage]:
    """The images of the seen categories of ``folder``; without a split all are seen.

    Raises:
        DatasetError: The folder is missing, or does not fit the split.
    """
    return list_images(folder) if split is None else list_images(folder, seen_categories(folder, split))


def seen_categories(folder: Path, split: Split | None) -> list[str]:
    """The categories that a training on a folder learns: the split's seen ones, else all that it does not keep unseen.

    Raises:
        DatasetError: The folder has no categories.
    """
    if split is not None and split.seen:
        return list(split.seen)
    unseen = {name_key(name) for name in split.unseen} if split is not None else set()
    return [name for name in list_categories(folder) if name_key(name) not in unseen]


def further_sketches(
    extra: Sequence[LabelledImage], seen: Sequence[LabelledImage], split: Split | None
) -> tuple[list[LabelledImage], tuple[str, ...]]:
    """Those of ``extra`` that are of seen categories, and what the user should know of the others.

    Args:
        extra: labelled sketches; spellings of a category that differ in case, ' ', '_' or '-' are one.
        seen: images of the seen categories, spelt as the training spells them.
        split: tells which categories are unseen; a sketch of these is never taken.
    """
    spelling = {name_key(image.category): image.category for image in seen}
    unseen = {name_key(name) for name in (split.unseen if split else ())}
    taken: list[LabelledImage] = []
    refused: dict[str, list[str]] = {"unseen": [], "unknown": []}
    for image in extra:
        key = name_key(image.category)
        if key in spelling and key not in unseen:
            taken.append(LabelledImage(image.path, spelling[key]))
        else:
            refused["unseen" if key in unseen else "unknown"].append(image.category)
    notes = tuple(
        f"{len(names)} further sketches are of {kind} categories and were left out: "
        f"{', '.join(sorted(set(names))[:_SHOWN])}."
        for kind, names in refused.items()
        if names
    )
    return taken, notes
