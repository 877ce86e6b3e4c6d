"""``sbka ingest`` as a user runs it, killed and run again: no workers, its own embedded Milvus."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.injection import Action, Fault, Injector, Ledger

_MAIN = Path(__file__).parents[1] / "inline_main.py"
_JOB = "inline"
_RUN_S = 120.0


class Program:
    """Runs the program in forks of one process, with faults armed.

    Args:
        root: for the armed faults and the logs.
        ledger: of all faults.
    """

    def __init__(self, root: Path, ledger: Ledger, process: subprocess.Popen[str]) -> None:
        self.injector = Injector(root / "faults", _JOB, ledger)
        self.log = root / "log.txt"
        self.runs = 0
        self._passes = root / "faults" / _JOB / "passes"
        self._process = process
        self._answer()

    def run(self, *argv: object, env: dict[str, str] | None = None) -> int:
        """Runs it once; faults that are due happen.

        Returns:
            The exit code, negative for a signal that killed it.
        """
        self.runs += 1
        assert self._process.stdin is not None
        self.log.unlink(missing_ok=True)
        request = {"argv": [str(one) for one in argv], "env": env or {}, "log": str(self.log)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self._answer()
        code = int(self._answer()["code"])
        self.injector.look()
        return code

    def said(self) -> str:
        """What the last run printed."""
        return self.log.read_text() if self.log.exists() else ""

    def arm(self, faults: Sequence[Fault], actions: Sequence[Action] = ()) -> None:
        """Has faults happen in the next runs."""
        self.injector.arm(faults, actions)

    def disarm(self) -> None:
        """Forgets the faults that have not happened."""
        self.injector.forget()

    def passes(self) -> dict[str, int]:
        """How often each point was passed in all runs, in the order in which they were first."""
        trail = self._passes.with_name("trail")
        names = dict.fromkeys(trail.read_text().split()) if trail.exists() else ()
        return {name: (self._passes / name).stat().st_size for name in names}

    def passed_in(self, act: Callable[[], object]) -> dict[str, int]:
        """How often each point is passed while something is done."""
        before = self.passes()
        act()
        return {name: more for name, count in self.passes().items() if (more := count - before.get(name, 0))}

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + _RUN_S
        while time.monotonic() < deadline:
            self.injector.look()
            if select.select([self._process.stdout], [], [], 0.02)[0]:
                line = self._process.stdout.readline()
                assert line, f"the process of all runs ended: {self._process.wait()}"
                return dict(json.loads(line))
        raise AssertionError(f"a run did not end within {_RUN_S:.0f} s: {self.said()}")


@contextmanager
def running(root: Path, ledger: Ledger) -> Iterator[Program]:
    """The program, ready to be forked."""
    root.mkdir()
    (root / "faults").mkdir()
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(_MAIN.parent), *sys.path]),
        "SBKA_DEVICE": "cpu",
        "SBKA_PRECISION": "fp32",
        "SBKA_INGEST__BATCH_SIZE": "5",
        "SBKA_INGEST__SHARD_SIZE": "10",
    }
    command = (sys.executable, str(_MAIN), str(root / "faults"))
    with (
        (root / "errors.txt").open("wb") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=env, cwd=root
        ) as process,
    ):
        try:
            yield Program(root, ledger, process)
        finally:
            process.kill()
