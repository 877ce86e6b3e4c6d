"""Averages, intervals, differences, categories and chance, from the scores of single queries."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.evaluation import (
    EvaluationPlan,
    MethodScores,
    QueryScores,
    Resampling,
    Tally,
    Truth,
    average_curves,
    paired_difference,
    score_categories,
    score_chance,
    score_differences,
    score_drawn,
    score_methods,
)

PLAN = EvaluationPlan(ks=(1, 2), map_ks=(2,), resampling=Resampling(100))
SAKE = EvaluationPlan("sake", ks=(1,), map_ks=(), resampling=None)
# Photos: ant 0, 1; bee 2, 3. Queries: ant of photo 1, bee of photo 2, bee of photo 3.
TRUTH = Truth(
    ("ant", "bee"),
    np.array([0, 1, 1]),
    np.array([0, 0, 1, 1]),
    np.array([1, 2, 3]),
    np.arange(4),
    np.ones(4, dtype=bool),
)
GOOD = np.array([[1, 0, 2, 3], [2, 3, 0, 1], [3, 2, 1, 0]])
FAIR = np.array([[0, 2, 1, 3], [2, 0, 3, 1], [0, 1, 2, 3]])


def scored(method: str, ranked: np.ndarray, plan: EvaluationPlan = PLAN, truth: Truth = TRUTH) -> QueryScores:
    tally = Tally(method, truth, plan)
    tally.add(slice(0, len(ranked)), ranked)
    return tally.finish()


def rows_by_method(rows: tuple[MethodScores, ...]) -> dict[str, MethodScores]:
    return {row.method: row for row in rows}


def test_averages_of_a_case_computed_by_hand():
    rows = rows_by_method(score_methods([scored("fair", FAIR)], TRUTH, PLAN))
    # ant, bee, ant, bee: 5/6. bee, ant, bee, ant: 5/6. ant, ant, bee, bee for a bee: (1/3 + 2/4) / 2 = 5/12.
    assert rows["fair"].values == pytest.approx(
        {"mAP@all": (5 / 6 + 5 / 6 + 5 / 12) / 3, "mAP@2": 1 / 3, "mAP@2 lenient": 2 / 3, "P@1": 2 / 3, "P@2": 1 / 3}
    )
    assert list(rows) == ["chance", "fair"]


def test_a_category_counts_once_in_the_sake_protocol():
    row = score_methods([scored("fair", FAIR, SAKE)], TRUTH, SAKE)[1]
    assert row.values == pytest.approx({"mAP@all": (5 / 6 + (5 / 6 + 1 / 2) / 2) / 2, "P@1": (1 + 1 / 2) / 2})


def test_every_figure_of_every_method_has_an_interval_around_it():
    rows = rows_by_method(score_methods([scored("good", GOOD), scored("fair", FAIR)], TRUTH, PLAN))
    for method in ("good", "fair"):
        assert set(rows[method].intervals) == set(rows[method].values)
        for name, (low, high) in rows[method].intervals.items():
            assert low <= rows[method].values[name] <= high
    assert rows["good"].intervals["mAP@all"] == (1.0, 1.0)
    assert rows["fair"].intervals["P@1"] == (0.0, 1.0)
    assert rows["chance"].intervals == {}


def test_without_resampling_there_are_no_intervals_and_no_differences():
    scores = [scored("good", GOOD, SAKE), scored("fair", FAIR, SAKE)]
    assert all(row.intervals == {} for row in score_methods(scores, TRUTH, SAKE))
    assert score_differences(scores, TRUTH, SAKE) == ()


def test_differences_are_paired_and_against_the_first_method():
    scores = [scored("fair", FAIR), scored("good", GOOD), scored("same", FAIR)]
    found = {(one.method, one.metric): one for one in score_differences(scores, TRUTH, PLAN)}
    assert {method for method, _ in found} == {"good", "same"}
    assert {one.baseline for one in found.values()} == {"fair"}
    one = found["good", "mAP@all"]
    expected = paired_difference(
        scores[1].values["mAP@all"], scores[0].values["mAP@all"], TRUTH.labels, PLAN.rules, PLAN.resampling
    )
    assert (one.value, one.low, one.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert one.share_above == 1.0
    assert found["same", "P@1"].value == 0


def test_categories_have_their_counts_and_the_means_of_their_own_queries():
    ant, bee = score_categories([scored("good", GOOD), scored("fair", FAIR)], TRUTH)
    assert (ant.name, ant.n_queries, ant.n_photos) == ("ant", 1, 2)
    assert (bee.name, bee.n_queries, bee.n_photos) == ("bee", 2, 2)
    assert bee.values["fair"]["mAP@all"] == pytest.approx((5 / 6 + 5 / 12) / 2)
    assert bee.values["fair"]["P@1"] == 0.5
    assert bee.values["good"]["mAP@all"] == 1


def test_categories_without_a_query_have_no_row():
    truth = Truth(("ant", "bee"), np.array([1]), TRUTH.photo_labels, np.array([-1]), TRUTH.numbers, TRUTH.counted)
    assert [one.name for one in score_categories([scored("good", GOOD[1:2], truth=truth)], truth)] == ["bee"]


def test_the_photo_that_was_drawn():
    rows = rows_by_method(score_drawn([scored("good", GOOD), scored("fair", FAIR)], TRUTH, PLAN))
    assert rows["good"].values == {"R@1": 1, "R@10": 1, "R@1 in category": 1, "R@10 in category": 1}
    # Ranks of photos 1, 2, 3: 3, 1, 4; among ant, bee, bee: 2, 1, 2.
    assert rows["fair"].values["R@1"] == pytest.approx(1 / 3)
    assert rows["fair"].values["R@1 in category"] == pytest.approx(1 / 3)
    assert rows["chance"].values == pytest.approx(
        {"R@1": 1 / 4, "R@10": 1, "R@1 in category": 1 / 2, "R@10 in category": 1}
    )
    assert set(rows["fair"].intervals) == set(rows["fair"].values)


def test_recall_is_a_mean_over_queries_in_every_protocol():
    rows = rows_by_method(score_drawn([scored("fair", FAIR, SAKE)], TRUTH, SAKE))
    assert rows["fair"].values["R@1"] == pytest.approx(1 / 3)


def test_where_no_name_tells_the_photo_there_are_no_rows():
    truth = Truth(TRUTH.names, TRUTH.query_labels, TRUTH.photo_labels, np.full(3, -1), TRUTH.numbers, TRUTH.counted)
    assert score_drawn([scored("good", GOOD, truth=truth)], truth, PLAN) == ()


def test_curves_are_averaged_as_the_protocol_averages():
    plain = average_curves([scored("fair", FAIR)], TRUTH, PLAN)["fair"]
    sake = average_curves([scored("fair", FAIR, SAKE)], TRUTH, SAKE)["fair"]
    # Best precision from the first hit on: 1, 1, 1/2; at full recall 2/3, 2/3, 1/2.
    assert (plain[0], plain[20]) == pytest.approx(((1 + 1 + 1 / 2) / 3, (2 / 3 + 2 / 3 + 1 / 2) / 3))
    assert sake[0] == pytest.approx((1 + 3 / 4) / 2)


@pytest.mark.parametrize("protocol", ["plain", "sake", "zse"])
def test_chance_is_what_random_rankings_score(protocol):
    rng = np.random.default_rng(6)
    photo_labels, query_labels = np.repeat([0, 1, 2], [5, 9, 2]), np.arange(3000) % 3
    truth = Truth(
        ("a", "b", "c"), query_labels, photo_labels, np.full(3000, -1), np.arange(16), np.ones(16, dtype=bool)
    )
    plan = EvaluationPlan(protocol, ks=(4, 40), map_ks=(6,), resampling=None)
    ranked = rng.permuted(np.tile(np.arange(16), (3000, 1)), axis=1)
    chance, drawn = score_methods([scored("drawn", ranked, plan, truth)], truth, plan)
    assert list(chance.values) == list(drawn.values)
    assert chance.values == pytest.approx(drawn.values, abs=0.025)
    assert score_chance(truth, plan) == chance


def test_a_perfect_score_is_exactly_one():
    truth = Truth(
        ("a",),
        np.zeros(101, dtype=int),
        np.zeros(49, dtype=int),
        np.full(101, -1),
        np.arange(49),
        np.ones(49, dtype=bool),
    )
    plan = EvaluationPlan("zse", ks=(49, 90), map_ks=(7,))
    chance, method = score_methods([scored("m", np.tile(np.arange(49), (101, 1)), plan, truth)], truth, plan)
    assert set(method.values.values()) == set(chance.values.values()) == {1.0}
    assert set(method.intervals.values()) == {(1.0, 1.0)}
