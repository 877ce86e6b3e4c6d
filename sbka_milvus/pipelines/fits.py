"""What the clusters of a gallery's versions were fitted to: ``fits/<token>.npz``, one for each fit.

A version whose clusters were fitted has a file of its own; those that joined it point to the same one, also when the
version itself is dropped. It is written before the record that points to it, and removed after the last of those.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import read_embeddings
from sbka_milvus.embeddings.versions import read_version_record
from sbka_milvus.errors import GalleryError, InvalidValue
from sbka_milvus.kmeans import member_sums
from sbka_milvus.pipelines.reference import (
    Reference,
    ensure_reference,
    has_reference,
    load_reference,
    make_reference,
    save_reference,
    take_reference,
)
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import Clustering, Embeddings, FloatArray, VersionInfo, normalise


def fit_reference(
    gallery: Gallery, embeddings: Embeddings, clustering: Clustering, *, lifted: bool, time: datetime
) -> Reference:
    """What later photos are compared with: always in the space of the photos' own vectors.

    Args:
        gallery: whose model made the vectors.
        embeddings: all its photos, with their own vectors.
        clustering: of the vectors that are indexed.
        lifted: whether those are others than the photos' own: then a cluster's centroid is the mean direction of its
            photos.
        time: now, with a time zone.
    """
    centroids = _means(embeddings.vectors, clustering) if lifted else clustering.table.centroids
    return make_reference(gallery, embeddings, centroids, time)


def write_fit(gallery: Gallery, token: str, reference: Reference) -> None:
    """Writes down what the clusters of a version were fitted to.

    Raises:
        OutputError: The gallery's folder cannot be written.
    """
    save_reference(fit_file(gallery, token), reference)


def read_fit(gallery: Gallery, token: str) -> Reference | None:
    """What clusters were fitted to; none where that is lost or damaged: then they are fitted anew."""
    try:
        return load_reference(fit_file(gallery, token))
    except (GalleryError, InvalidValue):
        return None


def refer_to_served(gallery: Gallery, store: GalleryStore, info: VersionInfo, time: datetime) -> None:
    """Sees to it that a gallery which serves has a reference for its model; nothing is read where there is one.

    It is what the clusters of the version were fitted to, where they were fitted to all its photos in the space of the
    photos' own vectors.

    Args:
        gallery: with the model of the version.
        store: where the version is.
        info: the version that is served.
        time: now, with a time zone.

    Raises:
        GalleryError: There is one, and it is damaged; or a shard is.
        OutputError: The file cannot be written.
        StoreError: Milvus refused.
    """
    if has_reference(gallery):
        return
    fit = None if info.matching else read_fit(gallery, info.token)
    if fit is not None and fit.fingerprint == gallery.fingerprint:
        take_reference(gallery, fit)
        return
    embeddings = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    if embeddings is not None:
        # The clusters of lifted vectors are in a space of their own, which another version does not share.
        ensure_reference(gallery, embeddings, None if info.matching else store.clusters(info), time)


def sweep_fits(gallery: Gallery) -> None:
    """Removes the files of fits that no version has any more, and half-written ones.

    To be called under the lock of the index, by which nobody else writes one.
    """
    tokens = [path.stem for path in gallery.version_folder.glob("*.json")]
    records = [read_version_record(gallery.version_folder, token) for token in tokens]
    used = {str((record.clustering or {}).get("fit")) for record in records if record is not None}
    for path in gallery.fit_folder.glob("*"):
        if path.suffix != ".npz" or path.stem not in used:
            with suppress(OSError):  # it only takes room
                path.unlink()


def fit_file(gallery: Gallery, token: str) -> Path:
    """Where a fit is written down."""
    return gallery.fit_folder / f"{token}.npz"


def _means(vectors: FloatArray, clustering: Clustering) -> FloatArray:
    used, firsts, clusters = np.unique(clustering.assignments, return_index=True, return_inverse=True)
    means = member_sums(vectors, clusters, len(used)) / np.bincount(clusters)[:, None]
    # Photos that point in opposite directions have a mean of zero, which is no direction: one of them stands for it.
    none = np.linalg.norm(means, axis=1) < 1e-9
    means[none] = vectors[firsts[none]]
    return normalise(means)
