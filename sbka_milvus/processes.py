"""Whether a process that wrote its number down is still there."""

from __future__ import annotations

import psutil

_SAME_START_S = 1.0


def started_at(pid: int) -> float:
    """When a process of this machine was started, in seconds since 1970."""
    return psutil.Process(pid).create_time()


def is_running(pid: int, started: float) -> bool:
    """Whether that very process runs, and not a later one that was given the same id."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) <= _SAME_START_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
