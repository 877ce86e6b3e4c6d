"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# What starts servers for tests is shared by the rooms of tests, and is imported by its name alone.
sys.path.insert(0, str(Path(__file__).parent / "servers"))
# Two workers' worth of cores is what continuous integration has; more threads only fight.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Tests must not depend on a developer's own settings.
for variable in [name for name in os.environ if name.startswith("SBKA_") and name != "SBKA_REAL_DATA"]:
    del os.environ[variable]
# A shell without job control has its background commands ignore Ctrl-C, and so would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For networks as small as those of tests, threads cost more time than they save."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real pictures; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("SBKA_REAL_DATA", request.config.rootpath.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"there are no real pictures in {folder} (SBKA_REAL_DATA names another folder)")
    return folder
