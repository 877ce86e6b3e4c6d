"""Remove: photos that a user names are taken out of a gallery, and the next version does not hold them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.removal import remove_photos, removed_photos
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.errors import GalleryError
from sbka_milvus.images import absolute_sources, belongs_to
from sbka_milvus.images.pattern import Pattern, is_pattern
from sbka_milvus.images.source import printable
from sbka_milvus.pipelines.index import IndexOptions, IndexReport, build_index
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.prune import require_some_left
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be removed.

    Attributes:
        uris: photos that the gallery holds, sorted.
        removed_before: photos that it held once and that were named again, sorted.
        held: how many photos it holds.
    """

    uris: tuple[str, ...]
    removed_before: tuple[str, ...]
    held: int


@dataclass(frozen=True, slots=True)
class RemoveReport:
    """What removing did.

    Attributes:
        removed: URIs of the photos that were taken out.
        removed_before: of those that were named and had been taken out before.
        index: the version that is served now.
    """

    removed: tuple[str, ...]
    index: IndexReport
    removed_before: tuple[str, ...] = field(default=())


def find_removal(gallery: Gallery, names: Sequence[str | Path]) -> Removal:
    """The photos of a gallery that some names mean. Files need not be there any more.

    A name is a URI as hits have it, or a path; a folder, an archive or the beginning of an address up to a slash, for
    all that lies in it; or a pattern. Braces stand for several names. A name that is that of a photo means that photo
    alone, whatever signs it is made of.

    Args:
        gallery: with the model that it serves.
        names: what is wanted.

    Raises:
        GalleryError: One of them means no photo that the gallery holds or has held; or none would be left.
    """
    known = read_known(gallery.shard_folder)
    before = removed_photos(gallery.shard_folder, known)
    chosen: set[str] = set()
    again: set[str] = set()
    for name in names:
        found, gone = _meant(os.fspath(name), known), _meant(os.fspath(name), before)
        if not found and not gone:
            raise GalleryError(
                f"The gallery {printable(gallery.root)} holds no photo that {printable(name)} means.",
                "Name photos as the hits of a search do; a folder or a pattern means what lies in it or matches.",
            )
        chosen |= found
        again |= gone
    if chosen:
        require_some_left(gallery, chosen)
    return Removal(tuple(sorted(chosen)), tuple(sorted(again)), len(known))


def remove_from_gallery(
    gallery: Gallery, store: GalleryStore, removal: Removal, options: IndexOptions, progress: Progress
) -> RemoveReport:
    """Takes photos out, and serves a version without them. Killed on the way, the next call of it, or the next ingest,
    ends right.

    Raises:
        GalleryBusy: Another process indexes the gallery: nothing was removed.
        GalleryError: A shard is damaged, or no photo would be left.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused; the version that was served before is still served.
    """
    # Held from the first step, so that a gallery that is busy loses nothing rather than half of it.
    with index_lock(gallery):
        if removal.uris:
            require_some_left(gallery, removal.uris)
        with progress.stage("Removing photos", len(removal.uris), "photos") as advance:
            removed = remove_photos(gallery, removal.uris)
            advance(len(removed))
        # Also where nothing was left to take out: a run that was killed has not come to this.
        return RemoveReport(tuple(removed), build_index(gallery, store, options, progress), removal.removed_before)


def _meant(name: str, uris: Collection[str]) -> set[str]:
    texts = [name, *absolute_sources(name)]
    exact = {text for text in (name, os.path.abspath(name)) if text in uris}  # noqa: PTH100
    if exact:
        return exact
    found = {uri for uri in uris for text in texts if text and belongs_to(uri, text)}
    if found:
        return found
    patterns = [Pattern(text) for text in texts[1:] if is_pattern(text)]
    return {uri for uri in uris for pattern in patterns if pattern.matches(uri)}
