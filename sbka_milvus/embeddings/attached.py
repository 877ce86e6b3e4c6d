"""A gallery beside a collection that somebody else fills: which one it is, and the keys of its rows."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import GalleryError
from sbka_milvus.files import replacing
from sbka_milvus.types import IntArray

_RECORD = "attached.json"
_KEYS = "attached.npz"


@dataclass(frozen=True, slots=True)
class AttachedRecord:
    """What a gallery is attached to.

    Attributes:
        collection: its name.
        place: the Milvus that holds it; no password is kept.
        key_field: its primary key.
        vector_field: of image embeddings.
        uri_field: what names the photos; empty: their keys do.
        where: a filter of Milvus; empty: all rows.
        photos: how many rows were taken in the last time.
    """

    collection: str
    place: str
    key_field: str
    vector_field: str
    uri_field: str
    where: str
    photos: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AttachedKeys:
    """Primary keys by photo id.

    Attributes:
        ids: shape (N,), int64, ascending: photo ids of the gallery.
        keys: shape (N,), int64 or UTF-8 bytes: keys of the collection.
    """

    ids: IntArray
    keys: NDArray[Any]

    def of(self, photo_id: int) -> str | int | None:
        """The key of a photo; none where it is of no row."""
        place = int(np.searchsorted(self.ids, photo_id))
        if place == len(self.ids) or int(self.ids[place]) != photo_id:
            return None
        key = self.keys[place]
        return key.decode() if isinstance(key, bytes) else int(key)


class AttachedKeysReader:
    """The keys of a gallery as they are now: read again when the file is another one.

    Args:
        root: the gallery's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: tuple[tuple[int, int, int], AttachedKeys | None] | None = None

    def read(self) -> AttachedKeys | None:
        """The keys; none where the gallery is attached to nothing.

        Raises:
            GalleryError: The file is damaged.
        """
        try:
            found = (self._root / _KEYS).stat()
        except OSError:
            return None
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        known = self._read
        if known is None or known[0] != state:
            known = self._read = state, read_attached_keys(self._root)
        return known[1]


def read_attached(root: Path) -> AttachedRecord | None:
    """What a gallery is attached to; none where it is to nothing.

    Raises:
        GalleryError: The record is damaged.
    """
    path = root / _RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {field.name for field in fields(AttachedRecord)}
        return AttachedRecord(**{name: value for name, value in content.items() if name in names})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise GalleryError(f"{path} is damaged or unreadable: {error}.", "Delete it and attach again.") from error


def write_attached(root: Path, record: AttachedRecord) -> None:
    """Replaces the record.

    Raises:
        OutputError: The folder cannot be written.
    """
    with replacing(root / _RECORD) as file:
        file.write((json.dumps(asdict(record), indent=2) + "\n").encode())


def read_attached_keys(root: Path) -> AttachedKeys | None:
    """The keys of a gallery's photos; none where it is attached to nothing.

    Raises:
        GalleryError: The file is damaged.
    """
    path = root / _KEYS
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return AttachedKeys(arrays["ids"], arrays["keys"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise GalleryError(f"{path} is damaged or unreadable: {error}.", "Attach again.") from error


def write_attached_keys(root: Path, keys: AttachedKeys) -> None:
    """Replaces the keys.

    Raises:
        OutputError: The folder cannot be written.
    """
    with replacing(root / _KEYS) as file:
        np.savez(file, ids=keys.ids, keys=keys.keys)
