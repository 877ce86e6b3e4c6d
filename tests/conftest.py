"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# Ports are a module of their own: helpers of several folders take theirs from it.
sys.path.insert(0, str(HERE))
# What starts servers for tests is shared by the rooms of tests, and is imported by its name alone.
sys.path.insert(0, str(HERE / "servers"))

# Two cores are what continuous integration has, and two tests run beside each other: more threads only fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests must depend neither on a developer's own settings nor on the size of a terminal: that of 80 columns, which the
# processes of a run find in their environment, is an invention of the readline that pytest loads.
for variable in [name for name in os.environ if name.startswith("SBKA_") and name != "SBKA_REAL_DATA"]:
    del os.environ[variable]
for variable in ("COLUMNS", "LINES"):
    os.environ.pop(variable, None)
# A shell without job control has its background commands ignore Ctrl-C, and so would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_AT_ONCE = 2
_TOGETHER = {
    # One Milvus server: there can be but one on a machine, and it is kept to the end.
    "tests/contracts/": "server",
    # One fleet of processes, and one sum of all faults.
    "tests/faults/": "faults",
    # Those that use the fixture `demo`, which takes most of a minute to make.
    "tests/integration/test_cli.py": "demo",
    "tests/integration/test_cli_confidence.py": "demo",
    "tests/integration/test_cli_evaluate.py": "demo",
    "tests/integration/test_cli_matching.py": "demo",
    "tests/integration/test_cli_once.py": "demo",
    "tests/integration/test_cli_probing.py": "demo",
    "tests/integration/test_cli_rerank.py": "demo",
}
"""What must be run by one process, by the beginnings of names; else that is each file."""
_TOLD = pytest.StashKey[dict[str, list[str]]]()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Runs whole folders by two processes, unless ``-n`` says otherwise; for single files it is not worth the start."""
    option = config.option
    if not config.pluginmanager.hasplugin("xdist") or "PYTEST_XDIST_WORKER" in os.environ or option.usepdb:
        return
    folders = [one for one in config.args if Path(config.invocation_params.dir, one.split("::")[0]).is_dir()]
    if option.numprocesses is None and option.dist == "no" and folders and (os.cpu_count() or 1) >= _AT_ONCE:
        option.numprocesses = _AT_ONCE
    # The dear files stand at the beginning of the order of names; by their number of tests they would come last.
    option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out files, and those that belong together as one."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return next((group for name, group in _TOGETHER.items() if file.startswith(name)), file)

    return Together(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keeps what a process has to tell at the end of the run."""
    for title, lines in getattr(node, "workeroutput", {}).get("told", {}).items():
        node.config.stash.setdefault(_TOLD, {}).setdefault(title, []).extend(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what the processes had to tell."""
    for title, lines in config.stash.get(_TOLD, {}).items():
        terminalreporter.section(title)
        terminalreporter.write("\n".join([*lines, ""]))


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
