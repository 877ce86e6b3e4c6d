"""Labelled images, and how the names of their categories find one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.errors import DatasetError
from sbka_milvus.images.drawings import file_of

_SHOWN = 5  # names that a message lists


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image whose category is known.

    Attributes:
        path: the file, or the place of a drawing in an ``.ndjson`` (see :mod:`~sbka_milvus.images.drawings`).
        category: as it was asked for, so that photos and sketches agree where their folders are spelt differently.
    """

    path: Path
    category: str

    @property
    def file(self) -> Path:
        """The file that holds it: ``path`` itself, or the ``.ndjson`` that a drawing lies in."""
        return file_of(self.path)


def name_key(name: str) -> str:
    """What two spellings of a class name have in common.

    >>> name_key("Hot-air_Balloon") == name_key("hot air balloon")
    True
    """
    return name.casefold().translate({ord(mark): None for mark in " _-"})


def match_categories(names: Iterable[str], folders: Iterable[str], *, what: str = "folder") -> dict[str, str]:
    """The folder of each class name: the one of that very name, else the one that differs in case, ' ', '_' or '-'.

    Args:
        names: class names, as of a split.
        folders: names of folders.
        what: the folders are called in messages.

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
            raise DatasetError(f"The class {name!r} could mean any of {choices}.", f"Rename it as one {what}.")
        if choices:
            found[name] = choices[0]
        else:
            missing.append(name)
    if missing:
        raise DatasetError(
            f"No {what} fits {_some(missing)} of the class names.",
            "Add what is missing, or use a split of this data set.",
        )
    _refuse_shared_folders(found)
    return found


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
