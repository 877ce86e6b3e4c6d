"""Reads data sets of one folder a category, ``root/<category>/<image>``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.errors import DatasetError
from sbka_milvus.images.find import has_image_suffix
from sbka_milvus.images.source import printable

_SHOWN = 5  # names that a message lists


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image whose category is known.

    Attributes:
        path: the file.
        category: as it was asked for, so that photos and sketches agree where their folders are spelt differently.
    """

    path: Path
    category: str


def name_key(name: str) -> str:
    """What two spellings of a class name have in common.

    >>> name_key("Hot-air_Balloon") == name_key("hot air balloon")
    True
    """
    return name.casefold().translate({ord(mark): None for mark in " _-"})


def match_categories(names: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """The folder of each class name: the one of that very name, else the one that differs in case, ' ', '_' or '-'.

    Args:
        names: class names, as of a split.
        folders: names of folders.

    Returns:
        Folder by name, in the order of ``names``.

    Raises:
        DatasetError: A name has no folder, could mean several, or shares its folder with another name.

    >>> match_categories(["cat", "wine bottle"], ["cat", "dog", "wine_bottle"])
    {'cat': 'cat', 'wine bottle': 'wine_bottle'}
    """
    exact = set(folders)
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for folder in sorted(exact):
        alike[name_key(folder)].append(folder)
    found: dict[str, str] = {}
    missing: list[str] = []
    for name in dict.fromkeys(names):
        choices = [name] if name in exact else alike.get(name_key(name), [])
        if len(choices) > 1:
            raise DatasetError(f"The class {name!r} could mean any of {choices}.", "Rename it as one of the folders.")
        if choices:
            found[name] = choices[0]
        else:
            missing.append(name)
    if missing:
        raise DatasetError(
            f"No folder fits {_some(missing)} of the class names.", "Add the folders, or use a split of this data set."
        )
    _refuse_shared_folders(found)
    return found


def list_categories(root: str | Path) -> list[str]:
    """The names of the category folders, sorted; hidden ones are passed over.

    Raises:
        DatasetError: ``root`` is missing, not to be read, or has no folder in it.
    """
    names = [entry.name for entry in _entries(Path(root)) if entry.is_dir()]
    if not names:
        raise DatasetError(f"{printable(root)} has no category folders.", "Put the images in one folder a category.")
    return names


def list_images(root: str | Path, categories: Sequence[str] | None = None) -> list[LabelledImage]:
    """The images of a data set, sorted by category in the order asked for, then by file name.

    Args:
        root: the folder of category folders.
        categories: class names, matched to folders by :func:`match_categories`; None for all folders.

    Raises:
        DatasetError: ``root`` is missing, a category has no folder, or a folder has no image in it.
    """
    folders = list_categories(root)
    chosen = match_categories(folders if categories is None else categories, folders)
    images: list[LabelledImage] = []
    for category, folder in chosen.items():
        place = Path(root) / folder
        found = [entry.name for entry in _entries(place) if has_image_suffix(entry.name) and entry.is_file()]
        if not found:
            raise DatasetError(f"{printable(place)} has no images.", "Add some, or remove the folder.")
        images.extend(LabelledImage(place / name, category) for name in found)
    return images


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


def _refuse_shared_folders(found: dict[str, str]) -> None:
    owners: dict[str, str] = {}
    for name, folder in found.items():
        if folder in owners:
            raise DatasetError(
                f"The classes {owners[folder]!r} and {name!r} both mean the folder {folder!r}.",
                "Leave one of them out.",
            )
        owners[folder] = name


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
