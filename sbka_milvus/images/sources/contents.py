"""What an archive holds, sorted out: photos, what stands beside them, and what cannot be used.

Nothing is ever written to the disk, so a name that leads out of the archive could do no harm; it is refused all the
same, since it says that the archive was made to do some.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sbka_milvus.errors import SourceError
from sbka_milvus.images.find import has_image_suffix
from sbka_milvus.images.sources.metadata import UnfitValue, metadata_of_sidecars
from sbka_milvus.images.uris import is_archive, member_uri
from sbka_milvus.types import Metadata

MAX_MEMBER_BYTES = 256 * 2**20
"""The largest member that is read into memory, in bytes after unpacking."""

MAX_RATIO = 200
"""How many times larger than packed a member, or what a stream unpacks to, may be ..."""

RATIO_FROM = 64 * 2**20
"""... once it unpacks to more bytes than this: a small plain picture may well be packed a thousand times."""

MAX_SIDECAR_BYTES = 64 * 2**10

_SIDECARS = ("json", "txt", "cls")

Kind = Literal["file", "folder", "link", "special"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive's list.

    Attributes:
        name: as the archive has it.
        kind: of the entry.
        size: bytes after unpacking.
        stamp: a number that is another one when the member is another one; stands where files have their time.
        place: where its archive finds it.
        fault: why it cannot be used, whatever it is; empty where nothing is known against it.
        data: its content, of a small file that may stand beside a picture.
    """

    name: str
    kind: Kind
    size: int
    stamp: int
    place: Any
    fault: str = ""
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive holds.

    Attributes:
        members: the photos by their plain names, in the archive's order.
        metadata: of the photos that have something beside them.
        problems: URIs of what cannot be used, and why.
    """

    members: dict[str, Entry] = field(default_factory=dict)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


class Archive(Protocol):
    """An archive that was looked through."""

    contents: Contents

    def read(self, entry: Entry) -> bytes:
        """The bytes of a member. Threads may share the archive.

        Raises:
            SourceError: It cannot be read.
        """


def sort_out(archive: str, entries: Iterable[Entry]) -> Contents:
    """Sorts an archive's entries. Where the list breaks off, what came before counts, and the end is told.

    Hidden entries, and files that are no pictures by their suffix, are passed over, as they are in folders.

    Args:
        archive: its URI.
        entries: in the archive's order; may raise SourceError.
    """
    contents = Contents()
    counts: dict[str, int] = defaultdict(int)
    beside: dict[str, dict[str, bytes]] = defaultdict(dict)
    try:
        for entry in entries:
            name = plain_name(entry.name)
            if entry.kind == "folder" or _is_hidden(name):
                continue
            if entry.data is not None and entry.kind == "file" and not _odd_name(name):
                key, _, suffix = _key_of(name)
                beside[key][suffix.lower()] = entry.data
            if not (has_image_suffix(name) or is_archive(name)):
                continue
            fault = _odd_name(name) or _fault_of(entry, name)
            if fault:
                contents.problems.append((member_uri(archive, name), fault))
                continue
            counts[name] += 1
            if counts[name] > 1:
                # The last one counts, as where archives are unpacked.
                again = f"{member_uri(archive, name)}#{counts[name] - 1}"
                contents.problems.append((again, "is followed by another member of the same name, which counts"))
                del contents.members[name]
            contents.members[name] = entry
    except SourceError as error:
        contents.problems.append((archive, error.problem))
    _add_metadata(archive, contents, beside)
    return contents


def plain_name(name: str) -> str:
    """A member's name without a leading ``./``.

    >>> plain_name("./cats/1.jpg"), plain_name("../1.jpg")
    ('cats/1.jpg', '../1.jpg')
    """
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def is_sidecar(name: str, size: int) -> bool:
    """Whether a file may stand beside a picture and say something of it."""
    return _key_of(plain_name(name))[2].lower() in _SIDECARS and size <= MAX_SIDECAR_BYTES


def _key_of(name: str) -> tuple[str, str, str]:
    """As WebDataset has it: what shares a name up to its first dot belongs together."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return folder + slash + stem, dot, suffix


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def _odd_name(name: str) -> str:
    if not name or "\0" in name:
        return "has an empty name, or a zero in it"
    if name.startswith("/"):
        return "has an absolute path as its name, which no honest archive has"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has a name that leads out of the archive or is no plain path"
    return ""


def _fault_of(entry: Entry, name: str) -> str:
    if entry.kind == "link":
        return "is a link, and links in archives are not followed"
    if entry.kind == "special":
        return "is a device, a pipe or a file with holes"
    if is_archive(name):
        return "is an archive within an archive, which is not opened: unpack the outer one"
    if entry.size > MAX_MEMBER_BYTES:
        return f"has {entry.size:,} bytes, and a member of an archive may have {MAX_MEMBER_BYTES:,} at most"
    if entry.size <= 0:
        return "is empty (0 bytes)"
    return entry.fault


def _add_metadata(archive: str, contents: Contents, beside: dict[str, dict[str, bytes]]) -> None:
    for name in list(contents.members) if beside else ():
        parts = beside.get(_key_of(name)[0])
        if parts:
            try:
                contents.metadata[name] = metadata_of_sidecars(parts)
            except UnfitValue as error:
                contents.problems.append((member_uri(archive, name), f"cannot be taken: {error}"))
                del contents.members[name]
