"""Cluster drift: whether the photos that joined a gallery still look like those its clusters were made of.

    drift = E_new / E_ref - 1,    E = mean over photos of (1 - cosine to the nearest centroid of the reference)

E_new is over the photos that joined since the reference was written, E_ref over the reference's own photos, each
measured against centroids that it did not shape. 0: new photos fit as well as the old ones did; 0.25: they lie a
quarter farther away; below 0: they are nearer to the clusters than the old ones. Only photos count, no queries and no
labels. A photo whose file has changed keeps its URI and is not new.

The reference of a gallery's model says whether the *model* may have to be trained anew (``sbka retrain``), that of the
served clusters whether *those* have to be (:mod:`~sbka_milvus.pipelines.origin`). The formula is the same.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import list_shards, read_records
from sbka_milvus.errors import OutputError
from sbka_milvus.files import replacing
from sbka_milvus.pipelines.reference import Reference, distortions, read_reference
from sbka_milvus.types import Embeddings, FloatArray, photo_id

MIN_NEW_PHOTOS = 50
"""Fewer new photos than these say nothing: their mean is too uncertain."""
_LEAST_DISTORTION = 1e-4  # of a reference whose photos coincide, so that drift stays finite
_CACHE = "drift.json"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How far a gallery has drifted.

    Attributes:
        drift: E_new / E_ref - 1; 0 where there are not enough new photos.
        reference_distortion: E_ref.
        new_distortion: E_new; 0 where there is no new photo.
        n_new: photos that joined since the reference was written.
        enough: whether there are at least :data:`MIN_NEW_PHOTOS` of them.
        reference: when the reference was written, ISO 8601; empty where there is none for the gallery's model.
    """

    drift: float = 0.0
    reference_distortion: float = 0.0
    new_distortion: float = 0.0
    n_new: int = 0
    enough: bool = False
    reference: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure_drift(gallery: Gallery, embeddings: Embeddings) -> DriftReport:
    """Drift of photos that are in memory.

    Args:
        gallery: whose reference to compare with.
        embeddings: its photos, vectors by its model.

    Raises:
        GalleryError: The reference is damaged.
        InvalidValue: The vectors have another dimension than the reference.
    """
    reference = _own_reference(gallery)
    return DriftReport() if reference is None else drift_from(reference, embeddings)


def drift_from(reference: Reference, embeddings: Embeddings) -> DriftReport:
    """Drift of photos that are in memory from any reference.

    Args:
        reference: what to compare with.
        embeddings: photos, vectors by the reference's model.

    Raises:
        InvalidValue: The vectors have another dimension than the reference.
    """
    new = ~reference.holds(embeddings.ids)
    return _report(reference, distortions(embeddings.vectors[new], reference.centroids))


def drift_of(gallery: Gallery) -> DriftReport:
    """Drift of the photos in a gallery's shards, one shard in memory at a time.

    What was measured is kept in ``drift.json`` for as long as neither shards nor reference change.

    Raises:
        GalleryError: The reference or a shard is damaged.
        EncoderMismatch: A shard was made by another encoder.
    """
    reference = _own_reference(gallery)
    if reference is None:
        return DriftReport()
    names = [path.name for path in list_shards(gallery.shard_folder)]
    state = [names, gallery.fingerprint, reference.time.isoformat(), MIN_NEW_PHOTOS]
    key = hashlib.blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()
    kept = _kept(gallery, key)
    if kept is not None:
        return kept
    report = _report(reference, _new_distortions(gallery, reference))
    with suppress(OutputError), replacing(gallery.root / _CACHE) as file:
        file.write(json.dumps({"key": key, "report": report.to_dict()}).encode())
    return report


def _own_reference(gallery: Gallery) -> Reference | None:
    """Vectors of another model cannot be compared."""
    reference = read_reference(gallery)
    return reference if reference is not None and reference.fingerprint == gallery.fingerprint else None


def _new_distortions(gallery: Gallery, reference: Reference) -> FloatArray:
    found: dict[int, float] = {}
    for records in read_records(gallery.shard_folder, gallery.fingerprint):
        ids = np.fromiter((photo_id(uri) for uri in records.uris), dtype=np.int64, count=len(records))
        new = ~reference.holds(ids)
        # A photo may come again: the newest vector counts, as in the index.
        values = distortions(records.vectors[new], reference.centroids)
        found.update(zip(ids[new].tolist(), values.tolist(), strict=True))
    return np.fromiter(found.values(), dtype=np.float32, count=len(found))


def _report(reference: Reference, new: FloatArray) -> DriftReport:
    old = max(reference.distortion, _LEAST_DISTORTION)
    mean = float(new.mean(dtype=np.float64)) if len(new) else 0.0
    enough = len(new) >= MIN_NEW_PHOTOS
    return DriftReport(
        mean / old - 1 if enough else 0.0, reference.distortion, mean, len(new), enough, reference.time.isoformat()
    )


def _kept(gallery: Gallery, key: str) -> DriftReport | None:
    try:
        content = json.loads((gallery.root / _CACHE).read_text(encoding="utf-8"))
        return DriftReport(**content["report"]) if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is only kept to save time
