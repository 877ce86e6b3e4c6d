"""Being asked to stop: what is in hand is finished first."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from sbka_milvus.stopping import SIGNALS, Stopped, between_steps


def ask(number: int) -> None:
    """By a real signal, which is handled before the next line of this thread."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_waits_for_the_next_check(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    reached = []
    with pytest.raises(Stopped) as stopped, between_steps() as stop:
        stop.check()
        ask(number)
        reached.append("the step in hand")
        stop.check(lambda: "3 of 7")
        reached.append("another step")
    assert reached == ["the step in hand"]
    assert (stopped.value.number, stopped.value.done) == (number, "3 of 7")
    assert isinstance(stopped.value, KeyboardInterrupt), "nobody who catches Exception swallows it"
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_the_second_signal_stops_at_once() -> None:
    reached = []
    with pytest.raises(Stopped) as stopped, between_steps():
        ask(signal.SIGINT)
        reached.append("first")
        ask(signal.SIGTERM)
        reached.append("second")
    assert reached == ["first"]
    assert stopped.value.number == signal.SIGTERM


def test_what_is_done_is_not_asked_for_in_vain() -> None:
    with between_steps() as stop:
        stop.check(lambda: pytest.fail("nobody asked it to stop"))


def test_a_program_that_handles_signals_itself_is_left_alone() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        with between_steps() as stop:
            ask(signal.SIGINT)
            stop.check()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def test_other_threads_change_nothing() -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    found = []

    def work() -> None:
        with between_steps() as stop:
            found.append([signal.getsignal(one) for one in SIGNALS])
            stop.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
