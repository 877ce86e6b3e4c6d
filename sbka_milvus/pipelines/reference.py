"""Photos that clusters were made of, and how well those fit them: what drift is measured against.

A gallery has one reference for its model (``reference.npz``), and one for each fit of its clusters (``fits/``).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from sbka_milvus.clusters import assign_clusters, default_n_clusters, fit_clusters
from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import GalleryError, InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.kmeans import member_sums
from sbka_milvus.types import ClusterTable, Embeddings, FloatArray, IntArray, require_unit_rows

_FILE = "reference.npz"
_FORMAT_VERSION = 1
_SCORES_PER_BLOCK = 16_777_216  # 64 MB of float32
_ROWS_PER_BLOCK = 8_192  # each gets the float64 sum of its cluster beside it


@dataclass(frozen=True, slots=True)
class Reference:
    """What a gallery looked like when its model, or its clusters, were new to it.

    Attributes:
        centroids: shape (K, D), float32, unit rows.
        distortion: mean of 1 - cosine over its photos, each against centroids that it did not shape itself.
        ids: shape (N,), int64, sorted: :func:`~sbka_milvus.types.photo_id` of its photos.
        fingerprint: of the model that made the vectors.
        time: when it was written.
    """

    centroids: FloatArray
    distortion: float
    ids: IntArray
    fingerprint: str
    time: datetime

    def __post_init__(self) -> None:
        require_unit_rows(self.centroids, "centroids")
        if len(self.centroids) == 0 or len(self.ids) == 0 or not np.isfinite(self.distortion):
            raise InvalidValue("A reference needs clusters and photos.")

    def holds(self, ids: IntArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each photo was there already; shape (len(ids),), bool."""
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.asarray(self.ids[places] == ids)


def reference_file(gallery: Gallery) -> Path:
    """Where a gallery's reference is."""
    return gallery.root / _FILE


def write_reference(gallery: Gallery, embeddings: Embeddings, table: ClusterTable, time: datetime) -> Reference:
    """Takes a gallery as it is now for the reference of all drift to come.

    Args:
        gallery: whose model made the vectors.
        embeddings: all its photos.
        table: their clusters.
        time: now, with a time zone.

    Raises:
        InvalidValue: The clusters do not fit the photos, or there are none.
        OutputError: The file cannot be written.
    """
    return take_reference(gallery, make_reference(gallery, embeddings, table.centroids, time))


def take_reference(gallery: Gallery, reference: Reference) -> Reference:
    """Writes down the reference of all drift to come.

    Raises:
        OutputError: The file cannot be written.
    """
    save_reference(reference_file(gallery), reference)
    return reference


def make_reference(gallery: Gallery, embeddings: Embeddings, centroids: FloatArray, time: datetime) -> Reference:
    """A gallery as it is now, to be compared with later.

    Args:
        gallery: whose model made the vectors.
        embeddings: all its photos.
        centroids: shape (K, D), float32, unit rows: of their clusters, in the space of these vectors.
        time: now, with a time zone.

    Raises:
        InvalidValue: The clusters do not fit the photos, or there are none.
    """
    distortion = float(_left_out_distortions(embeddings.vectors, centroids).mean()) if len(embeddings) else 0.0
    return Reference(centroids, distortion, np.sort(embeddings.ids), gallery.fingerprint, time)


def save_reference(path: Path, reference: Reference) -> None:
    """Writes a reference.

    Raises:
        OutputError: The file cannot be written.
    """
    with replacing(path) as file:
        np.savez(
            file,
            format_version=np.asarray(_FORMAT_VERSION),
            centroids=reference.centroids,
            distortion=np.asarray(reference.distortion),
            ids=reference.ids,
            fingerprint=np.asarray(reference.fingerprint),
            time=np.asarray(reference.time.isoformat()),
        )


def ensure_reference(gallery: Gallery, embeddings: Embeddings, table: ClusterTable | None, time: datetime) -> bool:
    """Writes a reference where there is none for the gallery's model: at its first index, and after an upgrade.

    Later ingests must not write another one: their photos are those that may drift.

    Args:
        gallery: whose model made the vectors.
        embeddings: all its photos.
        table: their clusters; none: they are made.
        time: now, with a time zone.

    Returns:
        Whether it was written.

    Raises:
        GalleryError: There is one, and it is damaged.
        InvalidValue: The clusters do not fit the photos, or there are none.
        OutputError: The file cannot be written.
    """
    if has_reference(gallery):
        return False
    table = table or fit_clusters(embeddings, default_n_clusters(len(embeddings))).table
    write_reference(gallery, embeddings, table, time)
    return True


def read_reference(gallery: Gallery) -> Reference | None:
    """A gallery's reference, of whatever model it is; none where none was written.

    Raises:
        GalleryError: It is damaged or of another version.
    """
    return load_reference(reference_file(gallery))


def load_reference(path: Path) -> Reference | None:
    """A reference from its file; none where there is none.

    Raises:
        GalleryError: It is damaged or of another version.
    """
    try:
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            version = int(content["format_version"])
            if version == _FORMAT_VERSION:
                return Reference(
                    content["centroids"],
                    float(content["distortion"]),
                    content["ids"],
                    str(content["fingerprint"]),
                    datetime.fromisoformat(str(content["time"])),
                )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise GalleryError(
            f"{path} is damaged: {error}.", "Delete it: drift is then measured from the next index on."
        ) from error
    raise GalleryError(f"{path} has format {version}; this version reads {_FORMAT_VERSION}.", "Upgrade sbka-milvus.")


def has_reference(gallery: Gallery) -> bool:
    """Whether there is a reference for the gallery's model.

    Raises:
        GalleryError: There is one, and it is damaged.
    """
    found = read_reference(gallery)
    return found is not None and found.fingerprint == gallery.fingerprint


def distortions(vectors: FloatArray, centroids: FloatArray) -> FloatArray:
    """How far each vector is from the nearest centroid.

    Args:
        vectors: shape (N, D), float32, unit rows.
        centroids: shape (K, D), float32, unit rows.

    Returns:
        shape (N,), float32: 1 - cosine, 0 to 2.

    Raises:
        InvalidValue: The shapes do not fit, or rows are not unit vectors.
    """
    nearest = assign_clusters(vectors, centroids)
    return np.asarray(1.0 - np.einsum("nd,nd->n", vectors, centroids[nearest]), dtype=np.float32)


def _left_out_distortions(vectors: FloatArray, centroids: FloatArray) -> FloatArray:
    """As :func:`distortions`, each photo against the centroid that its cluster would have without it.

    Centroids lie nearer to the photos they are the means of than to any others of the same kind; in a small gallery
    that alone would look like a drift of a tenth or more.
    """
    nearest = assign_clusters(vectors, centroids)
    sums = member_sums(vectors, nearest, len(centroids))
    squares = np.einsum("kd,kd->k", sums, sums)
    result = np.empty(len(vectors), dtype=np.float32)
    step = max(1, min(_ROWS_PER_BLOCK, _SCORES_PER_BLOCK // len(centroids)))
    for start in range(0, len(vectors), step):
        part, own = vectors[start : start + step], nearest[start : start + step]
        scores = part @ centroids.T
        along = np.einsum("nd,nd->n", part, sums[own])
        length = np.sqrt(np.maximum(squares[own] - 2 * along + 1, 0.0))
        # A photo that is alone in its cluster has only the other clusters.
        without = np.where(length > 1e-3, (along - 1) / np.maximum(length, 1e-3), -1.0)
        scores[np.arange(len(part)), own] = without
        result[start : start + step] = 1.0 - scores.max(axis=1)
    return result
