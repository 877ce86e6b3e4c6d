"""Rankings scored block by block."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import (
    PROTOCOLS,
    EvaluationPlan,
    QueryScores,
    Tally,
    Truth,
    average_precision,
    number_photos,
    precision_at_k,
)
from sbka_milvus.evaluation.tally import RECALL_LEVELS, recall_curves

PLAN = EvaluationPlan(ks=(1, 2), map_ks=(2,))
# Photos: ant 0, bee 1, ant 2, bee 3; queries: ant of photo 2, cat without a photo, bee of no known photo.
TRUTH = Truth(
    ("ant", "bee", "cat"),
    np.array([0, 2, 1]),
    np.array([0, 1, 0, 1]),
    np.array([2, -1, -1]),
    np.arange(4),
    np.ones(4, dtype=bool),
)
RANKED = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [0, 3, 2, 1]])


def tally(
    truth: Truth = TRUTH, plan: EvaluationPlan = PLAN, ranked: np.ndarray = RANKED, block: int = 3
) -> QueryScores:
    one = Tally("one-to-one", truth, plan)
    for start in range(0, len(ranked), block):
        one.add(slice(start, min(start + block, len(ranked))), ranked[start : start + block])
    return one.finish()


def test_scores_of_a_case_computed_by_hand():
    scores = tally()
    # Query 0: ant, bee, ant, bee. Query 2: ant, bee, ant, bee: hits at 2 and 4. The query without photos is left out.
    assert scores.values["mAP@all"] == pytest.approx([(1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2])
    assert scores.values["mAP@2"] == pytest.approx([1 / 2, 1 / 4])
    assert scores.values["mAP@2 lenient"] == pytest.approx([1, 1 / 2])
    assert scores.values["P@1"].tolist() == [1, 0]
    assert scores.values["P@2"].tolist() == [0.5, 0.5]
    assert list(scores.values) == ["mAP@all", "mAP@2", "mAP@2 lenient", "P@1", "P@2"]
    assert scores.first.tolist() == RANKED[[0, 2]].tolist()


def test_the_photo_that_was_drawn_is_ranked_in_gallery_and_category():
    scores = tally()
    assert scores.drawn_ranks.tolist() == [3, 0]
    assert scores.drawn_ranks_in_category.tolist() == [2, 0]
    recalls = {name: values.tolist() for name, values in scores.recalls().items()}
    assert recalls == {"R@1": [0.0], "R@10": [1.0], "R@1 in category": [0.0], "R@10 in category": [1.0]}


def test_photos_that_do_not_count_are_passed_over():
    scores = tally(TRUTH.without(np.array([False, True, True, False])))
    # Left are ant 0 and bee 3: query 0 has ant, bee, query 2 has ant, bee.
    assert scores.values["mAP@all"] == pytest.approx([1, 1 / 2])
    assert scores.first.tolist() == [[0, 3], [0, 3]]
    assert scores.drawn_ranks.tolist() == [0, 0], "the photo that was drawn does not count"


def test_the_better_ranked_of_two_copies_is_the_one_that_was_drawn():
    truth = Truth(
        ("ant",), np.array([0]), np.zeros(3, dtype=int), np.array([0]), np.array([0, 1, 0]), np.ones(3, dtype=bool)
    )
    assert tally(truth, ranked=np.array([[1, 2, 0]])).drawn_ranks.tolist() == [2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("block", [1, 7, 40])
def test_any_blocks_give_the_metrics_of_the_whole(protocol, block):
    rng = np.random.default_rng(8)
    labels, queries = rng.integers(0, 5, 60), rng.integers(0, 6, 40)
    photos = [(str(label), f"{row}.jpg") for row, label in enumerate(labels)]
    sketches = [(str(label), f"{row}-1.png") for row, label in enumerate(queries)]
    numbers, drawn = number_photos(photos, sketches)
    counted = rng.random(60) < 0.8
    truth = Truth(tuple("012345"), queries, labels, drawn, numbers, counted)
    ranked = rng.permuted(np.tile(np.arange(60), (40, 1)), axis=1)
    scores = tally(truth, EvaluationPlan(protocol, ks=(3,), map_ks=(5,)), ranked, block)

    usable = queries < 5
    kept = ranked[counted[ranked]].reshape(40, -1)[usable]
    relevant = labels[kept] == queries[usable, None]
    interpolated = protocol != "plain"
    assert scores.values["mAP@all"] == pytest.approx(average_precision(relevant, interpolated=interpolated))
    assert scores.values["mAP@5"] == pytest.approx(average_precision(relevant, k=5, interpolated=interpolated))
    if protocol == "plain":
        assert scores.values["P@3"] == pytest.approx(precision_at_k(relevant, 3))
    for row, photo in enumerate(truth.drawn[usable]):
        there = np.flatnonzero(kept[row] == photo)
        assert scores.drawn_ranks[row] == (there[0] + 1 if photo >= 0 and len(there) else 0)


class TestCurves:
    def test_levels_of_a_case_computed_by_hand(self):
        # Hits at 1, 4, 5 of R = 4: precisions 1, 1/2, 3/5, interpolated 1, 3/5, 3/5; the fourth is never found.
        curve = recall_curves(np.array([[1, 4, 5]]), np.array([4]))[0]
        by_level = dict(zip(RECALL_LEVELS, curve.tolist(), strict=True))
        assert [by_level[level] for level in (0.0, 0.25, 0.3, 0.75, 0.8, 1.0)] == pytest.approx([1, 1, 0.6, 0.6, 0, 0])

    def test_levels_that_fall_on_a_hit_ask_for_no_more(self):
        curve = recall_curves(np.arange(1, 21)[None] ** 2, np.array([20]))[0]
        precisions = np.arange(1, 21) / np.arange(1, 21) ** 2
        assert curve == pytest.approx([1, *precisions])

    def test_rankings_without_hits_have_a_flat_curve(self):
        assert recall_curves(np.zeros((2, 0), dtype=int), np.array([1, 2])).tolist() == [[0.0] * 21] * 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("positions", "problem"),
        [
            (RANKED[:, :3], r"must be integer of shape \(3, 4\)"),
            (RANKED.astype(float), "are float64"),
            (np.array([[0, 1, 2, 2], *RANKED[1:]]), "holds a photo twice"),
            (np.array([[0, 1, 2, 4], *RANKED[1:]]), "photos are 0 to 3"),
            (np.array([[0, 1, 2, -1], *RANKED[1:]]), "positions from -1"),
        ],
    )
    def test_rankings_that_do_not_fit_are_refused_by_name(self, positions, problem):
        with pytest.raises(InvalidValue, match=problem) as refused:
            tally(ranked=positions)
        assert "'one-to-one'" in str(refused.value)

    def test_queries_that_were_never_ranked_are_refused_by_number(self):
        one = Tally("mine", TRUTH, PLAN)
        one.add(slice(0, 1), RANKED[:1])
        with pytest.raises(InvalidValue, match="2 queries of 'mine' were not ranked"):
            one.finish()
