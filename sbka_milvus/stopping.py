"""Being asked to stop: Ctrl-C, or SIGTERM from a scheduler, lets work finish what it has in hand first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Work that was asked to stop has done so between two steps.

    Attributes:
        number: of the signal.
        done: what is done, in words; empty where nothing is to be said.
    """

    def __init__(self, number: int = signal.SIGINT, done: str = "") -> None:
        super().__init__(done)
        self.number = number
        self.done = done


class Stop:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.number: int | None = None

    def check(self, done: Callable[[], str] = str) -> None:
        """To be called where stopping costs nothing.

        Args:
            done: says what is done; asked only when it is so.

        Raises:
            Stopped: It was asked to.
        """
        if self.number is not None:
            raise Stopped(self.number, done())


@contextmanager
def between_steps() -> Iterator[Stop]:
    """While the block runs, a first signal waits for the next :meth:`Stop.check`; a second one stops at once.

    In another thread than the main one, or where the program has a handler of its own or ignores a signal, nothing is
    changed: who embeds this library decides what signals mean.
    """
    stop = Stop()

    def asked(number: int, _frame: FrameType | None) -> None:
        if stop.number is not None:
            raise Stopped(number)
        stop.number = number

    ours = {}
    if threading.current_thread() is threading.main_thread():
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        for number in SIGNALS:
            if signal.getsignal(number) is usual[number]:
                ours[number] = signal.signal(number, asked)
    try:
        yield stop
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
