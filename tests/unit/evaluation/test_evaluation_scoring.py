import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import (
    average_precision,
    mean_average_precision,
    precision_at_k,
    relevance_matrix,
    score_categories,
    score_chance,
    score_rankings,
)

QUERIES = np.array([0, 1, 1])
COUNTS = np.array([2, 2, 1])
RANKED = np.array([[0, 1, 0, 1, 2], [1, 1, 0, 0, 2], [0, 0, 1, 1, 2]])


def test_scores_of_a_case_computed_by_hand():
    scores = score_rankings("one-to-one", RANKED, QUERIES, COUNTS, (1, 2), map_ks=(1, 3))
    assert scores.method == "one-to-one"
    assert scores.values == pytest.approx(
        {
            "mAP@all": (5 / 6 + 1 + 5 / 12) / 3,
            "mAP@1": 2 / 3,
            "mAP@3": (5 / 6 + 1 + 1 / 6) / 3,
            "P@1": 2 / 3,
            "P@2": (0.5 + 1 + 0) / 3,
        }
    )


def test_default_metrics_stand_in_the_order_of_the_papers():
    assert list(score_rankings("m", RANKED, QUERIES, COUNTS).values) == ["mAP@all", "mAP@200", "P@10", "P@25", "P@100"]


def test_short_rankings_pay_for_what_they_did_not_find():
    scores = score_rankings("m", [[0], [1, 1], []], QUERIES, COUNTS, (2,), map_ks=())
    assert scores.values == pytest.approx({"mAP@all": (0.5 + 1 + 0) / 3, "P@2": (0.5 + 1 + 0) / 3})


def test_scores_over_several_blocks_are_the_means_of_the_metrics():
    rng = np.random.default_rng(5)
    queries = rng.integers(0, 6, 1100)
    ranked = rng.permuted(np.tile(np.repeat(np.arange(6), 4), (1100, 1)), axis=1)
    relevant = relevance_matrix(ranked, queries)
    scores = score_rankings("m", ranked, queries, np.full(6, 4), (3,), map_ks=(5,)).values
    assert scores["mAP@all"] == pytest.approx(mean_average_precision(relevant))
    assert scores["mAP@5"] == pytest.approx(mean_average_precision(relevant, k=5))
    assert scores["P@3"] == pytest.approx(precision_at_k(relevant, 3).mean())


def test_chance_is_what_random_rankings_score():
    rng = np.random.default_rng(6)
    queries, counts = np.arange(3000) % 3, np.array([5, 9, 2])
    ranked = rng.permuted(np.tile(np.repeat(np.arange(3), counts), (3000, 1)), axis=1)
    drawn = score_rankings("drawn", ranked, queries, counts, (4, 40), map_ks=(6,))
    chance = score_chance(queries, counts, (4, 40), map_ks=(6,))
    assert chance.method == "chance"
    assert list(chance.values) == list(drawn.values)
    assert chance.values == pytest.approx(drawn.values, abs=0.02)


def test_categories_have_the_mean_of_their_own_queries():
    table = score_categories(RANKED, QUERIES, COUNTS, ("ant", "bee", "cat"))
    assert table == pytest.approx({"ant": 5 / 6, "bee": (1 + 5 / 12) / 2})
    assert list(table) == ["ant", "bee"]
    ap = average_precision(relevance_matrix(RANKED, QUERIES))
    assert np.average(list(table.values()), weights=[1, 2]) == pytest.approx(ap.mean())


def test_names_must_fit_the_categories():
    with pytest.raises(InvalidValue, match="2 category names"):
        score_categories(RANKED, QUERIES, COUNTS, ("ant", "bee"))
    with pytest.raises(InvalidValue, match="2 of them distinct"):
        score_categories(RANKED, QUERIES, COUNTS, ("ant", "bee", "ant"))


def test_queries_without_a_photo_of_their_category_are_refused_by_number():
    counts = np.array([4, 0, 1])
    with pytest.raises(InvalidValue, match="2 of 3 queries have no photo of their category"):
        score_rankings("m", RANKED, QUERIES, counts)
    with pytest.raises(InvalidValue, match="2 of 3 queries"):
        score_chance(QUERIES, counts)
    with pytest.raises(InvalidValue, match="2 of 3 queries"):
        score_categories(RANKED, QUERIES, counts, ("ant", "bee", "cat"))


def test_no_queries_and_photos_ranked_twice_are_refused():
    nothing = np.zeros(0, dtype=np.int64)
    with pytest.raises(InvalidValue, match="no query"):
        score_rankings("m", [], nothing, COUNTS)
    with pytest.raises(InvalidValue, match="rank no photo twice"):
        score_rankings("m", [[0, 0, 0]], np.array([0]), COUNTS)
    with pytest.raises(InvalidValue, match="2 rankings for 3 queries"):
        score_rankings("m", RANKED[:2], QUERIES, COUNTS)


def test_a_perfect_score_is_exactly_one():
    queries = np.zeros(1001, dtype=np.int64)
    ranked = np.zeros((1001, 49), dtype=np.int64)
    values = score_rankings("m", ranked, queries, np.array([49]), (49,), map_ks=(7,)).values
    assert values == {"mAP@all": 1.0, "mAP@7": 1.0, "P@49": 1.0}
    assert score_chance(queries, np.array([49]), (49,), map_ks=(7,)).values == values
