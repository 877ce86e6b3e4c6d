"""A Milvus that restarts is waited for; one that stays away is not asked by everybody."""

from __future__ import annotations

import threading

import pytest

from sbka_milvus import patience
from sbka_milvus.errors import InvalidValue, StoreUnavailable
from sbka_milvus.patience import Circuit, patiently


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        monkeypatch.setattr(patience.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(patience.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Milvus:
    def __init__(self, clock: Clock, *, away_until: float, takes: float = 0.0) -> None:
        self.clock, self.away_until, self.takes = clock, away_until, takes
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        self.clock.now += self.takes
        if self.clock.now < self.away_until:
            raise StoreUnavailable("gone")
        return "answer"


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_one_that_comes_back_is_waited_for(clock):
    milvus = Milvus(clock, away_until=102.0)
    assert patiently(milvus) == "answer"
    assert clock.slept == [0.5, 1.0, 1.5]


def test_one_that_stays_away_is_waited_for_some_seconds(clock):
    milvus = Milvus(clock, away_until=1e9)
    with pytest.raises(StoreUnavailable, match="gone"):
        patiently(milvus)
    assert sum(clock.slept) == 5.0
    assert milvus.asked == 5


def test_calls_that_are_slow_to_fail_are_fewer(clock):
    milvus = Milvus(clock, away_until=1e9, takes=3.0)
    with pytest.raises(StoreUnavailable):
        patiently(milvus)
    assert milvus.asked == 2


def test_whoever_asks_while_it_rests_is_told_at_once(clock):
    milvus, circuit = Milvus(clock, away_until=1e9), Circuit()
    with pytest.raises(StoreUnavailable, match="gone"):
        circuit.ask(milvus)
    asked, slept = milvus.asked, list(clock.slept)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"not asked.*again in 1.0 s"):
            circuit.ask(milvus)
    assert (milvus.asked, clock.slept) == (asked, slept)


def test_rests_grow_to_five_seconds_and_one_question_ends_each(clock):
    milvus, circuit = Milvus(clock, away_until=1e9), Circuit()
    with pytest.raises(StoreUnavailable):
        circuit.ask(milvus)
    for rest in (1.0, 2.0, 4.0, 5.0, 5.0):
        asked = milvus.asked
        clock.now += rest - 0.01
        with pytest.raises(StoreUnavailable, match="not asked"):
            circuit.ask(milvus)
        clock.now += 0.02
        with pytest.raises(StoreUnavailable, match="gone"):
            circuit.ask(milvus)
        assert milvus.asked == asked + 1


def test_an_answer_makes_everything_as_before(clock):
    milvus, circuit = Milvus(clock, away_until=106.0), Circuit()
    with pytest.raises(StoreUnavailable):
        circuit.ask(milvus)
    clock.now += 1.1
    assert circuit.ask(milvus) == "answer"
    milvus.away_until = clock.now + 1.0
    assert circuit.ask(milvus) == "answer"  # patient again


def test_other_errors_do_not_count(clock):
    def refuse() -> None:
        raise InvalidValue("no")

    milvus, circuit = Milvus(clock, away_until=0), Circuit()
    for _ in range(5):
        with pytest.raises(InvalidValue):
            circuit.ask(refuse)
    assert circuit.ask(milvus) == "answer"
    assert clock.slept == []


def test_one_at_a_time_is_let_through_after_a_rest(clock):
    circuit = Circuit()
    with pytest.raises(StoreUnavailable):
        circuit.ask(Milvus(clock, away_until=1e9))
    clock.now += 1.1
    inside, go = threading.Event(), threading.Event()

    def slow() -> str:
        inside.set()
        assert go.wait(30)
        return "answer"

    answers: list[str] = []
    first = threading.Thread(target=lambda: answers.append(circuit.ask(slow)))
    first.start()
    assert inside.wait(30)
    with pytest.raises(StoreUnavailable, match="not asked"):
        circuit.ask(lambda: "another")
    go.set()
    first.join(30)
    assert answers == ["answer"]
    assert circuit.ask(lambda: "another") == "another"
