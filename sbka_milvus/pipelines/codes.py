"""Codes of the photos of a gallery's versions: made when one is built, read by searches.

A version without them (of an earlier release, or opened by a server's address alone) is searched by its clusters'
radii.
"""

from __future__ import annotations

import logging

from sbka_milvus.clusters.codes import ClusterCodes
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import codes_file
from sbka_milvus.errors import InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.protocols import CodesOf
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
    codes = ClusterCodes.fit(embeddings.ids, embeddings.vectors, clustering.assignments, clustering.table.centroids)
    with replacing(codes_file(gallery.version_folder, info.token)) as file:
        codes.write(file)


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
        _log.warning("%s cannot be used, so searches are slower; `sbka cluster` makes it anew: %s", path, error)
        return None
    return codes
