"""The record of a training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sbka_milvus.errors import OutputError
from sbka_milvus.training.history import EpochRecord, History


def history() -> History:
    records = [
        EpochRecord(number, {"category": 1.0 / number}, 0.1, number > 1, score, 2.0)
        for number, score in ((1, 0.5), (2, 0.25))
    ]
    return History(records, best_epoch=2)


def test_the_best_score_is_the_best_epoch_s() -> None:
    assert history().best_map == 0.25
    assert History().best_map is None


def test_it_is_plain_values_for_a_manifest() -> None:
    values = json.loads(json.dumps(history().to_dict()))
    assert (values["best_epoch"], values["best_validation_map"]) == (2, 0.25)
    assert values["epochs"][0] == {
        "epoch": 1,
        "losses": {"category": 1.0},
        "learning_rate": 0.1,
        "teacher_learns": False,
        "validation_map": 0.5,
        "seconds": 2.0,
        "teacher_learning_rate": None,
    }


def test_it_is_written_one_line_an_epoch(tmp_path: Path) -> None:
    history().write_jsonl(tmp_path / "history.jsonl")
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history().to_dict()["epochs"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"history\.jsonl cannot be written"):
        history().write_jsonl(tmp_path / "file" / "history.jsonl")
