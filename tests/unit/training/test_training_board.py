"""TensorBoard's files, read with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.board import Board
from sbka_milvus.training.history import EpochRecord, History


class Listening(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def record(epoch: int, *, learns: bool = False, figure: float | None = None) -> EpochRecord:
    losses = {"category": 2.0 / epoch, **({"teacher_knowledge": 3.0} if learns else {})}
    return EpochRecord(epoch, losses, 0.25, learns, figure, 1.5, 0.5 if learns else None)


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_every_epoch(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs" / "one", Listening(), clock=lambda: 1e9)
    history = History()
    for one in (record(1), record(2, figure=0.125), record(3, learns=True, figure=0.5)):
        history.epochs.append(one)
        board.show(history)
    assert read(tmp_path / "runs" / "one") == {
        "loss/category": [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))],
        "loss/teacher_knowledge": [(3, 3.0)],
        "rate/student": [(1, 0.25), (2, 0.25), (3, 0.25)],
        "rate/teacher": [(3, 0.5)],
        "pseudo-unseen/mAP@all": [(2, 0.125), (3, 0.5)],
        "seconds": [(1, 1.5), (2, 1.5), (3, 1.5)],
    }
    assert len(list((tmp_path / "runs" / "one").iterdir())) == 3, "one an epoch, and no drafts"


def test_one_that_goes_on_writes_over_its_own_files_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    other = tmp_path / "events.out.tfevents.123.host"
    other.write_bytes(b"")
    first = Board(tmp_path, Listening())
    first.show(History([record(number) for number in range(1, 6)]))
    again = Board(tmp_path, Listening())
    again.show(History([record(1), record(2)]))
    again.show(History([record(1), record(2), record(3, figure=0.5)]))
    found = read(tmp_path)
    assert [step for step, _ in found["loss/category"]] == [1, 2, 3], "epochs of the longer one are gone"
    assert found["pseudo-unseen/mAP@all"] == [(3, 0.5)]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert other.exists()


def test_a_folder_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    heard = Listening()
    board = Board(tmp_path / "file" / "runs", heard)
    history = History([record(1)])
    board.show(history)
    history.epochs.append(record(2))
    board.show(history)
    assert len(heard.said) == 1
    assert "TensorBoard" in heard.said[0]
    assert "goes on" in heard.said[0]


def test_what_could_not_be_written_once_is_written_later(tmp_path: Path) -> None:
    blocked = tmp_path / "runs"
    blocked.write_text("")
    board = Board(blocked, Listening())
    board.show(History([record(1)]))
    blocked.unlink()
    board.show(History([record(1), record(2)]))
    assert [step for step, _ in read(blocked)["seconds"]] == [1, 2]
