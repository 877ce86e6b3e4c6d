"""What crosses a process fits its model exactly, or is refused with the entry at fault."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from sbka_milvus.errors import JobError
from sbka_milvus.training.options import TrainingOptions
from schemas.jobs import GateRules, IngestJob, JobRecord, RetrainJob, TrainJob, UpgradeJob
from schemas.reports import JobStatus, UnitProgress
from schemas.tasks import UnitMessage
from schemas.wire import parse

TRAIN = TrainJob(
    photos="/p",
    sketches="/s",
    out="/m",
    backbone="timm:x",
    backbone_options={"pad_type": "same"},
    options=TrainingOptions(epochs=3),
)
UPGRADE = UpgradeJob(
    gallery="/g", model="/m", gate=GateRules(held_out="/h", queries=("/q",)), n_clusters=4, matching="linear"
)
WISHES = [
    IngestJob(sources=("/photos/*.jpg", "/caf\u00e9", "/bytes \udcff"), gallery="/g", n_clusters=3, matching="fused"),
    TRAIN,
    UPGRADE,
    RetrainJob(train=TRAIN, upgrade=UPGRADE, reason="drift"),
]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: str(wish.kind))
def test_a_wish_comes_back_from_its_file_as_it_was(wish: Any) -> None:
    record = JobRecord(id=f"{wish.kind}-20260101-120000-0123ab", created=datetime.now(UTC), request=wish)
    found = parse(JobRecord, json.dumps(record.model_dump(mode="json")), "job.json")
    assert found == record
    assert type(found.request) is type(wish)


@pytest.mark.parametrize(
    ("model", "values", "where"),
    [
        (IngestJob, {"sources": ["photos"], "gallery": "/g"}, "sources.0: Value error, must be absolute"),
        (IngestJob, {"sources": [], "gallery": "/g"}, "sources"),
        (IngestJob, {"sources": ["/p"], "gallery": "g"}, "gallery"),
        (IngestJob, {"sources": ["/p"], "gallery": "/g", "n_clusters": -1}, "n_clusters"),
        (IngestJob, {"sources": ["/p"], "gallery": "/g", "matching": "best"}, "matching"),
        (IngestJob, {"sources": ["/p"], "gallery": "/g", "shards": 3}, "shards: Extra inputs"),
        (TrainJob, {"photos": "/p", "sketches": "/s", "out": "/m"}, "backbone: Field required"),
        (TrainJob, {**TRAIN.model_dump(), "size": 8}, "size"),
        (TrainJob, {**TRAIN.model_dump(), "teacher_options": {"a": 1}}, "its whole: Value error, teacher_weights"),
        (TrainJob, {**TRAIN.model_dump(), "precision": "fp8"}, "precision"),
        (TrainJob, {**TRAIN.model_dump(), "semantics": "words.npz"}, "semantics: Value error, must be absolute"),
        (TrainJob, {**TRAIN.model_dump(), "options": {"epochs": 0}}, "options.epochs"),
        (TrainJob, {**TRAIN.model_dump(), "options": {"epoch": 3}}, "options.epoch"),
        (GateRules, {"max_loss": 1.5}, "max_loss"),
        (GateRules, {"min_agreement": float("nan")}, "min_agreement"),
        (GateRules, {"queries": ["q.png"]}, "queries.0"),
        (UpgradeJob, {"gallery": "/g", "model": "/m", "gate": {"max_missing": -1}}, "gate.max_missing"),
        (UnitMessage, {"job": "ingest-1", "unit": "plan"}, "job"),
        (UnitMessage, {"job": "ingest-20260101-120000-0123ab", "unit": "../plan"}, "unit"),
        (UnitMessage, {"job": "../../ingest-20260101-120000-0123ab", "unit": "plan"}, "job"),
        (UnitMessage, {"job": "ingest-20260101-120000-0123ab", "unit": "plan", "code": "x"}, "code"),
        (JobRecord, "{", "its JSON"),
        (JobRecord, b"\xff", "its JSON"),
        (JobRecord, "[]", "its whole"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(model: Any, values: Any, where: str) -> None:
    with pytest.raises(JobError, match="The wish does not fit at ") as caught:
        parse(model, values, "The wish")
    assert f"does not fit at {where}" in caught.value.problem
    assert caught.value.remedy


def test_a_wish_of_a_kind_that_nobody_knows_is_refused() -> None:
    record = {
        "id": "ingest-20260101-120000-0123ab",
        "created": "2026-01-01T00:00:00Z",
        "request": {"kind": "delete", "gallery": "/g"},
    }
    with pytest.raises(JobError, match=r"at request: .*'delete'"):
        parse(JobRecord, json.dumps(record), "job.json")


def test_a_message_cannot_be_changed_on_its_way() -> None:
    message = UnitMessage(job="ingest-20260101-120000-0123ab", unit="embed-000012")
    with pytest.raises(ValidationError):
        message.unit = "plan"  # type: ignore[misc]
    assert parse(UnitMessage, message.model_dump(), "The message") == message


def test_a_status_is_json_that_scripts_can_read() -> None:
    status = JobStatus(
        id="ingest-1", kind="ingest", state="running", created=datetime(2026, 1, 1, tzinfo=UTC), subject="/g",
        units=(UnitProgress(unit="plan", done=3),), report=None,
    )  # fmt: skip
    plain = json.loads(status.model_dump_json())
    assert (plain["state"], plain["created"], plain["units"][0]["done"]) == ("running", "2026-01-01T00:00:00Z", 3)
    assert JobStatus.model_validate(plain) == status
