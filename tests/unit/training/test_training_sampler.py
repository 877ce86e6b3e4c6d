"""Batches in a fixed ratio."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import TrainingError
from sbka_milvus.training.sampler import RatioSampler

COUNT = st.integers(1, 40)
BATCH = st.integers(1, 15)


@settings(deadline=None, max_examples=60)
@given(COUNT, COUNT, BATCH, BATCH)
def test_no_picture_repeats_before_all_others_were_drawn(sketches: int, photos: int, few: int, many: int) -> None:
    sampler = RatioSampler(sketches, photos, few, many, seed=0)
    drawn: tuple[list[int], list[int]] = ([], [])
    for _ in range(3):
        steps = list(sampler.epoch())
        assert len(steps) == len(sampler)
        for pair in steps:
            for modality, indices in enumerate(pair):
                assert indices.dtype == np.int64
                assert len(indices) == (few, many)[modality]
                drawn[modality].extend(indices.tolist())
    for everything, size in zip(drawn, (sketches, photos), strict=True):
        for start in range(0, len(everything), size):
            round_ = everything[start : start + size]
            assert len(set(round_)) == len(round_)
            assert set(round_) <= set(range(size))


@pytest.mark.parametrize(
    ("sketches", "photos", "steps"), [(70, 140, 1), (71, 140, 2), (70, 500, 4), (700, 140, 10), (1, 1, 1)]
)
def test_an_epoch_passes_over_whichever_lasts_longer(sketches: int, photos: int, steps: int) -> None:
    assert len(RatioSampler(sketches, photos, 70, 140, seed=0)) == steps


def test_a_set_smaller_than_a_batch_goes_round_within_it() -> None:
    [(few, many)] = RatioSampler(3, 2, 7, 4, seed=0).epoch()
    assert sorted(np.bincount(few).tolist()) == [2, 2, 3]
    assert np.bincount(many).tolist() == [2, 2]


def test_one_seed_gives_one_order() -> None:
    def order(seed: int) -> list[list[int]]:
        sampler = RatioSampler(30, 30, 4, 8, seed)
        return [indices.tolist() for _ in range(2) for pair in sampler.epoch() for indices in pair]

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize("counts", [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_draw_is_an_error(counts: tuple[int, int]) -> None:
    with pytest.raises(TrainingError, match=f"{counts[0]} sketches and {counts[1]} photos"):
        RatioSampler(*counts, 2, 2, seed=0)
