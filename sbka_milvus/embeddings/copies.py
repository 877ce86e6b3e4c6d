"""Which photos of a version are byte for byte the same, so that a search shows them once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import IntArray, photo_id

_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class CopyGroups:
    """Groups of equal photos; photos of which there is one are in none. See :class:`~sbka_milvus.protocols.Copies`.

    Ten million URIs as Python texts would not fit beside the searches of a process: they are kept as bytes.

    Attributes:
        ids: shape (M,), int64, sorted: :func:`~sbka_milvus.types.photo_id` of the photos in groups.
        groups: shape (M,), int64: the group of each, 0 to G - 1.
        ends: shape (G,), int64: where the names of each group end in ``names``.
        names: shape (B,), uint8: the URIs of the groups, sorted within each, each ended by a zero byte.
    """

    ids: IntArray
    groups: IntArray
    ends: IntArray
    names: np.ndarray[tuple[int], np.dtype[np.uint8]]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.groups) or (len(self.groups) and int(self.groups.max()) >= len(self.ends)):
            raise InvalidValue("Groups of equal photos do not agree with one another.")
        if len(self.ends) and int(self.ends[-1]) != len(self.names):
            raise InvalidValue("The names of equal photos end early.")

    @classmethod
    def of(cls, hashes: Mapping[str, str]) -> CopyGroups:
        """Groups photos by their content.

        Args:
            hashes: of the content of each photo, by URI.
        """
        by_content: dict[str, list[str]] = {}
        for uri, digest in hashes.items():
            by_content.setdefault(digest, []).append(uri)
        members = sorted(sorted(uris) for uris in by_content.values() if len(uris) > 1)
        blobs = [b"".join(_encode(uri) + b"\0" for uri in uris) for uris in members]
        ids = np.array([photo_id(uri) for uris in members for uri in uris], dtype=np.int64)
        groups = np.repeat(np.arange(len(members), dtype=np.int64), [len(uris) for uris in members])
        order = np.argsort(ids, kind="stable")
        ends = np.cumsum([len(blob) for blob in blobs], dtype=np.int64)
        return cls(ids[order], groups[order], ends, np.frombuffer(b"".join(blobs), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def spare(self) -> int:
        """How many photos are copies of another one: by so many fewer are distinct."""
        return len(self.ids) - len(self.ends)

    def groups_of(self, ids: IntArray) -> IntArray:
        """The group of each photo, shape (n,), int64; -1 for one that is in none."""
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[places] == ids, self.groups[places], -1)

    def uris(self, group: int) -> tuple[str, ...]:
        """The photos of a group, sorted."""
        begin = int(self.ends[group - 1]) if group else 0
        parts = self.names[begin : int(self.ends[group])].tobytes().split(b"\0")[:-1]
        return tuple(part.decode("utf-8", "surrogateescape") for part in parts)

    def pack(self) -> bytes:
        """The content of a file; :meth:`unpack` gives the groups back."""
        file = io.BytesIO()
        np.savez_compressed(
            file,
            format_version=np.asarray(_FORMAT_VERSION),
            ids=self.ids,
            groups=self.groups,
            ends=self.ends,
            names=self.names,
        )
        return file.getvalue()

    @classmethod
    def unpack(cls, content: bytes) -> CopyGroups:
        """Groups from what :meth:`pack` gave.

        Raises:
            InvalidValue: It is damaged or of another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                if int(file["format_version"]) == _FORMAT_VERSION:
                    return cls(file["ids"], file["groups"], file["ends"], file["names"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError, zipfile.BadZipFile) as error:
            raise InvalidValue(f"The list of equal photos is damaged: {error}.") from error
        raise InvalidValue("The list of equal photos is of another version of sbka-milvus.", "Upgrade sbka-milvus.")


def copies_file(folder: Path, token: str) -> Path:
    """Where the equal photos of a version are listed, if it has any."""
    return folder / f"{token}.copies"


def _encode(uri: str) -> bytes:
    return uri.encode("utf-8", "surrogateescape")
