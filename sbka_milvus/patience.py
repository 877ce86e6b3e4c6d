"""Patience with a Milvus that is restarting, and none with one that stays away."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from sbka_milvus.errors import StoreUnavailable

_PAUSES_S = (0.5, 1.0, 1.5, 2.0)
_PATIENCE_S = 5.0
"""A call has a timeout of its own besides: where calls are slow to fail, fewer are tried."""

_REST_S = 1.0
_LONGEST_REST_S = 5.0

_T = TypeVar("_T")


def patiently(ask: Callable[[], _T]) -> _T:
    """Asks Milvus, and again for some seconds where it cannot be reached.

    Raises:
        StoreUnavailable: It still cannot.
    """
    end = time.monotonic() + _PATIENCE_S
    for pause in _PAUSES_S:
        try:
            return ask()
        except StoreUnavailable:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)
    return ask()


class Circuit:
    """Asks one Milvus patiently, until it has stayed away for longer than that; then it is left alone for a while.

    Those who ask meanwhile are told so at once, instead of each waiting for as long as the first one did. After the
    rest, which doubles up to five seconds, one is let through, without patience: if that is answered, all are again.
    Threads may share it. Nothing but :class:`~sbka_milvus.errors.StoreUnavailable` counts.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures = 0
        self._until = 0.0
        self._trying = False

    def ask(self, ask: Callable[[], _T]) -> _T:
        """Asks, where asking makes sense.

        Raises:
            StoreUnavailable: Milvus cannot be reached, or could not a moment ago.
        """
        with self._lock:
            rested = self._failures > 0
            left = self._until - time.monotonic()
            if rested and (left > 0 or self._trying):
                raise StoreUnavailable(
                    "Milvus could not be reached a moment ago, so it was not asked.",
                    f"It is asked again in {max(left, 0.0):.1f} s; check that it runs.",
                )
            self._trying = rested
        try:
            answer = ask() if rested else patiently(ask)
        except StoreUnavailable:
            with self._lock:
                self._failures += 1
                self._until = time.monotonic() + min(_LONGEST_REST_S, _REST_S * 2 ** (self._failures - 1))
                self._trying = False
            raise
        except BaseException:
            with self._lock:
                self._trying = False
            raise
        with self._lock:
            self._failures, self._trying = 0, False
        return answer
