"""What tests of processes need: waiting with a deadline, and processes that do not outlive their test."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

WaitFor = Callable[..., Any]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def wait_for() -> WaitFor:
    """What a call gives as soon as that is something."""

    def wait(ready: Callable[[], Any], what: str, deadline_s: float = 60.0) -> Any:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            found = ready()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what} did not happen within {deadline_s:.0f} s")

    return wait


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes, which are over at the end of the test; their output is in ``<name>.txt``."""
    started: list[subprocess.Popen[bytes]] = []

    def run(name: str, *command: object, **env: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.txt").open("ab") as output:
            started.append(
                subprocess.Popen(
                    [str(part) for part in command],
                    cwd=ROOT,
                    env={**os.environ, **env},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
