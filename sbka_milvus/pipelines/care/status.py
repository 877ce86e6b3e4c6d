"""How a gallery stands: its model, its shards, its versions, and whether they belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.index_record import read_index_record
from sbka_milvus.embeddings.shards import list_shards
from sbka_milvus.embeddings.unchecked import count_rows
from sbka_milvus.embeddings.versions import VersionRecord, list_version_records
from sbka_milvus.encoders.manifest import Manifest, read_manifest
from sbka_milvus.errors import BundleError, GalleryError
from sbka_milvus.pipelines.version_states import VersionState, list_versions
from sbka_milvus.protocols import GalleryStore


@dataclass(frozen=True, slots=True)
class ShardsStatus:
    """The embedding shards of a gallery's model.

    Attributes:
        files: how many there are.
        rows: embedded photos in them; one that was embedded again is counted again.
        bytes: of the files.
        unreadable: names of shards that cannot be opened.
    """

    files: int
    rows: int
    bytes: int
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One indexed version.

    Attributes:
        version: its number.
        model: fingerprint of the model that made its vectors.
        photos: that it holds; where Milvus was not asked, that it was built to hold.
        clusters: that it has.
        form: ``fused`` or ``linear``.
        created: ISO time, UTC; empty where nothing is known of it.
        served: whether it is the one that is served, as far as is known.
        complete: whether it holds all it was built to hold; none where Milvus was not asked.
    """

    version: int
    model: str
    photos: int
    clusters: int
    form: str
    created: str
    served: bool
    complete: bool | None


@dataclass(frozen=True, slots=True)
class GalleryStatus:
    """How a gallery stands.

    Attributes:
        gallery: its folder.
        name: in Milvus.
        model: fingerprint of its model.
        model_name: what people call the model; empty where its bundle is missing.
        dim: length of a vector; 0 where the bundle is missing.
        has_model: whether the bundle is in the folder.
        shards: of its model.
        quarantined: files that could not be used.
        place: the Milvus that was asked.
        problem: why Milvus said nothing; empty where it answered. ``versions`` are then what the folder's records say.
        versions: oldest first.
        behind: whether the shards hold something that the served version was not built from, or nothing is served;
            none where that cannot be told.
        remedy: what to do about it, or about the problem; empty where there is nothing to do.
    """

    gallery: str
    name: str
    model: str
    model_name: str
    dim: int
    has_model: bool
    shards: ShardsStatus
    quarantined: int
    place: str
    problem: str
    versions: tuple[VersionStatus, ...]
    behind: bool | None
    remedy: str

    @property
    def served(self) -> VersionStatus | None:
        """The version that is served."""
        return next((version for version in self.versions if version.served), None)


def gallery_status(
    gallery: Gallery, place: str, store: GalleryStore | None, problem: str, is_built: Callable[[VersionRecord], bool]
) -> GalleryStatus:
    """Looks at a gallery; changes nothing, and opens no vectors.

    Args:
        gallery: the gallery.
        place: what the Milvus is called that was asked.
        store: that Milvus; none where it cannot be reached.
        problem: why not.
        is_built: whether a version was built from the shards and options as they are now.

    Raises:
        GalleryError: The list of quarantined files is damaged.
        StoreError: Milvus refused.
    """
    manifest = _manifest(gallery)
    versions = _of_records(gallery) if store is None else _of_store(list_versions(gallery, store))
    shards = _shards(gallery)
    serves = next((version for version in versions if version.served), None)
    behind = _is_behind(gallery, serves, shards, is_built)
    return GalleryStatus(
        gallery=str(gallery.root),
        name=gallery.name,
        model=gallery.fingerprint,
        model_name=manifest.name if manifest else "",
        dim=manifest.dim if manifest else 0,
        has_model=manifest is not None,
        shards=shards,
        quarantined=len(read_quarantine(gallery.quarantine_file)),
        place=place,
        problem=problem,
        versions=tuple(versions),
        behind=behind,
        remedy=_remedy(shards, serves, behind, manifest is not None),
    )


def _manifest(gallery: Gallery) -> Manifest | None:
    try:
        return read_manifest(gallery.model_folder)
    except BundleError:
        return None


def _shards(gallery: Gallery) -> ShardsStatus:
    rows, size, unreadable = 0, 0, []
    paths = list_shards(gallery.shard_folder)
    for path in paths:
        with suppress(OSError):  # taken away meanwhile
            size += path.stat().st_size
        try:
            rows += count_rows(path)
        except GalleryError:
            unreadable.append(path.name)
    return ShardsStatus(len(paths), rows, size, tuple(unreadable))


def _of_store(states: Sequence[VersionState]) -> list[VersionStatus]:
    return [
        VersionStatus(
            state.info.version,
            state.info.fingerprint,
            state.photos,
            state.info.n_clusters,
            "linear" if state.info.matching else "fused",
            state.record.created if state.record else "",
            state.served,
            state.complete,
        )
        for state in states
    ]


def _of_records(gallery: Gallery) -> list[VersionStatus]:
    index = read_index_record(gallery.index_file)
    served = index.token if index else ""
    return [
        VersionStatus(
            record.version,
            record.fingerprint,
            record.photos,
            record.clusters,
            str(record.matching["form"]) if record.matching else "fused",
            record.created,
            record.token == served,
            None,
        )
        for record in list_version_records(gallery.version_folder)
    ]


def _is_behind(
    gallery: Gallery, serves: VersionStatus | None, shards: ShardsStatus, is_built: Callable[[VersionRecord], bool]
) -> bool | None:
    if serves is None:
        return shards.files > 0
    if serves.model != gallery.fingerprint:
        return None
    records = [one for one in list_version_records(gallery.version_folder) if one.created == serves.created]
    return not is_built(records[-1]) if records else None


def _remedy(shards: ShardsStatus, serves: VersionStatus | None, behind: bool | None, has_model: bool) -> str:
    if not has_model:
        return "The model's bundle is not in the folder: `sbka ingest ... --model MODEL` copies it there."
    if shards.unreadable:
        return "Shards cannot be read: `sbka verify --repair` sets them aside, and `sbka ingest` embeds their photos."
    if serves is None and not shards.files:
        return "It is empty: `sbka ingest PHOTOS` takes photos in."
    if behind:
        return "The shards hold something else than the served version: `sbka verify --repair` or an ingest indexes it."
    if serves is not None and serves.complete is False:
        return "The served version is incomplete: `sbka verify --repair` builds it anew."
    return ""
