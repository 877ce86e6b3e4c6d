"""Simulated searches: half of the categories there, others behind them."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import Labelled, linear_system
from sbka_milvus.rankers.fused import Fused
from sbka_milvus.rankers.served_features import SERVED_FEATURES
from sbka_milvus.rankers.served_simulation import SHARES, ServedSearch, joined, simulate_served


def parts(world, categories=range(8)) -> tuple[Labelled, Labelled, Labelled]:
    asked, held = np.isin(world.query_labels, categories), np.isin(world.labels, categories)
    return (
        Labelled(world.queries[asked], [f"c{label}" for label in world.query_labels[asked]]),
        Labelled(world.gallery[held], [f"c{label}" for label in world.labels[held]]),
        Labelled(world.cohort, [f"other{number % 8}" for number in range(len(world.cohort))]),
    )


@pytest.fixture(params=["fused", "linear"])
def search(request, world):
    return ServedSearch(request.param, lambda n: max(1, n // 20), world.training)


def test_a_sketch_is_as_often_with_an_answer_as_without(world, search):
    rounds = list(simulate_served(*parts(world), search, n_rounds=4))
    assert [one.features.shape for one in rounds] == [(len(world.queries), len(SERVED_FEATURES))] * 4
    assert (rounds[0].present != rounds[1].present).all()
    assert (rounds[2].present != rounds[3].present).all()
    whole = joined(rounds)
    assert len(whole.present) == 4 * len(world.queries)
    assert not (whole.correct & ~whole.present).any()
    assert whole.correct[whole.present].mean() > 0.4


def test_the_same_seed_gives_the_same_evidence(world, search):
    one, again, other = (
        joined(list(simulate_served(*parts(world), search, n_rounds=2, seed=seed))) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.features, again.features)
    assert not np.array_equal(one.present, other.present)


def test_photos_of_the_backdrop_join_round_by_round(world):
    asked: list[int] = []

    def n_clusters(n_photos: int) -> int:
        asked.append(n_photos)
        return 2

    list(simulate_served(*parts(world), ServedSearch("fused", n_clusters, world.training), n_rounds=6))
    half, a_category = len(world.gallery) // 2, len(world.cohort) // 8
    expected = [half + int(share * 8) * a_category for share in SHARES for _ in range(2)]
    assert asked == expected


def test_the_scores_are_those_of_the_rankers(world, search):
    space, scores, clusters = search.search(world.queries, world.gallery)
    k = len(world.gallery) // 20
    ranker = Fused(k) if search.form == "fused" else linear_system(world.training, k)
    np.testing.assert_allclose(scores, ranker.scores(world.queries, world.gallery), atol=1e-6)
    assert space.form == search.form
    assert clusters.shape == (len(world.gallery),)
    assert set(clusters.tolist()) <= set(range(len(space.centroids)))


def test_what_does_not_fit_is_refused(world, search):
    sketches, photos, backdrop = parts(world)
    with pytest.raises(InvalidValue, match="at least two categories"):
        list(simulate_served(*parts(world, range(1))[:2], backdrop, search))
    with pytest.raises(InvalidValue, match="must differ"):
        list(simulate_served(sketches, photos, photos, search))
    with pytest.raises(InvalidValue, match="every sketch needs photos"):
        list(simulate_served(sketches, parts(world, range(4))[1], backdrop, search))
    with pytest.raises(InvalidValue, match="at least two categories"):
        list(simulate_served(sketches, photos, backdrop, search, n_rounds=0))
