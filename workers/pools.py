"""Which of Celery's pools fits the device that a worker computes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Literal

Pool = Literal["prefork", "solo"]

COMPUTE_QUEUES = frozenset({"embed", "train"})

# What a driver puts there: without one, torch need not be asked, which takes seconds.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))
_ASK = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)"
_TIMEOUT_S = 120


def choose_pool(wanted: str, device: str, queues: Collection[str]) -> Pool:
    """The pool of a worker.

    On CUDA a worker is one process, since CUDA does not survive a fork; elsewhere tasks run in a child, which may
    die without harm to the worker and can be stopped at its time limit.

    Args:
        wanted: prefork, solo, or auto.
        device: as the settings name it.
        queues: what the worker takes work from.

    >>> choose_pool("auto", "cuda:1", ["embed"]), choose_pool("auto", "cuda", ["index"])
    ('solo', 'prefork')
    """
    if wanted != "auto":
        return "solo" if wanted == "solo" else "prefork"
    computes = bool(COMPUTE_QUEUES & set(queues))
    return "solo" if computes and _is_cuda(device) else "prefork"


def _is_cuda(device: str) -> bool:
    if device != "auto":
        return device.startswith("cuda")
    if not any(driver.exists() for driver in _DRIVERS):
        return False
    # In a process of its own: a worker that is about to fork must not have loaded torch.
    return subprocess.run([sys.executable, "-c", _ASK], check=False, timeout=_TIMEOUT_S).returncode == 0
