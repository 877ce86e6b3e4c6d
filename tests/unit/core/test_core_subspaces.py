"""Sub-spaces and their codewords, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.subspaces import cut, quantised_scores, squared_distances


def test_the_parts_are_the_whole():
    rows = np.arange(21, dtype=np.float32).reshape(3, 7)
    parts = cut(rows, 3)
    assert [part.shape[1] for part in parts] == [3, 2, 2]
    assert np.array_equal(np.concatenate(parts, axis=1), rows)
    assert np.array_equal(cut(rows, 1)[0], rows)


def test_more_parts_than_dimensions_are_refused():
    with pytest.raises(InvalidValue, match="2 dimensions cannot be cut into 3"):
        cut(np.zeros((1, 2), dtype=np.float32), 3)


def test_scores_by_hand():
    """The photo's first half is nearest to (1, 0), its second to (0, 0): 1 + 0.25 from the query; plainly 0.36 off."""
    query = np.float32([[0, 0, 0.5, 0]])
    photo = np.float32([[0.6, 0, 0.5, 0]])
    codebooks = [np.float32([[1, 0], [0, 0.9]]), np.float32([[0, 0], [1.2, 0]])]
    found = quantised_scores(query, photo, codebooks, 0.75)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[-(0.75 * 1.25 + 0.25 * 0.6)]], atol=1e-6)
    np.testing.assert_allclose(quantised_scores(query, photo, codebooks), [[-(0.8 * 1.25 + 0.2 * 0.6)]], atol=1e-6)


def test_distances_are_never_negative():
    rows = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    found = squared_distances(rows, rows)
    assert (found >= 0).all()
    np.testing.assert_allclose(found, ((rows[:, None] - rows[None]) ** 2).sum(axis=2), atol=1e-3)
