"""When a checkpoint is made, what becomes of one that is not to be used, and a full disk."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sbka_milvus.errors import JobCancelled, TrainingError
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.batches import BatchSource
from sbka_milvus.training.checkpoint import CHECKPOINT_FILE, Checkpoints
from sbka_milvus.training.data import TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.sampler import RatioSampler

IDENTITY = {"options": "a", "pictures": "b"}
CPU = torch.device("cpu")


class Listening(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def heard() -> Listening:
    return Listening()


@pytest.fixture
def made(tmp_path: Path, heard: Listening) -> Callable[..., Checkpoints]:
    def make(identity: dict[str, str] = IDENTITY, **changes: Any) -> Checkpoints:
        return Checkpoints(tmp_path / "kept", identity, heard, **{"every_s": 300.0, **changes})

    return make


def test_what_was_saved_is_loaded(made: Callable[..., Checkpoints], heard: Listening) -> None:
    assert made().load() is None
    state = {"weights": torch.arange(5.0), "figures": {"a": [1, 2.5, None, "x"]}}
    made().save(lambda: state)
    loaded = made().load()
    assert loaded is not None
    assert torch.equal(loaded["weights"], state["weights"])
    assert loaded["figures"] == state["figures"]
    assert heard.said == []


def test_a_checkpoint_is_due_some_time_after_the_last(made: Callable[..., Checkpoints]) -> None:
    clock = Clock()
    checkpoints = made(clock=clock)
    assert not checkpoints.due
    clock.now += 299
    assert not checkpoints.due
    clock.now += 1
    assert checkpoints.due

    def slow() -> dict[str, Any]:
        clock.now += 1000
        return {}

    checkpoints.save(slow)
    assert not checkpoints.due, "the time that writing takes does not count"


def test_each_part_that_differs_is_named(made: Callable[..., Checkpoints], heard: Listening) -> None:
    made().save(dict)
    assert made({**IDENTITY, "options": "other"}).load() is None
    assert made({"options": "c", "pictures": "d"}).load() is None
    assert "(other options)" in heard.said[0]
    assert "(other options, pictures)" in heard.said[1]
    assert made().load() == {}


def test_nothing_is_unpickled_as_code(made: Callable[..., Checkpoints], heard: Listening, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    path = made().path
    path.parent.mkdir()
    torch.save({"identity": {}, "state": Trap()}, path)
    assert made().load() is None
    assert "damaged" in heard.said[0]
    assert not (tmp_path / "sprung").exists()


def test_every_flipped_byte_is_noticed(made: Callable[..., Checkpoints], heard: Listening) -> None:
    checkpoints = made()
    checkpoints.save(lambda: {"weights": torch.arange(64.0)})
    content = checkpoints.path.read_bytes()
    start = content.index(torch.arange(64.0).numpy().tobytes())
    for place in range(start, start + 256, 51):
        checkpoints.path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        assert made().load() is None
    assert len(heard.said) == 6


def test_the_hook_comes_first_and_what_it_raises_keeps_the_last(made: Callable[..., Checkpoints]) -> None:
    made().save(lambda: {"number": 1})

    def cancelled() -> None:
        raise JobCancelled("It was cancelled.")

    with pytest.raises(JobCancelled):
        made(before=cancelled).save(lambda: pytest.fail("the state was taken"))
    assert made().load() == {"number": 1}


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As good as a full disk: a write beyond it fails with an error of the operating system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_the_last_and_is_told(made: Callable[..., Checkpoints], heard: Listening) -> None:
    checkpoints = made()
    checkpoints.save(lambda: {"number": 1})
    with files_no_larger_than(100_000):
        checkpoints.save(lambda: {"weights": torch.zeros(1_000_000)})
    assert len(heard.said) == 1
    assert "No checkpoint was written" in heard.said[0]
    assert [path.name for path in checkpoints.path.parent.iterdir()] == [CHECKPOINT_FILE]
    assert made().load() == {"number": 1}


def test_a_fresh_one_removes_the_old(made: Callable[..., Checkpoints]) -> None:
    made().save(dict)
    assert made(fresh=True).load() is None
    assert not made().path.parent.exists()


@pytest.mark.parametrize("draws", [0, 1, 3, 7])
def test_a_sampler_draws_on_as_if_never_stopped(draws: int) -> None:
    def drawn(sampler: RatioSampler, done: int = 0) -> list[tuple[list[int], list[int]]]:
        return [(few.tolist(), many.tolist()) for few, many in sampler.epoch(done)]

    whole, stopped = (RatioSampler(23, 31, 3, 5, seed=4) for _ in range(2))
    expected = drawn(whole)
    steps = stopped.epoch()
    first = [next(steps) for _ in range(draws)]
    state = stopped.state()
    drawn(stopped, draws)
    other = RatioSampler(23, 31, 3, 5, seed=99)
    other.load_state(state)
    assert drawn(other, draws) == expected[len(first) :]
    assert drawn(other) == drawn(whole), "and so does the next epoch"


def test_batches_come_again_pixel_by_pixel_and_are_shared_out(toy: Callable[..., TrainingData], student: Any) -> None:
    data, options = toy(), TrainingOptions(sketches_per_batch=6, photos_per_batch=8)
    preprocessing = student().backbone.preprocessing

    def source(rank: int = 0, size: int = 1) -> BatchSource:
        return BatchSource(data, options, preprocessing, Team(CPU, rank, size))

    stopped, again = source(), source()
    next(stopped.epoch())
    again.load_state(stopped.state())
    expected = next(stopped.epoch(1))
    found = next(again.epoch(1))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    whole = next(source().epoch())
    shares = [next(source(rank, 2).epoch()) for rank in range(2)]
    for position, part in enumerate(whole):
        assert torch.equal(part[0::2], shares[0][position])
        assert torch.equal(part[1::2], shares[1][position])


def test_a_state_of_another_shape_is_refused(
    made: Callable[..., Checkpoints], student: Any, toy: Callable[..., TrainingData]
) -> None:
    from sbka_milvus.encoders.precision import FP32
    from sbka_milvus.training.trainer import Trainer

    made().save(lambda: {"student": {}})
    trainer = Trainer(student(know=False), None, None, TrainingOptions(mode="ce"), team=Team(CPU), precision=FP32)
    with pytest.raises(TrainingError, match="cannot go on") as caught:
        trainer.fit(toy(), SilentProgress(), made())
    assert "--fresh" in caught.value.remedy
