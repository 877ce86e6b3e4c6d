"""Patience with a Milvus that is restarting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sbka_milvus.errors import StoreUnavailable

_PAUSES_S = (0.5, 1.0, 1.5, 2.0)
_PATIENCE_S = 5.0
"""A call has a timeout of its own besides: where calls are slow to fail, fewer are tried."""

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
