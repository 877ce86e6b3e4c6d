"""What there is of a gallery's versions: which are whole, which one is served, whose model is at hand."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import VersionRecord, matching_file, read_version_record
from sbka_milvus.encoders.manifest import MANIFEST_FILE
from sbka_milvus.errors import CollectionMissing, GalleryError, MatchingError
from sbka_milvus.pipelines.matching import read_matching
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import VersionInfo


@dataclass(frozen=True, slots=True)
class VersionState:
    """A version as it is now.

    Attributes:
        info: what it says of itself.
        photos: how many it holds.
        record: what it was built from; none where nothing is known of that.
        served: whether it is the one that is served.
        has_matching: whether what its vectors were lifted by is at hand; true also where they were not.
    """

    info: VersionInfo
    photos: int
    record: VersionRecord | None
    served: bool
    has_matching: bool = True

    @property
    def complete(self) -> bool:
        """Whether it holds all photos that were meant for it, and can be searched."""
        return self.record is not None and self.record.photos == self.photos and self.has_matching


def served_version(gallery: Gallery, store: GalleryStore) -> VersionInfo | None:
    """The version that is served, where one is."""
    try:
        return store.served(gallery.name)
    except CollectionMissing:
        return None


def list_versions(gallery: Gallery, store: GalleryStore) -> list[VersionState]:
    """All versions, oldest first; empty where the store knows none.

    Raises:
        StoreError: Milvus refused.
    """
    served = served_version(gallery, store)
    states = []
    for info in store.versions(gallery.name):
        with suppress(CollectionMissing):  # dropped meanwhile
            record = read_version_record(gallery.version_folder, info.token)
            matched = not info.matching or matching_file(gallery.version_folder, info.token).is_file()
            states.append(VersionState(info, store.count(info), record, info == served, matched))
    return states


def find_version(gallery: Gallery, store: GalleryStore, number: int) -> VersionInfo:
    """The version of a number.

    Raises:
        GalleryError: There is none.
    """
    found = {info.version: info for info in store.versions(gallery.name)}
    if number not in found:
        have = ", ".join(map(str, found)) or "none"
        raise GalleryError(
            f"The gallery {gallery.root} has no version {number}; it has {have}.", "`sbka gallery versions` lists them."
        )
    return found[number]


def has_model(gallery: Gallery, fingerprint: str) -> bool:
    """Whether the bundle of a model is in the gallery."""
    return (gallery.for_model(fingerprint).model_folder / MANIFEST_FILE).is_file()


def require_complete(gallery: Gallery, store: GalleryStore, info: VersionInfo) -> VersionRecord:
    """The record of a version that holds all its photos and can be searched.

    Raises:
        GalleryError: It does not, or nothing is known of it.
        CollectionMissing: There is no such version.
    """
    found = store.count(info)
    record = read_version_record(gallery.version_folder, info.token)
    if record is None:
        raise incomplete(gallery, info, "nothing is known of how it was built")
    if record.photos != found:
        raise incomplete(gallery, info, f"it holds {found} of {record.photos} photos")
    try:
        read_matching(gallery, info)
    except MatchingError as error:
        raise incomplete(gallery, info, f"what it is matched by cannot be read ({error.problem})") from error
    return record


def incomplete(gallery: Gallery, info: VersionInfo, why: str) -> GalleryError:
    """Says that a version cannot be served."""
    return GalleryError(
        f"Version {info.version} of the gallery {gallery.root} is incomplete: {why}.",
        "Serve another one, or run `sbka ingest` again to build it anew.",
    )


def require_model(gallery: Gallery, info: VersionInfo) -> None:
    """Refuses a version that nobody could search.

    Raises:
        GalleryError: Its model is not in the gallery.
    """
    if info.fingerprint != Gallery.open(gallery.root).fingerprint and not has_model(gallery, info.fingerprint):
        folder = gallery.for_model(info.fingerprint).model_folder
        raise GalleryError(
            f"Version {info.version} of the gallery {gallery.root} cannot be searched: its model is not in {folder}.",
            "Copy the model there, or serve another version.",
        )
