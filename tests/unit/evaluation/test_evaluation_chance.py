from itertools import combinations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import (
    PROTOCOLS,
    average_precision,
    expected_random_average_precision,
    expected_random_precision_at_k,
    hit_ranks,
    precision_at_k,
    simulated_random_average_precision,
)
from sbka_milvus.evaluation.chance import expected_random_recall


def every_ranking(n_relevant: int, n_gallery: int) -> np.ndarray:
    places = list(combinations(range(n_gallery), n_relevant))
    rankings = np.zeros((len(places), n_gallery), dtype=bool)
    for ranking, place in zip(rankings, places, strict=True):
        ranking[list(place)] = True
    return rankings


@pytest.mark.parametrize("n_gallery", [1, 2, 5, 7])
@pytest.mark.parametrize("k", [None, 1, 3, 9])
def test_chance_is_the_mean_over_every_ranking_there_is(n_gallery, k):
    for n_relevant in range(1, n_gallery + 1):
        rankings = every_ranking(n_relevant, n_gallery)
        expected = expected_random_average_precision(n_relevant, n_gallery, k)
        assert float(expected) == pytest.approx(average_precision(rankings, k=k).mean())
        if k is not None:
            at_k = expected_random_precision_at_k(n_relevant, n_gallery, k)
            assert float(at_k) == pytest.approx(precision_at_k(rankings, k).mean())


def test_chance_agrees_with_a_simulation_of_the_benchmark_of_625_photos():
    rng = np.random.default_rng(7)
    ranking = np.zeros((2000, 625), dtype=bool)
    ranking[:, :25] = True
    simulated = average_precision(rng.permuted(ranking, axis=1))
    expected = float(expected_random_average_precision(25, 625))
    assert expected == pytest.approx(simulated.mean(), abs=4 * simulated.std() / np.sqrt(len(simulated)))
    assert expected == pytest.approx(((625 - 7.0157) * 24 / 624 + 7.0157) / 625, rel=1e-5)


def test_chance_keeps_the_shape_of_the_counts():
    counts = np.array([1, 2, 4])
    assert expected_random_average_precision(counts, 4)[-1] == pytest.approx(1.0)
    assert expected_random_precision_at_k(counts, 4, 2) == pytest.approx([0.25, 0.5, 1.0])
    assert expected_random_precision_at_k(counts, 4, 8) == pytest.approx([0.125, 0.25, 0.5])


@pytest.mark.parametrize("n_relevant", [0, 5, np.array([1, 0]), np.array([1.0])])
def test_chance_refuses_counts_out_of_range(n_relevant):
    with pytest.raises(InvalidValue, match="n_gallery, which is 4"):
        expected_random_average_precision(n_relevant, 4)
    with pytest.raises(InvalidValue, match="n_gallery, which is 4"):
        expected_random_precision_at_k(n_relevant, 4, 1)


@pytest.mark.parametrize("n_gallery", [1, 2, 5, 7])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_chance_of_the_lenient_form_is_the_mean_over_every_ranking(n_gallery, k):
    for n_relevant in range(1, n_gallery + 1):
        rankings = every_ranking(n_relevant, n_gallery)
        expected = expected_random_average_precision(n_relevant, n_gallery, k, lenient=True)
        assert float(expected) == pytest.approx(average_precision(rankings, k=k, lenient=True).mean())


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("k", [1, 3, 9])
def test_chance_of_precision_follows_the_protocol(protocol, k):
    for n_relevant in range(1, 6):
        rankings = every_ranking(n_relevant, 5)
        counts = np.full(len(rankings), n_relevant)
        scored = protocol.precision(hit_ranks(rankings), k, counts, 5)
        assert float(expected_random_precision_at_k(n_relevant, 5, k, protocol)) == pytest.approx(scored.mean())


@pytest.mark.parametrize(("k", "lenient"), [(None, False), (3, False), (3, True)])
def test_simulated_chance_comes_close_to_the_mean_over_every_ranking(k, lenient):
    rankings = every_ranking(3, 9)
    exact = average_precision(rankings, k=k, interpolated=True, lenient=lenient)
    drawn = simulated_random_average_precision(np.array([3]), 9, k, lenient=lenient, draws=4000, seed=1)
    assert float(drawn[0]) == pytest.approx(exact.mean(), abs=4 * exact.std() / np.sqrt(4000))


def test_simulated_chance_is_the_same_for_the_same_seed_whatever_stands_beside_it():
    alone = simulated_random_average_precision(np.array([4]), 30, seed=3)
    among = simulated_random_average_precision(np.array([[2, 4], [4, 9]]), 30, seed=3)
    assert among.shape == (2, 2)
    assert among[0, 1] == among[1, 0] == alone[0]
    assert simulated_random_average_precision(np.array([4]), 30, seed=4) != alone


def test_chance_of_large_galleries_is_finite():
    counts = np.array([100, 684, 2000])
    chance = expected_random_average_precision(counts, 54_151, 200, lenient=True)
    assert ((chance > counts / 54_151 / 2) & (chance < 0.5)).all()


@pytest.mark.parametrize(("targets", "n_gallery", "k"), [(1, 5, 1), (2, 5, 2), (3, 5, 4), (1, 3, 10)])
def test_chance_of_recall_is_the_share_of_rankings_with_a_target_in_front(targets, n_gallery, k):
    expected = every_ranking(targets, n_gallery)[:, :k].any(axis=1).mean()
    assert expected_random_recall(np.array([targets]), n_gallery, k) == pytest.approx([expected])


def test_chance_of_recall_takes_a_gallery_for_each_query():
    assert expected_random_recall(np.array([1, 1]), np.array([4, 8]), 2) == pytest.approx([0.5, 0.25])
