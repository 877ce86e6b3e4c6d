"""The first hits join the sketch."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import Expanded, Fused, Plain
from sbka_milvus.types import normalise


def test_one_hit_by_hand():
    """The nearest photo lies at 30 degrees; half and half with the sketch that is a query at 15 degrees."""
    angles = np.radians([30, 45])
    gallery = normalise(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    query = np.array([[1, 0]], dtype=np.float32)
    found = Expanded(Plain(), 1, 0.5).scores(query, gallery)
    np.testing.assert_allclose(found, [np.cos(np.radians([15, 30]))], atol=1e-6)


def test_without_weight_it_is_the_base(world):
    base = Fused(8)
    np.testing.assert_allclose(
        Expanded(base, 5, 0.0).scores(world.queries, world.gallery),
        base.scores(world.queries, world.gallery),
        atol=1e-6,
    )


@pytest.mark.parametrize("base", [Plain(), Fused(12, n_clusterings=3)])
def test_expansion_helps(world, base):
    plain, expanded = (
        world.average_precision(ranker.scores(world.queries, world.gallery)) for ranker in (base, Expanded(base))
    )
    assert expanded > 1.01 * plain


def test_hits_that_cancel_out_leave_the_sketch_as_it_is():
    gallery = np.array([[0, 1], [0, -1]], dtype=np.float32)
    query = np.array([[1, 0]], dtype=np.float32)
    np.testing.assert_allclose(Expanded(Plain(), 2, 1.0).scores(query, gallery), [[0, 0]], atol=1e-7)


def test_bad_numbers_are_refused():
    with pytest.raises(InvalidValue, match="n_hits is 0"):
        Expanded(Plain(), 0)
    with pytest.raises(InvalidValue, match="weight is -1"):
        Expanded(Plain(), 1, -1.0)
