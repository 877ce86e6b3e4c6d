"""Index: shards -> clusters -> a new version in Milvus -> verified -> served."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from sbka_milvus.clusters import default_n_clusters, fit_clusters
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import list_shards, read_embeddings
from sbka_milvus.errors import CollectionMissing, GalleryError, StoreError
from sbka_milvus.files import replacing
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import Clustering, Embeddings, GalleryRows, VersionInfo

_INSERT_BATCH = 2000


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How to index.

    Attributes:
        n_clusters: wanted clusters; 0: chosen from the gallery's size.
        keep_versions: versions to keep, the served one included.
        seed: of the clustering.
    """

    n_clusters: int = 0
    keep_versions: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What indexing did.

    Attributes:
        version: the version that is served now.
        photos: photos in it.
        clusters: clusters in it.
        rebuilt: false where the served version already held exactly these photos.
        seconds: wall time.
    """

    version: int
    photos: int
    clusters: int
    rebuilt: bool
    seconds: float


def build_index(gallery: Gallery, store: GalleryStore, options: IndexOptions, progress: Progress) -> IndexReport:
    """Brings the served version of a gallery up to its shards; searches go on undisturbed until the switch.

    Raises:
        GalleryError: The gallery holds no photos, or a shard is damaged.
        EncoderMismatch: A shard was made by another encoder.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused, or does not hold what was sent.
    """
    start = time.perf_counter()
    state = _source_state(gallery, options)
    served = _served(gallery, store)
    if served is not None and served.fingerprint == gallery.fingerprint:
        # The count is compared too: the store may be another one than last time, or have lost photos.
        count = store.count(served)
        if _recorded_state(gallery) == {"version": served.version, "source": state, "photos": count}:
            return IndexReport(served.version, count, served.n_clusters, False, time.perf_counter() - start)
    embeddings = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    if embeddings is None:
        raise GalleryError(f"The gallery {gallery.root} holds no photos.", "Ingest a folder that holds some.")
    with progress.stage("Clustering"):
        clustering = _cluster(embeddings, options)
    info = store.create_version(gallery.name, gallery.fingerprint, clustering.table)
    try:
        _insert(store, info, embeddings, clustering, progress)
        _verify(store, info, len(embeddings))
    except BaseException:
        # Also after Ctrl-C: a part of a version must not be kept for a rollback.
        with suppress(StoreError):
            store.drop_version(info)
        raise
    store.promote(info)
    _record_state(gallery, {"version": info.version, "source": state, "photos": len(embeddings)})
    _drop_old(store, info, served, options.keep_versions)
    return IndexReport(info.version, len(embeddings), len(clustering.table), True, time.perf_counter() - start)


def _cluster(embeddings: Embeddings, options: IndexOptions) -> Clustering:
    wanted = options.n_clusters or default_n_clusters(len(embeddings))
    return fit_clusters(embeddings, min(wanted, len(embeddings)), seed=options.seed)


def _insert(
    store: GalleryStore, info: VersionInfo, embeddings: Embeddings, clustering: Clustering, progress: Progress
) -> None:
    # In the order of clusters, so that a batch touches few partitions.
    order = np.argsort(clustering.assignments, kind="stable")
    with progress.stage("Indexing", len(order), "photos") as advance:
        for begin in range(0, len(order), _INSERT_BATCH):
            rows = order[begin : begin + _INSERT_BATCH]
            part = Embeddings(tuple(embeddings.uris[row] for row in rows), embeddings.vectors[rows])
            store.insert(info, GalleryRows(part, clustering.assignments[rows]))
            advance(len(rows))


def _verify(store: GalleryStore, info: VersionInfo, expected: int) -> None:
    found = store.count(info)
    if found != expected:
        raise StoreError(
            f"Milvus holds {found} of the {expected} photos sent to version {info.version} of {info.gallery!r}; "
            "that version was dropped, and the one served before was left as it was.",
            "Run the same command again.",
        )


def _served(gallery: Gallery, store: GalleryStore) -> VersionInfo | None:
    try:
        return store.served(gallery.name)
    except CollectionMissing:
        return None


def _drop_old(store: GalleryStore, served: VersionInfo, previous: VersionInfo | None, keep: int) -> None:
    others = [info for info in store.versions(served.gallery) if info != served]
    # A newer one than the one served before is what a killed run left, or what was rolled back from.
    others.sort(key=lambda info: (info == previous, info.version))
    for info in others[: max(0, len(others) - (keep - 1))]:
        store.drop_version(info)


def _source_state(gallery: Gallery, options: IndexOptions) -> str:
    """Names the shards and options that a version is built from; shard names never come twice."""
    names = [path.name for path in list_shards(gallery.shard_folder)]
    return hashlib.blake2b(json.dumps([names, options.n_clusters, options.seed]).encode(), digest_size=16).hexdigest()


def _recorded_state(gallery: Gallery) -> object:
    try:
        return json.loads(gallery.index_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _record_state(gallery: Gallery, state: dict[str, object]) -> None:
    with replacing(gallery.index_file) as file:
        file.write(json.dumps(state).encode())
