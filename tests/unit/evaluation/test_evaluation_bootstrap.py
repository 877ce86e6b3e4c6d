import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import PROTOCOLS, Resampling, bootstrap, paired_difference, resampled_means
from sbka_milvus.evaluation.bootstrap import paired_differences, percentile_interval

PLAIN, SAKE = PROTOCOLS["plain"], PROTOCOLS["sake"]
BOTH_WAYS = pytest.mark.parametrize("over", ["queries", "categories"])
LABELS = np.array([0, 0, 0, 1, 1, 4])
VALUES = np.array([0.1, 0.5, 0.9, 0.2, 0.4, 1.0])


def by_loop(values, labels, protocol, resampling):
    """The definition, one resample after the other."""
    rng = np.random.default_rng(resampling.seed)
    names = np.unique(labels)
    means = []
    for _ in range(resampling.resamples):
        if resampling.over == "queries":
            drawn = [[query] for query in rng.integers(0, len(values), len(values)).tolist()]
        else:
            drawn = [np.flatnonzero(labels == names[one]) for one in rng.integers(0, len(names), len(names)).tolist()]
        queries = np.concatenate(drawn).astype(int)
        if protocol.average == "query":
            means.append(values[queries].mean())
        elif resampling.over == "queries":
            means.append(protocol.mean(values[queries], labels[queries]))
        else:  # a category that was drawn twice counts twice
            means.append(np.mean([values[group].mean() for group in drawn]))
    return np.array(means)


@BOTH_WAYS
@pytest.mark.parametrize("protocol", [PLAIN, SAKE], ids=["plain", "sake"])
def test_resamples_are_those_of_the_definition(protocol, over):
    resampling = Resampling(50, seed=3, over=over)
    found = resampled_means(VALUES[:, None], LABELS, protocol, resampling)
    assert found[:, 0] == pytest.approx(by_loop(VALUES, LABELS, protocol, resampling))


@BOTH_WAYS
@pytest.mark.parametrize("protocol", [PLAIN, SAKE], ids=["plain", "sake"])
def test_blocks_change_nothing(protocol, over, monkeypatch):
    resampling = Resampling(40, seed=1, over=over)
    whole = resampled_means(VALUES[:, None], LABELS, protocol, resampling)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_PER_BLOCK", 7)
    assert resampled_means(VALUES[:, None], LABELS, protocol, resampling) == pytest.approx(whole)


def test_the_spread_over_queries_is_the_standard_error():
    rng = np.random.default_rng(0)
    values, labels = rng.random(400), np.arange(400) % 8
    drawn = resampled_means(values[:, None], labels, PLAIN, Resampling(2000))
    assert drawn.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.08)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.003)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(4)
    covered = 0
    for trial in range(200):
        values = rng.random(60)
        low, high = percentile_interval(
            resampled_means(values[:, None], np.zeros(60, dtype=np.int64), PLAIN, Resampling(300, seed=trial)), 0.95
        )
        covered += bool(low[0] <= 0.5 <= high[0])
    assert 180 <= covered <= 199


def test_drawing_categories_tells_of_what_they_have_in_common():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(10), 50)
    values = np.clip(np.repeat(rng.random(10), 50) + rng.normal(0, 0.01, 500), 0, 1)
    over_queries, over_categories = (
        resampled_means(values[:, None], labels, PLAIN, Resampling(500, over=over)).std()
        for over in ("queries", "categories")
    )
    assert over_categories > 4 * over_queries


def test_figures_are_drawn_together_so_that_differences_are_paired():
    rng = np.random.default_rng(5)
    hard = rng.random(300)
    better = np.clip(hard + 0.02, 0, 1.02)
    labels = np.zeros(300, dtype=np.int64)
    found = paired_difference(better, hard, labels, PLAIN, Resampling(500))
    assert found.value == pytest.approx(0.02)
    assert found.low == pytest.approx(0.02)
    assert found.high == pytest.approx(0.02)
    assert found.share_above == 1.0
    turned = paired_difference(hard, better, labels, PLAIN, Resampling(500))
    assert (turned.value, turned.low, turned.high, turned.share_above) == pytest.approx((-0.02, -0.02, -0.02, 0.0))


def test_equal_methods_are_above_each_other_in_half_of_the_resamples_or_none():
    rng = np.random.default_rng(6)
    first = rng.random(500)
    labels = np.zeros(500, dtype=np.int64)
    shuffled = paired_difference(first, rng.permutation(first), labels, PLAIN, Resampling(800))
    assert shuffled.low < 0 < shuffled.high
    assert 0.2 < shuffled.share_above < 0.8
    assert paired_difference(first, first, labels, PLAIN, Resampling(20)).share_above == 0.0


def test_several_figures_at_once_are_those_of_one_at_a_time():
    rng = np.random.default_rng(7)
    first, second, labels = rng.random((30, 3)), rng.random((30, 3)), np.arange(30) % 4
    together = paired_differences(first, second, labels, SAKE, Resampling(60))
    for figure, pair in enumerate(together):
        alone = paired_difference(first[:, figure], second[:, figure], labels, SAKE, Resampling(60))
        for name in ("value", "low", "high", "share_above"):
            assert getattr(pair, name) == pytest.approx(getattr(alone, name))


@BOTH_WAYS
@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=20), st.floats(0.1, 0.99))
def test_intervals_lie_within_the_figures(over, queries, level):
    values = np.array([value for value, _ in queries])
    labels = np.array([label for _, label in queries])
    for protocol in (PLAIN, SAKE):
        means = resampled_means(values[:, None], labels, protocol, Resampling(30, over=over))
        low, high = percentile_interval(means, level)
        assert values.min() - 1e-9 <= low[0] <= high[0] <= values.max() + 1e-9


def test_the_same_seed_draws_the_same():
    drawn = [resampled_means(VALUES[:, None], LABELS, PLAIN, Resampling(20, seed=seed)) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"resamples": 9}, "9 resamples give no interval"),
        ({"level": 1.0}, "level of the intervals is 1.0"),
        ({"level": 0.0}, "level of the intervals is 0.0"),
        ({"over": "photos"}, "drawn over 'photos'"),
    ],
)
def test_a_way_to_draw_that_makes_no_sense_is_refused(arguments, problem):
    with pytest.raises(InvalidValue, match=problem):
        Resampling(**arguments)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (np.zeros(3), np.zeros(3, dtype=int)),
        (np.zeros((3, 1)), np.zeros(2, dtype=int)),
        (np.zeros((0, 1)), np.zeros(0, dtype=int)),
    ],
)
def test_figures_that_do_not_fit_are_refused(values, labels):
    with pytest.raises(InvalidValue, match="values must be of shape"):
        resampled_means(values, labels, PLAIN, Resampling())


def test_methods_that_scored_other_queries_are_refused():
    with pytest.raises(InvalidValue, match="scored 3 and 2 queries"):
        paired_difference(np.zeros(3), np.zeros(2), np.zeros(3, dtype=int), PLAIN, Resampling())
