"""Faults: which there are, when they are due, and which have happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

Action = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        point: where it happens, as ``<step>.<function>.before`` or ``.after``.
        kind: kill (-9, the process that works), int (Ctrl-C), term (SIGTERM), worker (it and its parent), orphan (its
            parent alone), always (kill, as often as the point is reached), stop (until the test lets it go on), hold
            (while the test does something).
        at: at which pass of the point, from the moment at which it is armed.
        name: what it is called in the list.
    """

    point: str
    kind: str = "kill"
    at: int = 1
    name: str = ""

    @property
    def stage(self) -> str:
        """The step that it hits."""
        return self.point.split(".")[0]

    def __str__(self) -> str:
        return f"{self.stage:7} {self.name or self.kind:28} at {self.point} (pass {self.at})"


@dataclass
class Ledger:
    """What has happened in the whole run.

    Attributes:
        lines: one a fault, in their order.
        lost: images that are in neither gallery nor quarantine.
        doubled: images that are in a gallery more than once, or in both.
        jobs: audited.
    """

    lines: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    jobs: int = 0

    def add(self, job: str, fault: Fault) -> None:
        """A fault has happened."""
        self.lines.append(f"{len(self.lines) + 1:3} {job.split('-', maxsplit=1)[0]:8} {fault}")

    @property
    def total(self) -> str:
        """The sum of it all."""
        return (
            f"faults injected: {len(self.lines)}, jobs: {self.jobs}, "
            f"images lost: {self.lost}, images doubled: {self.doubled}"
        )


class Injector:
    """Arms the faults of one job, and notices which have happened.

    Args:
        folder: of all jobs' faults.
        job: its id.
        ledger: is told of each.
    """

    def __init__(self, folder: Path, job: str, ledger: Ledger) -> None:
        self._root = folder / job
        self._job = job
        self._ledger = ledger
        self._seen: set[str] = set()
        self._actions: dict[str, Action] = {}
        self._waiting: dict[str, Fault] = {}
        self._forgotten: set[str] = set()
        for name in ("armed", "fired", "passes", "released"):
            (self._root / name).mkdir(parents=True, exist_ok=True)

    def arm(self, faults: Iterable[Fault], actions: Iterable[Action] = ()) -> None:
        """Has faults happen; the actions are those of the held ones, in their order."""
        left = list(actions)
        for fault in faults:
            name = f"{fault.point}~{len(self._waiting):03}-{len(self._seen):03}.json"
            self._waiting[name] = fault
            if fault.kind == "hold":
                self._actions[name] = left.pop(0)
            content = asdict(fault) | {"at": self.passed(fault.point) + fault.at}
            # Beside it first: a worker must not read half of it.
            draft = self._root / name
            draft.write_text(json.dumps(content))
            draft.rename(self._root / "armed" / name)
        assert not left, "an action without a fault"

    def forget(self) -> None:
        """What has not happened by now need not happen any more."""
        for path in (self._root / "armed").iterdir():
            path.unlink()
        self.look()
        self._forgotten = set(self._waiting) - self._seen

    def passed(self, point: str) -> int:
        """How often a point was passed by now."""
        passes = self._root / "passes" / point
        return passes.stat().st_size if passes.exists() else 0

    def look(self) -> None:
        """Notices what has happened since the last look, and does what is to be done meanwhile."""
        for path in sorted((self._root / "fired").iterdir(), key=lambda path: path.stat().st_mtime_ns):
            if path.name in self._seen:
                continue
            self._seen.add(path.name)
            always = path.name not in self._waiting
            # One that happens always has another name each time.
            name = path.name.rsplit("-", 1)[0] + ".json" if always else path.name
            fault = self._waiting[name]
            self._ledger.add(self._job, fault)
            if fault.kind == "hold":
                self._actions[name]()
                (self._root / "released" / name).touch()

    @property
    def due(self) -> list[str]:
        """The faults that have not happened."""
        return [
            str(fault)
            for name, fault in self._waiting.items()
            if name not in self._seen | self._forgotten and fault.kind != "always"
        ]
