"""Vectors for benchmarks/search.py: drawn with the spread that a real encoder's have, or real ones.

**Drawn.** What was measured on the features of a MobileNetV2 that was trained on sketches and photos (ladder_train.py,
one_way), seen categories: a photo's squared length is 0.24 in the mean of all photos, 0.24 in its category's centre and
0.52 around that, with spectra that fall slowly; a sketch's centre points 0.5 as its category's does. Categories are
three times the square root of the number of photos, of uneven sizes. Clusters are those that the library fits:
k-means, 1.25 times the square root. Cosines of sketches with photos of their own category come out at 0.35, of others
at 0.24, as measured; members lie 50 degrees from their centroid, as measured.

**Real.** ``vectors.npz`` of a folder of ladder_train.py: photos and sketches of unseen categories, and the photos of
seen ones beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sbka_milvus.clusters import fit_clusters
from sbka_milvus.clusters.statistics import ClusterStatistics
from sbka_milvus.types import Clustering, Embeddings, FloatArray, normalise

DIM = 512
BLOCK = 50_000
_COMMON, _BETWEEN, _WITHIN = 0.24, 0.24, 0.52
_SKETCH_COMMON, _SKETCH_OWN, _SKETCH_WITHIN = 0.235, 0.05, 0.45
_CENTRES_COSINE = 0.5


@dataclass(frozen=True)
class Gallery:
    """Photos in clusters, and queries.

    Attributes:
        embeddings: N photos.
        clustering: their clusters.
        queries: shape (Q, D), float32, unit rows.
    """

    embeddings: Embeddings
    clustering: Clustering
    queries: FloatArray

    @property
    def described(self) -> dict[str, Any]:
        """Sizes and statistics of the clusters."""
        found = ClusterStatistics.of(self.clustering.table).to_dict()
        cosines = np.einsum(
            "nd,nd->n", self.embeddings.vectors, self.clustering.table.centroids[self.clustering.assignments]
        )
        return {key: round(value, 2) if isinstance(value, float) else value for key, value in found.items()} | {
            "dim": self.embeddings.dim,
            "member_angle_p50": round(float(np.degrees(np.arccos(np.median(cosines)))), 1),
        }


def drawn(rows: int, queries: int, seed: int = 0) -> Gallery:
    """A gallery of vectors as a trained encoder's are spread."""
    rng = np.random.default_rng(seed)
    n_categories = int(3 * rows**0.5)
    between = _spectrum(10, _BETWEEN, most=200)
    within = _spectrum(60, _WITHIN)
    centres = rng.standard_normal((n_categories, DIM)) * between
    shares = rng.lognormal(0, 0.6, n_categories)
    categories = rng.choice(n_categories, rows, p=shares / shares.sum())
    turned, turned_sketches = _rotation(rng), _rotation(rng)
    common, own = np.eye(DIM)[:2]
    vectors = np.empty((rows, DIM), dtype=np.float32)
    for start in range(0, rows, BLOCK):
        part = categories[start : start + BLOCK]
        around = (rng.standard_normal((len(part), DIM)) * within) @ turned
        vectors[start : start + BLOCK] = normalise(_COMMON**0.5 * common + centres[part] + around)
    wanted = rng.integers(n_categories, size=queries)
    meant = _CENTRES_COSINE * centres[wanted] + (1 - _CENTRES_COSINE**2) ** 0.5 * (
        rng.standard_normal((queries, DIM)) * between
    )
    around = (rng.standard_normal((queries, DIM)) * within * (_SKETCH_WITHIN / _WITHIN) ** 0.5) @ turned_sketches
    sketches = normalise(_SKETCH_COMMON**0.5 * common + _SKETCH_OWN**0.5 * own + meant + around)
    uris = tuple(f"/photos/{category:05d}/{row:08d}.jpg" for row, category in enumerate(categories.tolist()))
    return _clustered(Embeddings(uris, vectors), sketches, int(1.25 * rows**0.5))


def real(folder: Path) -> Gallery:
    """The photos of a training of the ladder, and the sketches of its unseen categories."""
    with np.load(folder / "vectors.npz") as found:
        photos = np.concatenate([found[f"{part}_p"] for part in ("seen", "val", "unseen")])
        names = [
            f"{part}/{category}/{name}"
            for part in ("seen", "val", "unseen")
            for category, name in zip(found[f"{part}_pc"], found[f"{part}_pn"], strict=True)
        ]
        sketches = found["unseen_s"]
    return _clustered(Embeddings(tuple(names), photos), sketches, int(1.25 * len(photos) ** 0.5))


def _clustered(embeddings: Embeddings, queries: FloatArray, n_clusters: int) -> Gallery:
    return Gallery(embeddings, fit_clusters(embeddings, n_clusters), queries)


def _spectrum(flat: int, energy: float, most: int = DIM) -> Any:
    scales = 1 / np.sqrt(np.arange(1, DIM + 1) + flat)
    scales[most:] = 0
    return scales * (energy / (scales**2).sum()) ** 0.5


def _rotation(rng: np.random.Generator) -> Any:
    return np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
