"""What a training needs to go on exactly where it was killed: one file, replaced as a whole."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sbka_milvus.errors import OutputError
from sbka_milvus.files import replacing
from sbka_milvus.progress import Progress

CHECKPOINT_FILE = "checkpoint.pt"
FORMAT_VERSION = "3"
_DRAFTS = ".*.tmp"

State = dict[str, Any]
"""Tensors, numbers, text, and lists and dicts of them: nothing that would have to be unpickled as code."""


@dataclass(slots=True)
class Position:
    """How far a training is.

    Attributes:
        epoch: epochs that are done.
        step: steps that are done of the epoch after them.
        sums: weighted losses of these steps, added up by name.
        seconds: wall time that these steps took.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class Checkpoints:
    """Where one training keeps its checkpoint."""

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, str],
        progress: Progress,
        *,
        every_s: float,
        fresh: bool = False,
        before: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read or written yet.

        Args:
            folder: for the checkpoint alone.
            identity: digests of all that decides what the training makes, by what they are of; a checkpoint with
                others is not taken.
            progress: is told what becomes of an earlier checkpoint.
            every_s: seconds from one checkpoint to the next within an epoch.
            fresh: remove an earlier checkpoint instead of taking it.
            before: is called before each write; what it raises ends the training, with the last checkpoint kept.
            clock: seconds since some moment.
        """
        self.path = folder / CHECKPOINT_FILE
        self._identity = {"format": FORMAT_VERSION, **identity}
        self._progress = progress
        self._every_s = every_s
        self._fresh = fresh
        self._before = before
        self._clock = clock
        self._written = clock()

    def load(self) -> State | None:
        """The state to go on from; none where there is none, or where it is damaged or of another training."""
        if self._fresh:
            # Not only passed over: a start that is stopped early must not bring the old training back.
            self.remove()
        if not self.path.exists():
            return None
        try:
            content = self._read()
            identity = dict(content["identity"])
            state: State = content["state"]
        except Exception as error:
            # Damaged bytes fail inside zipfile, pickle or torch with whatever they happen to say.
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            self._progress.say(f"The checkpoint {self.path} is damaged ({reason}); the training starts anew.")
            return None
        others = [name for name in self._identity if identity.get(name) != self._identity[name]]
        if others:
            self._progress.say(
                f"The checkpoint {self.path} is of another training (other {', '.join(others)}); this one starts anew."
            )
            return None
        return state

    def _read(self) -> dict[str, Any]:
        # torch does not compare the checksums that it writes.
        with zipfile.ZipFile(self.path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"{broken} is not what was written")
        content: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        return content

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is old enough for another within an epoch."""
        return self._clock() - self._written >= self._every_s

    def save(self, capture: Callable[[], State]) -> None:
        """Writes what ``capture`` gives in place of the last checkpoint.

        Where the disk is full the last checkpoint stays, the user is told, and the training goes on.
        """
        if self._before is not None:
            self._before()
        try:
            self._write({"identity": self._identity, "state": capture()})
        except OutputError as error:
            self._progress.say(f"No checkpoint was written, and the training goes on without: {error}")
        self._written = self._clock()

    def _write(self, content: dict[str, Any]) -> None:
        self._remove_drafts()
        with replacing(self.path) as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:
                # The disk's own error is what torch's writer met before this one.
                raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error

    def remove(self) -> None:
        """Takes the checkpoint away, and its folder where nothing else is in it."""
        self._remove_drafts()
        with suppress(OSError):
            self.path.unlink()
        with suppress(OSError):
            self.path.parent.rmdir()

    def _remove_drafts(self) -> None:
        """A process that was killed while it wrote leaves its draft behind."""
        for draft in self.path.parent.glob(_DRAFTS):
            with suppress(OSError):
                draft.unlink()
