"""How long work tells how far it is. The shell draws it; the library only reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Reports progress within a stage."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """``steps`` more are done; ``note`` is a short live figure, such as "loss 1.23"."""


class Progress(Protocol):
    """Something that shows the stages of a pipeline."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Advance]:
        """Opens a stage of ``total`` steps (none where it is not known)."""

    def say(self, message: str) -> None:
        """One line that the user should see now."""


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        """See :class:`Progress`."""
        yield _ignore

    def say(self, message: str) -> None:
        """See :class:`Progress`."""


def _ignore(steps: int = 1, note: str = "") -> None:
    return
