"""The gallery workspace: one folder that holds everything a gallery is made of."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sbka_milvus.errors import EncoderMismatch, GalleryError, OutputError
from sbka_milvus.files import is_draft, replacing

_MANIFEST = "gallery.json"
_FORMAT_VERSION = 2
_SHARDS_IN_ONE_FOLDER = 1
"""The format in which a gallery had shards of one model, all in one folder."""
_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery's folder.

    Attributes:
        root: the folder.
        name: of the gallery in Milvus: the alias of its served version.
        fingerprint: of the model that embeds its photos; while another one is tried out, this one goes on serving.

    Layout: ``gallery.json``, ``models/<fingerprint>/`` (a model bundle), ``shards/<fingerprint>/`` (embeddings),
    ``versions/`` (records of the indexed versions), ``fits/`` (photos that their clusters were fitted to),
    ``milvus/`` (the embedded Milvus, unless a server is used), ``index.json`` and ``quarantine.jsonl``.
    """

    root: Path
    name: str
    fingerprint: str

    @property
    def model_folder(self) -> Path:
        """The bundle that embeds photos and sketches."""
        return self.root / "models" / self.fingerprint

    @property
    def shard_folder(self) -> Path:
        """Embedding shards of the gallery's model."""
        return self.root / "shards" / self.fingerprint

    @property
    def version_folder(self) -> Path:
        """Records of the versions that were built."""
        return self.root / "versions"

    @property
    def fit_folder(self) -> Path:
        """What the clusters of the versions were fitted to."""
        return self.root / "fits"

    @property
    def quarantine_file(self) -> Path:
        """Files that could not be used."""
        return self.root / "quarantine.jsonl"

    @property
    def index_file(self) -> Path:
        """Which version is served, and where."""
        return self.root / "index.json"

    @property
    def lock_file(self) -> Path:
        """Held by the process that indexes the gallery."""
        return self.root / ".index.lock"

    @property
    def milvus_folder(self) -> Path:
        """The embedded Milvus."""
        return self.root / "milvus"

    def for_model(self, fingerprint: str) -> Gallery:
        """The same gallery as another model sees it; nothing is written."""
        return replace(self, fingerprint=fingerprint)

    def save(self) -> None:
        """Writes ``gallery.json``.

        Raises:
            OutputError: The folder cannot be written.
        """
        content = {"format_version": _FORMAT_VERSION, "name": self.name, "fingerprint": self.fingerprint}
        with replacing(self.root / _MANIFEST) as file:
            file.write((json.dumps(content, indent=2) + "\n").encode())

    @staticmethod
    def exists(root: Path) -> bool:
        """Whether a folder is a gallery."""
        try:
            return (root / _MANIFEST).is_file()
        except OSError:
            return False

    @classmethod
    def open(cls, root: Path) -> Gallery:
        """Opens a gallery. One of the first format is brought to this one.

        Raises:
            GalleryError: The folder is no gallery, or is damaged or of another version.
            OutputError: It is of the first format and cannot be written.
        """
        path = root / _MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version, name = content["format_version"], str(content["name"])
            fingerprint = _folder_name(content["fingerprint"])
        except (FileNotFoundError, NotADirectoryError) as error:
            raise GalleryError(
                f"{root} is no gallery: it has no {_MANIFEST}.", f"Make one with `sbka ingest PHOTOS --gallery {root}`."
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GalleryError(f"{path} is damaged: {error}.", "Ingest into a new folder.") from error
        gallery = cls(root, name, fingerprint)
        if version == _SHARDS_IN_ONE_FOLDER:
            _sort_shards(gallery)
            gallery.save()
        elif version != _FORMAT_VERSION:
            raise GalleryError(
                f"{path} has format {version}; this version reads {_FORMAT_VERSION}.", "Upgrade sbka-milvus."
            )
        return gallery

    @classmethod
    def create_or_open(cls, root: Path, fingerprint: str, name: str | None = None) -> Gallery:
        """Opens a gallery, or makes an empty one for a model.

        Raises:
            EncoderMismatch: The gallery belongs to another model.
            GalleryError: The folder holds something else, or cannot be looked into.
            OutputError: The folder cannot be written.
        """
        if _is_taken(root):
            gallery = cls.open(root)
            if gallery.fingerprint != fingerprint:
                raise EncoderMismatch(
                    f"The gallery {root} was embedded with the model {gallery.fingerprint}, and the one given is "
                    f"{fingerprint}: their vectors cannot be compared.",
                    "Leave out --model to go on with the gallery's own, or ingest into a new folder.",
                )
            return gallery
        gallery = cls(root, name or gallery_name(root), fingerprint)
        gallery.save()
        return gallery


def _is_taken(root: Path) -> bool:
    """Whether the folder is a gallery already; it may also be empty or not there, and nothing else."""
    try:
        if Gallery.exists(root):
            return True
        # A process that was killed while it made the gallery leaves a draft of its first file.
        if root.exists() and (not root.is_dir() or not all(is_draft(path) for path in root.iterdir())):
            raise GalleryError(f"{root} holds other files and is no gallery.", "Name an empty or new folder.")
    except OSError as error:
        raise GalleryError(
            f"{root} cannot be used as a gallery: {error.strerror}.", "Name another folder, or check its permissions."
        ) from error
    return False


def _folder_name(fingerprint: object) -> str:
    name = str(fingerprint)
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"{name!r} names no model")
    return name


def _sort_shards(gallery: Gallery) -> None:
    """Moves the shards of the first format below their model's name. Whatever stops it, the next call goes on."""
    try:
        for shard in sorted((gallery.root / "shards").glob("photos-*.parquet")):
            gallery.shard_folder.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # another process moves them too
                shard.rename(gallery.shard_folder / shard.name)
    except OSError as error:
        raise OutputError(
            f"The gallery {gallery.root} is of an earlier format and cannot be brought to this one: {error.strerror}.",
            "Check free space and permissions, then try again: nothing is lost.",
        ) from error


def gallery_name(root: Path) -> str:
    """A name that Milvus takes, from a folder's name.

    >>> gallery_name(Path("/data/my photos 2024"))
    'my_photos_2024'
    """
    # Not two underscores running: the store marks its versions with them.
    cleaned = re.sub(r"[\W_]+", "_", root.resolve().name, flags=re.ASCII).strip("_") or "gallery"
    return (cleaned if cleaned[0].isalpha() else f"g_{cleaned}")[:_MAX_NAME].rstrip("_")
