"""Splits of a data set's classes into seen ones, for training, and unseen ones, for evaluation."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbka_milvus.errors import DatasetError
from sbka_milvus.images.categories import name_key
from sbka_milvus.images.filelists import SEEN_CLASSES, UNSEEN_CLASSES, read_classes
from sbka_milvus.images.source import printable


@dataclass(frozen=True, slots=True)
class Split:
    """Which classes training may see and which it may not.

    Attributes:
        name: as in ``sketchy_ext_25``.
        seen: class names; empty where the file names only the unseen ones, and every other class is seen.
        unseen: class names, at least one.

    Raises:
        DatasetError: A list repeats a class, or a class is both seen and unseen; spellings that differ in case,
            ' ', '_' or '-' are one class.

    >>> Split("tiny", seen=("cat",), unseen=("dog",)).digest
    'bc61104492dd'
    """

    name: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.unseen:
            raise DatasetError(f"The split {self.name!r} has no unseen classes.", "Name at least one.")
        places: dict[str, str] = {}
        for place, names in (("seen", self.seen), ("unseen", self.unseen)):
            for name in names:
                before = places.setdefault(name_key(name), "")
                if before:
                    where = f"twice in {place!r}" if before == place else "both seen and unseen"
                    raise DatasetError(
                        f"The split {self.name!r} has the class {name!r} {where}.", "Remove one of them."
                    )
                places[name_key(name)] = place

    @property
    def digest(self) -> str:
        """12 hex digits that name the two sets of classes, whatever their order and the split's name.

        The start of the SHA-256 of the UTF-8 text of ``{"seen":[...],"unseen":[...]}``: JSON without spaces or
        escapes of letters, both lists sorted by code point.
        """
        lists = {"seen": sorted(self.seen), "unseen": sorted(self.unseen)}
        text = json.dumps(lists, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Reads a split from JSON: an object with ``unseen`` and, optionally, ``seen`` and ``name``.

        Other keys are ignored. Without a name the file's name is taken. A folder of file lists holds a split, too: its
        ``cname_cid.txt`` names the seen classes and its ``cname_cid_zero.txt`` the unseen ones.

        Raises:
            DatasetError: The file is missing or not of that form, or the classes overlap.
        """
        folder = Path(path)
        if any((folder / name).is_file() for name in (SEEN_CLASSES, UNSEEN_CLASSES)):
            seen, unseen = (tuple(read_classes(folder / name).values()) for name in (SEEN_CLASSES, UNSEEN_CLASSES))
            place = Path(os.path.abspath(folder))  # noqa: PTH100 - Path.resolve would follow a link
            return cls(f"{place.parent.name}/{place.name}", seen, unseen)
        content = _json_object(Path(path))
        if "unseen" not in content:
            raise DatasetError(f"{printable(path)} has no list 'unseen'.", "Add one: the names of the unseen classes.")
        name = content.get("name", Path(path).stem)
        if not isinstance(name, str):
            raise DatasetError(f"{printable(path)} has a 'name' that is no text.", "Make it text, or remove it.")
        return cls(name, _names(content, "seen", path), _names(content, "unseen", path))


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DatasetError(f"The split file {printable(path)} does not exist.", "Check the path.") from None
    except OSError as error:
        raise DatasetError(f"{printable(path)} cannot be read: {error.strerror}.", "Name a readable file.") from error
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DatasetError(f"{printable(path)} is not valid JSON{where}.", "Correct it.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{printable(path)} is not a JSON object.", 'Write {"unseen": [...], "seen": [...]}.')
    return content


def _names(content: dict[str, Any], key: str, path: str | Path) -> tuple[str, ...]:
    names = content.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise DatasetError(f"{printable(path)}: {key!r} is not a list of class names.", 'Write ["cat", "dog"].')
    return tuple(names)
