"""Batches with as many pictures of one category as of any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import TrainingError
from sbka_milvus.training.balanced_sampler import BalancedSampler

COUNTS = st.lists(st.integers(1, 7), min_size=2, max_size=6)


def labels(counts: list[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(deadline=None, max_examples=60)
@given(COUNTS, st.data())
def test_every_batch_is_balanced_and_nothing_comes_twice_before_the_others(
    counts: list[int], data: st.DataObject
) -> None:
    more = data.draw(st.lists(st.integers(1, 7), min_size=len(counts), max_size=len(counts)))
    categories = data.draw(st.integers(1, len(counts)))
    few, many = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    both = (labels(counts, 0), labels(more, 1))
    sampler = BalancedSampler(both, categories, few, many, seed=3)
    drawn: list[dict[int, list[int]]] = [{}, {}]
    chosen: list[int] = []
    for _ in range(4):
        steps = list(sampler.epoch())
        assert len(steps) == len(sampler)
        for pair in steps:
            of_step = [both[modality][indices].tolist() for modality, indices in enumerate(pair)]
            shown = list(dict.fromkeys(of_step[0]))
            assert len(shown) == categories
            assert of_step == [np.repeat(shown, few).tolist(), np.repeat(shown, many).tolist()], "category by category"
            chosen += shown
            for modality, indices in enumerate(pair):
                for category in shown:
                    taken = indices[both[modality][indices] == category].tolist()
                    size = (counts, more)[modality][category]
                    assert len(set(taken)) == min(size, len(taken)), "none twice unless there are too few"
                    drawn[modality].setdefault(category, []).extend(taken)
    for modality, sizes in enumerate((counts, more)):
        for category, order in drawn[modality].items():
            spread = np.unique(order, return_counts=True)[1]
            if len(order) >= sizes[category]:
                assert len(spread) == sizes[category], "all of a category come"
                assert spread.max() - spread.min() <= 1, "none comes twice more than another"
    times = np.bincount(chosen, minlength=len(counts))
    assert times.max() - times.min() <= 1


def test_an_epoch_shows_as_many_pictures_as_there_are() -> None:
    both = (np.repeat(np.arange(5), 6), np.repeat(np.arange(5), 25))
    assert len(BalancedSampler(both, 4, 2, 4, seed=0)) == 8  # 125 photos, 16 a step
    assert len(BalancedSampler(both, 5, 1, 25, seed=0)) == 6  # 30 sketches, 5 a step


def test_it_goes_on_from_its_state_through_a_file() -> None:
    both = (np.repeat(np.arange(4), 5), np.repeat(np.arange(4), 3))

    def drawn(sampler: BalancedSampler, done: int = 0) -> list[list[int]]:
        return [[*few.tolist(), *many.tolist()] for few, many in sampler.epoch(done)]

    for stop in range(5):
        whole, stopped, other = (BalancedSampler(both, 3, 1, 1, seed) for seed in (4, 4, 9))
        expected = [*drawn(whole), *drawn(whole)]
        steps = stopped.epoch()
        for _ in range(stop):
            next(steps)
        state = stopped.state()
        json.dumps({**state, "undrawn": state["undrawn"].tolist()})
        other.load_state(state)
        assert [*drawn(other, stop), *drawn(other)] == expected[stop:]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_category_without_one_kind_and_too_few_categories_are_errors(missing: int) -> None:
    both = [np.array([0, 1, 2]), np.array([0, 1, 2])]
    both[missing] = np.array([0, 1, 1])
    with pytest.raises(TrainingError, match="there are 2") as caught:
        BalancedSampler(both, 2, 1, 1, seed=0)
    assert "--balanced" in caught.value.remedy
    with pytest.raises(TrainingError, match="needs 4 categories with both sketches and photos; there are 3"):
        BalancedSampler([np.arange(3)] * 2, 4, 1, 1, seed=0)
