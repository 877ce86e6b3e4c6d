"""One fleet of real processes for all stories, one list of all faults, and the totals at the end of the run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The harness is also what the killed processes import, where there is no pytest.
sys.path.insert(0, str(Path(__file__).parent))

from harness.disk import small_disk
from harness.fleet import Fleet
from harness.injection import Ledger
from harness.pictures import draw_photos, draw_sketches, make_model, save_weights
from harness.stage import Stage

_LEDGER = pytest.StashKey[Ledger]()


def pytest_configure(config: pytest.Config) -> None:
    """Makes the list of the run."""
    config.stash[_LEDGER] = Ledger()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints every fault and the totals."""
    ledger = config.stash.get(_LEDGER, None)
    if ledger is not None and ledger.lines:
        terminalreporter.section("faults")
        for line in ledger.lines:
            terminalreporter.write_line(line)
        terminalreporter.write_line(ledger.total)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Has the process that gathers all results print them, where this one is not that."""
    ledger = session.config.stash[_LEDGER]
    told = getattr(session.config, "workeroutput", None)
    if told is not None and ledger.lines:
        told.setdefault("told", {})["faults"] = [*ledger.lines, ledger.total]


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """All faults of the run."""
    return request.config.stash.setdefault(_LEDGER, Ledger())


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> Iterator[Stage]:
    """Running processes, pictures and a model."""
    root = tmp_path_factory.mktemp("faults")
    fleet: Fleet | None = None

    def pids() -> list[int]:
        return [] if fleet is None else fleet.worker_pids()

    with small_disk(root / "disk", pids) as disk:
        save_weights(root / "weights.safetensors")
        make_model(root / "weights.safetensors", root / "base")
        draw_sketches(root / "sketches", 5)
        draw_photos(root / "lessons", 0, 6)
        fleet = Fleet(root, disk.folder / "workspace")
        try:
            fleet.start()
            yield Stage(root, fleet, disk, ledger)
        finally:
            fleet.stop()
