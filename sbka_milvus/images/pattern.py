"""Patterns of paths, as a shell has them: ``*``, ``?``, ``[...]`` and, over folders, ``**``."""

# Paths stay text here, as in the module that finds photos.
# ruff: noqa: PTH118, PTH122, PTH206, PTH207

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Sequence

_WILD = re.compile(r"[*?[]")


def is_pattern(text: str) -> bool:
    """Whether a path has wildcards.

    >>> is_pattern("photos/*.jpg"), is_pattern("photos")
    (True, False)
    """
    return _WILD.search(text) is not None


class Pattern:
    """A pattern of absolute paths.

    Args:
        text: an absolute path with at least one wildcard.

    Attributes:
        text: as given.
        recursive: it has ``**``.
        base: the folders before the first wildcard.
        names_suffix: it says which suffix it wants, as ``*.dat`` does and ``*`` does not.
    """

    def __init__(self, text: str) -> None:
        self._parts = text.split(os.sep)
        wild = next(index for index, part in enumerate(self._parts) if is_pattern(part))
        suffix = os.path.splitext(self._parts[-1])[1]
        self.text = text
        self.recursive = "**" in self._parts
        self.base = os.sep.join(self._parts[:wild]) or os.sep
        self.names_suffix = bool(suffix) and not is_pattern(suffix)

    def matches(self, path: str) -> bool:
        """Whether an absolute path fits.

        >>> Pattern("/p/**/*.jpg").matches("/p/a/b/c.jpg"), Pattern("/p/**/*.jpg").matches("/p/c.png")
        (True, False)
        """
        return _fits(path.split(os.sep), self._parts)

    def expand(self) -> list[str]:
        """The paths that fit, sorted; hidden ones only where the pattern names the dot.

        Not for ``**``: the standard library follows a loop of links to its 40th turn, and two loops have no end.
        """
        return sorted(glob.glob(self.text))


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    if parts[0] != "**":
        return bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])
    if len(parts) == 1:
        return bool(names)
    return any(_fits(names[skipped:], parts[1:]) for skipped in range(len(names)))
