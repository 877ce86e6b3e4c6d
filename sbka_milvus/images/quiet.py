"""Keeps the decoder's warnings away from the caller, on one thread at a time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast


class _OnThisThread(threading.local):
    """Stands where a filter's message pattern stands: it matches every warning of a thread that is decoding."""

    decoding = False

    def match(self, _text: str) -> bool:
        return self.decoding


_here = _OnThisThread()
_filter = ("ignore", _here, Warning, None, 0)
_order = threading.Lock()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Ignores the warnings that the calling thread raises within the block, and nobody else's.

    ``warnings.catch_warnings`` swaps the list of filters of the whole process, so that two threads that leave it
    in another order than they entered it lose filters. Here one dormant entry stays in the list instead.

    >>> import warnings
    >>> with no_warnings():
    ...     warnings.warn("not heard")
    """
    filters = cast("list[Any]", warnings.filters)
    with _order:
        # Whoever adds a filter later comes first in the list, so ours may have to move up again.
        if not filters or filters[0] is not _filter:
            filters[:] = [_filter, *(entry for entry in filters if entry is not _filter)]
    before, _here.decoding = _here.decoding, True
    try:
        yield
    finally:
        _here.decoding = before
