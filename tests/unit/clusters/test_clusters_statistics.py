"""Balance and radii, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sbka_milvus.clusters import ClusterStatistics
from sbka_milvus.types import ClusterTable, normalise


def table(sizes: list[int], degrees: list[float] | None = None) -> ClusterTable:
    k = len(sizes)
    radii = np.radians(degrees if degrees is not None else np.zeros(k)).astype(np.float32)
    centroids = normalise(np.random.default_rng(0).normal(size=(k, 4)))
    return ClusterTable(centroids, np.array(sizes, dtype=np.int64), radii, ((),) * k)


def test_equal_clusters_are_even():
    found = ClusterStatistics.of(table([7] * 6))
    assert (found.photos, found.clusters, found.empty, found.tiny, found.giant) == (42, 6, 0, 0, 0)
    assert (found.size_p5, found.size_p50, found.size_p95, found.size_max) == (7, 7, 7, 7)
    assert found.evenness == pytest.approx(1.0)


def test_empty_tiny_and_giant_ones_are_counted():
    found = ClusterStatistics.of(table([0, 0, 1, 2, 3, 10, 10, 10, 51]))
    assert (found.photos, found.empty, found.tiny, found.giant) == (87, 2, 2, 1)
    assert (found.size_p50, found.size_max) == (10, 51)
    assert ClusterStatistics.of(table([0, 0, 1, 2, 3, 10, 10, 10, 50])).giant == 0


def test_evenness_is_the_entropy_over_that_of_equal_clusters():
    found = ClusterStatistics.of(table([1, 3]))
    assert found.evenness == pytest.approx(-(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)))
    assert ClusterStatistics.of(table([9])).evenness == 1.0


def test_radii_are_in_degrees_and_of_clusters_that_hold_photos():
    found = ClusterStatistics.of(table([5, 5, 5, 0], [10, 20, 30, 0]))
    assert (found.radius_p50, found.radius_p95) == (pytest.approx(20, abs=1e-4), pytest.approx(29, abs=1e-4))


def test_a_version_without_photos_has_statistics_too():
    found = ClusterStatistics.of(table([0, 0]))
    assert (found.photos, found.empty, found.size_max) == (0, 2, 0)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
