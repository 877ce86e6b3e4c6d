"""Photos of sources that are there no more: found after a look at the sources, taken out if nothing speaks against it.

That a drive is not mounted looks like the end of all its photos. So nothing is taken out of a source that could not be
listed whole, nor, without consent, where more than half of what it held would go.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.removal import remove_photos
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.errors import GalleryError, PruneRefused
from sbka_milvus.images import absolute_sources, belongs_to, is_gone
from sbka_milvus.images.pattern import Pattern, is_pattern
from sbka_milvus.images.source import printable
from sbka_milvus.images.uris import is_archive, is_remote, split_member

MOST_GONE = 0.5
"""The share of a source's photos that may go without consent."""

_FOLDERS = 65_536
"""Of which it is remembered whether a pattern covers them."""


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How photos that are there no more are taken out.

    Attributes:
        consent: also where more than half of what a source held would go.
    """

    consent: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What a look at sources did not find again.

    Attributes:
        held: how many photos of each source the gallery held.
        gone: of them those that are there no more.
        unsure: sources of which nothing is taken out, and why.
    """

    held: Mapping[str, int] = field(default_factory=dict)
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unsure: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Missing:
        """From what :meth:`to_dict` gave."""
        return cls(content["held"], content["gone"], content["unsure"])


def find_missing(
    sources: Sequence[str | Path], known: Iterable[str], found: Collection[str], problems: Mapping[str, str]
) -> Missing:
    """What a gallery holds of some sources that was not found in them.

    A file that is there all the same, under a name that was passed over this time, is not missing. Of manifests nothing
    is: what they name does not lie in them.

    Args:
        sources: what was looked at.
        known: URIs that the gallery holds.
        found: URIs that the look has found.
        problems: what could not be used, with the reasons; what it names, and what lies in that, is not missing.
    """
    shielded = set(problems)
    roots = {root: _Root(root) for source in sources for root in absolute_sources(source)}
    held = dict.fromkeys(roots, 0)
    gone: dict[str, list[str]] = {root: [] for root in roots}
    unsure = {root: why for root, one in roots.items() if (why := one.trouble(problems))}
    for uri in sorted(known):
        for root, one in roots.items():
            if one.covers(uri):
                held[root] += 1
                if uri not in found and root not in unsure and not _is_within(uri, shielded) and one.has_lost(uri):
                    gone[root].append(uri)
                break
    return Missing(held, {root: uris for root, uris in gone.items() if uris}, unsure)


def require_pruning(missing: Missing, known: Collection[str], *, consent: bool = False) -> list[str]:
    """What may be taken out now.

    Args:
        missing: what was not found.
        known: URIs that the gallery holds now: what has moved meanwhile is not lost.
        consent: whether more than half of a source may go.

    Raises:
        PruneRefused: More would go, and there is no consent.
    """
    result: list[str] = []
    for root, uris in missing.gone.items():
        going = [uri for uri in uris if uri in known and (is_remote(uri) or is_gone(uri))]
        if len(going) > MOST_GONE * missing.held[root] and not consent:
            raise PruneRefused(
                f"{len(going)} of the {missing.held[root]} photos that came from {printable(root)} are not there now, "
                f"such as {printable(going[0])}; that is more than half, so nothing was removed.",
                "Is a drive or share not mounted? If they are meant to be gone, say --prune-all.",
            )
        result += going
    return result


def prune(gallery: Gallery, uris: Sequence[str]) -> int:
    """Takes photos out of a gallery's shards.

    Returns:
        How many there were.

    Raises:
        GalleryError: None would be left, or a shard is damaged.
        OutputError: The disk is full or the folder cannot be written.
    """
    if not uris:
        return 0
    require_some_left(gallery, uris)
    return len(remove_photos(gallery, uris))


def require_some_left(gallery: Gallery, uris: Collection[str]) -> None:
    """Refuses to empty a gallery: an index of nothing cannot be searched.

    Raises:
        GalleryError: No photo would be left.
    """
    if not read_known(gallery.shard_folder).keys() - set(uris):
        raise GalleryError(
            f"The gallery {printable(gallery.root)} would be left without a photo, so nothing was removed.",
            "Delete its folder if it is not wanted any more.",
        )


def _is_within(uri: str, subjects: Collection[str]) -> bool:
    """Whether a URI, or what it lies in, is among some; as ``belongs_to`` for each of them, and fast for many."""
    while subjects and uri:
        if uri in subjects or uri.rstrip("/").removesuffix("!") in subjects:
            return True
        uri = uri.rstrip("/").rpartition("/")[0]
    return False


class _Root:
    """One absolute source."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pattern = Pattern(text) if is_pattern(text) and not os.path.lexists(text) else None
        self._is_folder = os.path.isdir(text)  # noqa: PTH112
        # A folder that matches is walked, too. Folders come again and again, photos do not.
        self._is_in = lru_cache(_FOLDERS)(self._is_below)

    def covers(self, uri: str) -> bool:
        """Whether a photo comes from here."""
        if self._pattern is None:
            return belongs_to(uri, self._text)
        member = split_member(uri)
        path = member[0] if member else uri
        return self._pattern.matches(path) or self._is_in(path.rpartition("/")[0])

    def _is_below(self, folder: str) -> bool:
        while self._pattern is not None and folder:
            if self._pattern.matches(folder):
                return True
            folder = folder.rpartition("/")[0]
        return False

    def has_lost(self, uri: str) -> bool:
        """Whether a photo from here that was not found is there no more."""
        if is_remote(uri):
            return True
        member = split_member(uri)
        if member and self._is_folder and os.path.lexists(member[0]):
            return False  # archives that lie in a folder are not looked into
        return is_gone(uri)

    def trouble(self, problems: Mapping[str, str]) -> str:
        """Why nothing can be said of what is missing here: a part of it could not be listed."""
        for subject, why in problems.items():
            if (subject == self._text or self.covers(subject)) and _holds_photos(subject):
                return f"{subject} {why}" if subject not in why else why
        return ""


def _holds_photos(subject: str) -> bool:
    """Whether what cannot be used is a folder or an archive; an archive within one is nothing that photos come from."""
    if split_member(subject):
        return False
    return is_archive(subject) or (not is_remote(subject) and os.path.isdir(subject))  # noqa: PTH112
