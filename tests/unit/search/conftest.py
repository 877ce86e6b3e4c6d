"""Random clustered galleries, and an oracle that ranks them by brute force."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import (
    Clustering,
    ClusterTable,
    Embeddings,
    FloatArray,
    GalleryRows,
    Hit,
    IntArray,
    VersionInfo,
    normalise,
)


class World:
    """N photos around K centroids, and queries near them."""

    def __init__(self, n: int, k: int, dim: int, seed: int = 0, name: str = "photos") -> None:
        rng = np.random.default_rng(seed)
        centroids = normalise(rng.normal(size=(k, dim)))
        # Each cluster has a photo; the others fall unevenly.
        assignments = np.concatenate([np.arange(k), rng.integers(0, rng.integers(1, k + 1), size=n - k)])
        vectors = normalise(centroids[assignments] + rng.uniform(0.1, 2) * rng.normal(size=(n, dim)) / np.sqrt(dim))
        uris = tuple(f"{name}/{number:05d}.jpg" for number in range(n))
        table = ClusterTable(
            centroids,
            np.bincount(assignments, minlength=k).astype(np.int64),
            np.full(k, np.pi, dtype=np.float32),
            tuple((uris[cluster],) for cluster in range(k)),
        )
        self.embeddings = Embeddings(uris, vectors)
        self.clustering = Clustering(table, assignments.astype(np.int64))
        self._rng = rng

    @property
    def table(self) -> ClusterTable:
        return self.clustering.table

    def queries(self, n: int) -> FloatArray:
        rows = self._rng.integers(len(self.embeddings), size=n)
        vectors = self.embeddings.vectors[rows]
        return normalise(vectors + self._rng.normal(size=vectors.shape) / np.sqrt(vectors.shape[1]))

    def insert(self, store: GalleryStore, gallery: str = "cats", fingerprint: str = "model-1") -> VersionInfo:
        info = store.create_version(gallery, fingerprint, self.table)
        store.insert(info, GalleryRows(self.embeddings, self.clustering.assignments))
        return info

    def serve(self, store: GalleryStore, gallery: str = "cats", fingerprint: str = "model-1") -> VersionInfo:
        info = self.insert(store, gallery, fingerprint)
        store.promote(info)
        return info

    def probes(self, query: FloatArray, n_probe: int | None) -> IntArray:
        return np.argsort(-(self.table.centroids @ query), kind="stable")[:n_probe]

    def ranked(self, query: FloatArray, weight: float, n_probe: int | None) -> tuple[list[str], np.ndarray]:
        """All photos of the probed clusters by brute force in float64: URIs, best first, and their scores."""
        wide = query.astype(np.float64)
        clusters = self.table.centroids.astype(np.float64) @ wide
        members = self.embeddings.vectors.astype(np.float64) @ wide
        scores = weight * clusters[self.clustering.assignments] + (1 - weight) * members
        rows = np.flatnonzero(np.isin(self.clustering.assignments, self.probes(query, n_probe)))
        order = rows[np.argsort(-scores[rows], kind="stable")]
        return [self.embeddings.uris[row] for row in order], scores[order]

    def check(self, hits: Sequence[Hit], query: FloatArray, k: int, weight: float, n_probe: int | None) -> None:
        """The hits are the k best of the oracle; photos whose scores are within 1e-6 may change places."""
        uris, scores = self.ranked(query, weight, n_probe)
        score_of = dict(zip(uris, scores.tolist(), strict=True))
        assert len(hits) == min(k, len(uris))
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert len({hit.uri for hit in hits}) == len(hits)
        np.testing.assert_allclose([hit.score for hit in hits], scores[:k], atol=1e-6)
        np.testing.assert_allclose([hit.score for hit in hits], [score_of[hit.uri] for hit in hits], atol=1e-6)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    return World
