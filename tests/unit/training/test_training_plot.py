"""The plot of a training."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.errors import OutputError
from sbka_milvus.training.history import EpochRecord, History
from sbka_milvus.training.plot import draw_training


def record(epoch: int, figure: float | None = 0.3, *, learns: bool = False, **losses: float) -> EpochRecord:
    rate = 1e-3 / epoch
    return EpochRecord(epoch, {"category": 2.0 / epoch, **losses}, rate, learns, figure, 1.0, rate if learns else None)


def drawn(history: History, path: Path) -> np.ndarray:
    draw_training(history, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def colours(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels.astype(int) - colour).max(axis=-1) < 12).sum())


def test_it_is_written_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "training.png"
    path.write_bytes(b"an older one")
    pixels = drawn(History([record(1), record(2), record(3)], 2), path)
    assert pixels.shape[0] > 600 < pixels.shape[1]
    assert [one.name for one in tmp_path.iterdir()] == ["training.png"]


def test_where_the_teacher_learns_there_is_more_to_see(tmp_path: Path) -> None:
    plain = [record(1), record(2), record(3)]
    taught = [record(1), record(2, learns=True, teacher_knowledge=3.0), record(3, learns=True, teacher_knowledge=2.0)]
    alone, both = (drawn(History(epochs, 2), tmp_path / "x.png") for epochs in (plain, taught))
    orange = (0xD5, 0x5E, 0x00)  # the star of the model, and the teacher's loss and rate
    assert colours(both, orange) > 2 * colours(alone, orange) > 0
    assert longest_grey_column(both) > 200 > longest_grey_column(alone), "a dotted line down the panels"


def longest_grey_column(pixels: np.ndarray) -> int:
    values = pixels.astype(int)
    grey = (np.ptp(values, axis=-1) < 8) & (values[..., 0] > 60) & (values[..., 0] < 190)
    return int(grey.sum(axis=0).max())


@pytest.mark.parametrize(
    "history",
    [
        History([record(1)], 1),
        History([record(1, None), record(2, None)], 2),
        History([EpochRecord(1, {"category": 0.0}, 0.0, False, 0.0, 1.0)], 1),
        History([record(number) for number in range(1, 400)], 7),
        History([record(1, **{f"loss {number}": 1.0 for number in range(12)})], 1),
    ],
)
def test_a_history_of_any_kind_can_be_drawn(history: History, tmp_path: Path) -> None:
    assert drawn(history, tmp_path / "x.png").std() > 5


def test_a_full_disk_is_an_error_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "training.png"
    draw_training(History([record(1)], 1), path)
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OutputError, match=r"training\.png cannot be written"):
            draw_training(History([record(1), record(2)], 1), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["training.png"]
