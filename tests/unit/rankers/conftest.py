"""Small worlds of vectors: categories that overlap, sketches that lie beside their photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sbka_milvus.types import FloatArray, normalise


@dataclass(frozen=True)
class World:
    """Sketches and photos of some categories; ``training`` are sketches of other categories."""

    queries: FloatArray
    query_labels: np.ndarray
    gallery: FloatArray
    labels: np.ndarray
    training: FloatArray
    cohort: FloatArray

    def average_precision(self, scores: FloatArray) -> float:
        order = np.argsort(-scores, axis=1, kind="stable")
        hit = self.labels[order] == self.query_labels[:, None]
        precision = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
        return float(((precision * hit).sum(axis=1) / hit.sum(axis=1)).mean())


def make_world(n_categories: int = 8, n_each: int = 20, dim: int = 256, noise: float = 1.3, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(12, dim)) / np.sqrt(dim)
    photo_shift, sketch_shift = 1.5 * rng.normal(size=(2, dim)) / np.sqrt(dim)

    def draw(centres: np.ndarray, each: int, shift: np.ndarray, spread: float) -> tuple[FloatArray, np.ndarray]:
        labels = np.arange(len(centres) * each) % len(centres)
        inside = centres[labels] @ signal + 0.25 * rng.normal(size=(len(labels), 12)) @ signal
        return normalise(inside + shift + spread * rng.normal(size=(len(labels), dim)) / np.sqrt(dim)), labels

    centres, others = rng.normal(size=(2, n_categories, 12)) / np.sqrt(12)
    gallery, labels = draw(centres, n_each, photo_shift, noise / 2)
    queries, query_labels = draw(centres, n_each, sketch_shift, noise)
    training, _ = draw(others, n_each, sketch_shift, noise)
    cohort, _ = draw(others, n_each, photo_shift, noise / 2)
    return World(queries, query_labels, gallery, labels, training, cohort)


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()
