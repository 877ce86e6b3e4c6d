"""TensorBoard's files of a training: one small file an epoch, written as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from sbka_milvus.errors import OutputError
from sbka_milvus.files import replacing
from sbka_milvus.progress import Progress
from sbka_milvus.training.history import EpochRecord, History

_SUFFIX = "sbka"


class Board:
    """Writes each epoch where TensorBoard finds it.

    TensorBoard reads the files of a folder one after the other. One an epoch, named by its number, leaves nothing half
    written where a training is killed, and one that goes on from a checkpoint writes its epochs over the same names.
    """

    def __init__(self, folder: Path, progress: Progress, clock: Callable[[], float] = time.time) -> None:
        """Nothing is written yet.

        Args:
            folder: of this training alone.
            progress: is told, once, where the folder cannot be written; the training goes on.
            clock: seconds since 1970.
        """
        self._folder = folder
        self._progress = progress
        self._clock = clock
        self._written = 0
        self._failed = False

    def show(self, history: History) -> None:
        """Writes the epochs that are new since the last call, in the first call all of them."""
        try:
            if not self._written:
                # Of an earlier training into this folder, which may have been longer.
                for stale in self._folder.glob(f"events.out.tfevents.*.{_SUFFIX}"):
                    stale.unlink(missing_ok=True)
            for record in history.epochs[self._written :]:
                with replacing(self._folder / _name(record.epoch), durable=False) as file:
                    file.write(_events(record, self._clock()))
                self._written = record.epoch
        except (OSError, OutputError) as error:
            if not self._failed:
                self._progress.say(f"TensorBoard's files are not complete, and the training goes on: {error}")
            self._failed = True


def _name(epoch: int) -> str:
    return f"events.out.tfevents.{epoch:010d}.{_SUFFIX}"


def scalars(record: EpochRecord) -> dict[str, float]:
    """What TensorBoard shows of an epoch, by tag."""
    values = {f"loss/{name}": value for name, value in record.losses.items()}
    values["rate/student"] = record.learning_rate
    if record.teacher_learning_rate is not None:
        values["rate/teacher"] = record.teacher_learning_rate
    if record.validation_map is not None:
        values["pseudo-unseen/mAP@all"] = record.validation_map
    return values | {"seconds": record.seconds}


def _events(record: EpochRecord, now: float) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for tag, value in scalars(record).items():
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.write(Event(wall_time=now, step=record.epoch, summary=summary).SerializeToString())
    return content.getvalue()
