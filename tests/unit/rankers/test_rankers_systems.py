"""The recommended rankers, whole."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus import rankers
from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import AlignedRanker, Plain, full_system, linear_system, mean_of


def test_all_together_beats_the_linear_one_and_that_one_plain_ranking(world):
    systems = {
        "plain": Plain(),
        "aligned": AlignedRanker(Plain(), sketch_mean=mean_of(world.training)),
        "linear": linear_system(world.training, 10),
        "full": full_system(world.training, 10),
    }
    worth = {
        name: world.average_precision(system.scores(world.queries, world.gallery)) for name, system in systems.items()
    }
    assert worth["plain"] < worth["aligned"] < worth["linear"] < worth["full"]


def test_one_query_is_ranked_as_it_is_among_many(world):
    """Nothing is learnt from the queries at hand."""
    system = full_system(world.training, 10)
    together = system.scores(world.queries[:5], world.gallery)
    alone = np.concatenate([system.scores(world.queries[row : row + 1], world.gallery) for row in range(5)])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_the_order_of_the_photos_does_not_change_what_aligns_them(world):
    """Clusterings may change by it; the alignment must not."""
    order = np.random.default_rng(0).permutation(len(world.gallery))
    ranker = AlignedRanker(Plain(), rankers.AlignmentOptions("projected", 8), mean_of(world.training))
    straight = ranker.scores(world.queries, world.gallery)
    np.testing.assert_allclose(ranker.scores(world.queries, world.gallery[order]), straight[:, order], atol=1e-5)


def test_training_sketches_are_needed(world):
    with pytest.raises(InvalidValue):
        full_system(world.training[:0], 10)


def test_all_public_names_exist():
    assert sorted(rankers.__all__) == rankers.__all__
    for name in rankers.__all__:
        assert getattr(rankers, name) is not None
