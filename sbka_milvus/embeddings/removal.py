"""Taking photos out of a gallery's shards.

One new shard says which photos count no more; none that is there is rewritten. So a removal is done wholly or not at
all wherever it is killed, no other photo is touched, and no lock is needed beside a process that writes shards: what is
written after the removal has a higher number and counts, what was written before it has a lower one and does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from sbka_milvus.embeddings.shards import list_shards, read_known, read_removals, write_shard
from sbka_milvus.embeddings.workspace import Gallery


def remove_photos(gallery: Gallery, uris: Iterable[str]) -> list[str]:
    """Takes photos out of the shards of every model of a gallery. To do it twice changes nothing.

    A photo comes back when a later shard holds it: where it is ingested again, also by an ingest that is at work now.

    Args:
        gallery: with the model that it serves.
        uris: what is to go; those that it does not hold are passed over.

    Returns:
        Those that it held, sorted.

    Raises:
        GalleryError: A shard is damaged.
        OutputError: The disk is full or the folder cannot be written.
    """
    wanted = set(uris)
    held: list[str] = []
    # The gallery's own model comes last: where the process is killed before it, the photos are still held, and whoever
    # removes them again comes to all models.
    for folder in [*_folders_of_other_models(gallery), gallery.shard_folder]:
        held = sorted(read_known(folder).keys() & wanted)
        if held:
            write_shard(folder, None, folder.name, removed=held)
    return held


def removed_photos(folder: Path, known: Collection[str]) -> set[str]:
    """The photos that were taken out of shards and did not come back.

    Args:
        folder: the shard folder.
        known: what it holds: :func:`~sbka_milvus.embeddings.shards.read_known`.

    Raises:
        GalleryError: A shard is damaged.
    """
    return {uri for path in list_shards(folder) for uri in read_removals(path)} - set(known)


def _folders_of_other_models(gallery: Gallery) -> list[Path]:
    folder = gallery.shard_folder.parent
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and one != gallery.shard_folder)
