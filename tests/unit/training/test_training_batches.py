"""Batches with lines changed: sketches alone, the same for every process, and the same after going on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.training.batches import BatchSource
from sbka_milvus.training.data import TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.task import Batch

PREPARE = Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = torch.device("cpu")


def source(data: TrainingData, *, rank: int = 0, size: int = 1, **options: Any) -> BatchSource:
    chosen = TrainingOptions(**{"sketches_per_batch": 8, "photos_per_batch": 8, "seed": 3, **options})
    return BatchSource(data, chosen, PREPARE, Team(CPU, rank, size))


def pixels(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return batch.sketches, batch.photos


def batches(one: BatchSource, done: int = 0) -> list[Batch]:
    return list(one.epoch(done))


def test_without_it_nothing_is_drawn_from_the_generator(toy: Callable[..., TrainingData]) -> None:
    plain, off = source(toy()), source(toy(), stroke_augmentation=0.0)
    batches(plain), batches(off)
    assert torch.equal(plain.state()["augmentation"], off.state()["augmentation"])
    on = source(toy(), stroke_augmentation=0.5)
    batches(on)
    assert not torch.equal(plain.state()["augmentation"], on.state()["augmentation"])


def test_sketches_alone_are_redrawn(toy: Callable[..., TrainingData]) -> None:
    # Nothing else is random, and the epoch is one batch of all pictures.
    options: dict[str, Any] = {"augment_probability": 0.0, "sketches_per_batch": 24, "photos_per_batch": 24}
    (plain,), (redrawn,) = (batches(source(toy(), **options, stroke_augmentation=share)) for share in (0.0, 1.0))
    assert torch.equal(plain.photos, redrawn.photos)
    changed = (plain.sketches - redrawn.sketches).abs().flatten(1).amax(dim=1) > 1e-3
    assert 18 <= changed.sum() <= 24, "15 of 16 on average"
    assert torch.equal(plain.sketch_labels, redrawn.sketch_labels)


def test_two_processes_share_the_batch_that_one_has(toy: Callable[..., TrainingData]) -> None:
    alone = batches(source(toy(), stroke_augmentation=0.8))
    shares = [batches(source(toy(), rank=rank, size=2, stroke_augmentation=0.8)) for rank in (0, 1)]
    for whole, *halves in zip(alone, *shares, strict=True):
        for rank, half in enumerate(halves):
            for mine, all_of_them in zip(pixels(half), pixels(whole), strict=True):
                assert torch.allclose(mine, all_of_them[rank::2], atol=1e-4)


def test_a_training_goes_on_with_the_very_batches_that_would_come(toy: Callable[..., TrainingData]) -> None:
    whole = source(toy(), stroke_augmentation=0.8)
    steps = whole.epoch()
    next(steps)
    state = whole.state()
    rest = list(steps)
    other = source(toy(), stroke_augmentation=0.8)
    other.load_state(state)
    again = batches(other, done=1)
    assert len(again) == len(rest) == 2
    for one, two in zip(rest, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(pixels(one), pixels(two), strict=True))
