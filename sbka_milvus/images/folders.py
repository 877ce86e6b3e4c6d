"""Reads data sets of one folder a category, ``root/<category>/<image>``, or of drawings, ``root/<category>.ndjson``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sbka_milvus.errors import DatasetError
from sbka_milvus.images.categories import LabelledImage, match_categories
from sbka_milvus.images.drawings import DRAWINGS_SUFFIX, list_drawings
from sbka_milvus.images.find import has_image_suffix
from sbka_milvus.images.source import printable


def folder_categories(root: str | Path) -> list[str]:
    """The names of the category folders and files of drawings, sorted; hidden ones are passed over.

    Raises:
        DatasetError: ``root`` is missing, not to be read, or has no folder in it.
    """
    entries = _entries(Path(root))
    names = {entry.name for entry in entries if entry.is_dir()}
    names |= {entry.name.removesuffix(DRAWINGS_SUFFIX) for entry in entries if _holds_drawings(entry)}
    if not names:
        raise DatasetError(f"{printable(root)} has no category folders.", "Put the images in one folder a category.")
    return sorted(names)


def folder_images(root: str | Path, categories: Sequence[str] | None = None) -> list[LabelledImage]:
    """The images of a data set, sorted by category in the order asked for, then by file name; then the drawings.

    Args:
        root: the folder of category folders and of ``<category>.ndjson``, of which the first recognised drawings are
            taken (:func:`~sbka_milvus.images.drawings.list_drawings`).
        categories: class names, matched to folders by :func:`match_categories`; None for all folders.

    Raises:
        DatasetError: ``root`` is missing, a category has no folder, or a folder has no image in it.
    """
    folders = folder_categories(root)
    chosen = match_categories(folders if categories is None else categories, folders)
    images: list[LabelledImage] = []
    for category, folder in chosen.items():
        place, drawings = Path(root) / folder, Path(root) / (folder + DRAWINGS_SUFFIX)
        found: list[Path] = []
        if not drawings.is_file() or place.is_dir():
            found += [place / e.name for e in _entries(place) if has_image_suffix(e.name) and e.is_file()]
            if not found:
                raise DatasetError(f"{printable(place)} has no images.", "Add some, or remove the folder.")
        if drawings.is_file():
            found += list_drawings(drawings)
        images.extend(LabelledImage(path, category) for path in found)
    return images


def _holds_drawings(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(DRAWINGS_SUFFIX) and entry.is_file()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except FileNotFoundError:
        raise DatasetError(f"The folder {printable(folder)} does not exist.", "Check the path.") from None
    except NotADirectoryError:
        raise DatasetError(f"{printable(folder)} is a file.", "Name a folder of category folders.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{printable(folder)} cannot be listed: {reason}.", "Check the permissions.") from error
