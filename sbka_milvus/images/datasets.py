"""Reads labelled data sets: folders by category, or file lists as SAKE and ZSE-SBIR publish them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sbka_milvus.images.categories import LabelledImage, match_categories, name_key
from sbka_milvus.images.filelists import file_list_categories, file_list_images, is_file_list
from sbka_milvus.images.folders import folder_categories, folder_images

__all__ = ["LabelledImage", "data_set_name", "list_categories", "list_images", "match_categories", "name_key"]


def list_categories(source: str | Path) -> list[str]:
    """The categories of a data set, sorted.

    Args:
        source: a folder of category folders or of ``<category>.ndjson``, hidden ones passed over; or a file list.

    Raises:
        DatasetError: ``source`` is missing, not to be read, or has no category in it.
    """
    return file_list_categories(source) if is_file_list(source) else folder_categories(source)


def list_images(source: str | Path, categories: Sequence[str] | None = None) -> list[LabelledImage]:
    """The images of a data set, sorted by category in the order asked for, then by file name.

    Args:
        source: a folder of category folders or of ``<category>.ndjson``; or a file list, ``<name>.txt`` beside
            ``cname_cid.txt`` and ``cname_cid_zero.txt`` (see :mod:`~sbka_milvus.images.filelists`).
        categories: class names, matched to those of the data set by :func:`match_categories`; None for all.

    Raises:
        DatasetError: ``source`` is missing or malformed, or a category is missing or has no image in it.
    """
    read = file_list_images if is_file_list(source) else folder_images
    return read(source, categories)


def data_set_name(source: str | Path) -> str:
    """What to call a data set in a report: the folder's name, or for a file list that of the data set's root.

    >>> data_set_name("photos/"), data_set_name("/data/Sketchy/zeroshot1/all_photo_filelist_zero.txt")
    ('photos', 'Sketchy')
    """
    place = Path(os.path.abspath(source))  # noqa: PTH100 - Path.resolve would follow a link
    return place.parent.parent.name if is_file_list(source) else place.name
