"""Codes of the photos of a gallery's versions: made when one is built, read by searches.

A version without them (of an earlier release, or opened by a server's address alone) is searched by its clusters'
radii.
"""

from __future__ import annotations

import logging

import numpy as np

from sbka_milvus.clusters.codes import ClusterCodes
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import codes_file
from sbka_milvus.errors import InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import CodesOf, GalleryStore
from sbka_milvus.types import Clustering, Embeddings, VersionInfo

_log = logging.getLogger(__name__)


def write_codes(gallery: Gallery, info: VersionInfo, embeddings: Embeddings, clustering: Clustering) -> None:
    """Puts the codes of a version beside where its record will be.

    Args:
        gallery: whose version it is.
        info: the version.
        embeddings: its photos, with the vectors that are indexed.
        clustering: their clusters.

    Raises:
        OutputError: The folder cannot be written.
    """
    centroids = clustering.table.centroids
    _write(gallery, info, ClusterCodes.fit(embeddings.ids, embeddings.vectors, clustering.assignments, centroids))


def ensure_codes(gallery: Gallery, store: GalleryStore, info: VersionInfo, progress: Progress) -> None:
    """Makes the codes of a version that an earlier release has built, or whose codes are gone or cannot be read.

    Raises:
        OutputError: The folder cannot be written.
        StoreError: Milvus refused.
    """
    if read_codes(gallery, info) is not None:
        return
    ids, vectors, clusters = [], [], []
    with progress.stage("Making codes", store.count(info), "photos") as advance:
        for rows in store.scan(info):
            ids.append(rows.embeddings.ids)
            vectors.append(rows.embeddings.vectors)
            clusters.append(rows.cluster_ids)
            advance(len(rows))
    if ids:
        made = ClusterCodes.fit(
            np.concatenate(ids), np.concatenate(vectors), np.concatenate(clusters), store.clusters(info).centroids
        )
        _write(gallery, info, made)


def are_whole(gallery: Gallery, info: VersionInfo) -> bool:
    """Whether the codes of a version are as they were written; true where there are none. Reads all of them."""
    try:
        return ClusterCodes.is_whole(codes_file(gallery.version_folder, info.token))
    except FileNotFoundError:
        return True
    except OSError:
        return False


def codes_finder(gallery: Gallery) -> CodesOf:
    """Finds the codes of versions of a gallery, whichever model they are of."""
    return lambda info: read_codes(gallery, info)


def read_codes(gallery: Gallery, info: VersionInfo) -> ClusterCodes | None:
    """The codes of a version; none where there are none.

    Ones that are damaged are told of in the log: a search without them is slower and not worse.
    """
    path = codes_file(gallery.version_folder, info.token)
    try:
        codes = ClusterCodes.open(path)
        if codes.shape != (info.n_clusters, info.dim):
            raise InvalidValue("It is of another version.")
    except FileNotFoundError:
        return None
    except (OSError, InvalidValue) as error:
        _log.warning("%s cannot be used, so searches are slower; `sbka ingest` makes it anew: %s", path, error)
        return None
    return codes


def _write(gallery: Gallery, info: VersionInfo, codes: ClusterCodes) -> None:
    with replacing(codes_file(gallery.version_folder, info.token)) as file:
        codes.write(file)
