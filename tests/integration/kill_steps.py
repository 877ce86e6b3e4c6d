"""Children that are killed with -9 at a step of their work: for programs that tests run, which begin in this folder.

They fork before Milvus Lite is opened: loading everything anew for each kill would take most of the time. So what a
child would load is loaded here, where no thread runs yet.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sbka_milvus.store import MilvusGalleryStore

for _name in ("milvus_lite.adapter.grpc.server", "pyarrow.dataset", "pyarrow.parquet", "sbka_milvus.rankers"):
    importlib.import_module(_name)


class Steps:
    """The steps of this process.

    Attributes:
        trail: those that it came to.
        kill_at: the number of the one at which it is killed; none: it is not.
    """

    def __init__(self) -> None:
        self.trail: list[str] = []
        self.kill_at: int | None = None

    def reach(self, what: str) -> None:
        """Comes to a step."""
        self.trail.append(what)
        if len(self.trail) - 1 == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


STEPS = Steps()
OF_AN_INDEX = (
    *((MilvusGalleryStore, name) for name in ("create_version", "insert", "promote", "drop_version")),
    *((Path, name) for name in ("replace", "unlink")),
)
"""What changes Milvus or the gallery's folder."""


def hook(functions: Iterable[tuple[Any, str]]) -> None:
    """Puts a step before and one after each call of functions, named by their owners."""
    for owner, name in functions:
        setattr(owner, name, _stepped(getattr(owner, name), name))


def _stepped(inner: Callable[..., Any], name: str) -> Callable[..., Any]:
    def hooked(*args: Any, **kwargs: Any) -> Any:
        STEPS.reach(f"before {name}")
        result = inner(*args, **kwargs)
        STEPS.reach(f"after {name}")
        return result

    return hooked


def forked(work: Callable[..., object], *args: object) -> int:
    """Does something in a child; gives its wait status: 0 where all went well."""
    child = os.fork()
    if child == 0:
        try:
            work(*args)
            code = 0
        except BaseException:
            traceback.print_exc()
            code = 1
        os._exit(code)
    return os.waitpid(child, 0)[1]


def kill_everywhere(
    folder: Path, work: Callable[[Path], object], make_good: Callable[[Path, int], object]
) -> tuple[int, Path]:
    """Does work on copies of ``folder/start``, each time killed one step later, until it comes to its end.

    Args:
        folder: has ``start``; gains the copy, ``run``.
        work: what is killed; given the copy.
        make_good: is given each copy after the kill, and the step's number.

    Returns:
        How often it was killed, and the copy on which it was not.
    """
    root, number = folder / "run", 0
    while True:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(folder / "start", root)
        status = forked(_killed, work, root, number)
        if status == 0:
            return number, root
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (number, status)
        make_good(root, number)
        number += 1


def _killed(work: Callable[[Path], object], root: Path, number: int) -> None:
    STEPS.kill_at = number
    hook(OF_AN_INDEX)
    work(root)
