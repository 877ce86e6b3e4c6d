"""Photos join clusters whose centroids stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.clusters import assign_clusters, fit_clusters, join_clusters
from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import Embeddings, normalise


def named(vectors: np.ndarray) -> Embeddings:
    return Embeddings(tuple(f"{number:05d}.jpg" for number in range(len(vectors))), normalise(vectors))


def part(embeddings: Embeddings, rows: np.ndarray) -> Embeddings:
    return Embeddings(tuple(embeddings.uris[row] for row in rows), embeddings.vectors[rows])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(n=st.integers(2, 60), dim=st.integers(2, 12), copies=st.integers(1, 3), seed=st.integers(0, 2**31 - 1))
def test_a_photo_of_the_fit_stays_in_its_cluster_in_whichever_company(n, dim, copies, seed):
    rng = np.random.default_rng(seed)
    gallery = named(np.tile(rng.normal(size=(n, dim)), (copies, 1)))
    fitted = fit_clusters(gallery, max(1, n // 3), seed=seed)
    rows = rng.permutation(len(gallery))[: rng.integers(1, len(gallery) + 1)]
    again = join_clusters(part(gallery, rows), fitted.table.centroids)
    np.testing.assert_array_equal(again.assignments, fitted.assignments[rows])
    assert again.table.sizes.sum() == len(rows)
    np.testing.assert_array_equal(again.table.centroids, fitted.table.centroids)


def test_sizes_radii_and_exemplars_are_those_of_the_members_there_are():
    centroids = np.eye(3, dtype=np.float32)
    joined = join_clusters(named(np.array([[1.0, 0, 0], [1, 1e-3, 0], [0, 1, 1e-2]])), centroids)
    assert joined.table.sizes.tolist() == [2, 1, 0]
    assert joined.table.exemplars == (("00000.jpg", "00001.jpg"), ("00002.jpg",), ())
    np.testing.assert_allclose(joined.table.radii, [1e-3, 1e-2, 0], atol=5e-4)


def test_centroids_of_another_dimension_are_refused():
    with pytest.raises(InvalidValue, match="do not fit"):
        join_clusters(named(np.eye(3)), np.eye(4, dtype=np.float32))


def test_centroids_that_differ_by_rounding_alone_are_one():
    """Photos that nearly coincide may have got two: which of them a photo goes to must not depend on its company."""
    rng = np.random.default_rng(0)
    first = normalise(rng.normal(size=(1, 512)))
    centroids = normalise(np.concatenate([first, first + 1e-8 * rng.normal(size=(40, 512))]))
    near = normalise(first + 1e-8 * rng.normal(size=(300, 512)))
    assert set(assign_clusters(near, centroids).tolist()) == {0}
