"""A job is what its folder says, whatever else lies about there."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.errors import JobError, OutputError
from schemas.jobs import IngestJob
from workers.jobs import JobFolder, create_job, list_jobs, new_job_id, open_job, open_jobs, read_json

WISH = IngestJob(sources=("/photos",), gallery="/gallery")


def test_a_job_is_there_when_its_record_is_and_says_what_was_asked(workspace: Path) -> None:
    made = create_job(workspace, WISH)
    found = open_job(workspace, made.id)
    assert found.record.request == found.request == WISH
    assert found.record.id == made.id
    assert found.is_open
    assert [job.id for job in list_jobs(workspace)] == [made.id]


def test_a_full_disk_leaves_no_job(workspace: Path, full_disk: Callable[[], AbstractContextManager[None]]) -> None:
    with full_disk(), pytest.raises(OutputError, match=r"job\.json"):
        create_job(workspace, WISH)
    assert list_jobs(workspace) == []


def test_jobs_are_listed_by_age_whatever_their_kind(workspace: Path) -> None:
    names = ["upgrade-20260101-000000-aaaaaa", "ingest-20260101-000001-aaaaaa", "train-20260102-000000-aaaaaa"]
    for name in reversed(names):
        create_job(workspace, WISH, name)
    assert [job.id for job in list_jobs(workspace)] == names


def test_jobs_of_one_second_are_listed_in_the_order_in_which_they_were_made(workspace: Path) -> None:
    names = [f"ingest-20260101-000000-{chance}aaaaa" for chance in "fab"]
    for number, name in enumerate(names):
        record = create_job(workspace, WISH, name).root / "job.json"
        os.utime(record, ns=(number, number))
    assert [job.id for job in list_jobs(workspace)] == names


def test_what_is_no_job_is_passed_over(workspace: Path) -> None:
    job = create_job(workspace, WISH)
    for name in ("backup", "copy-of-job", f"{job.id}-copy", f"{job.id} (1)"):
        folder = workspace / "jobs" / name
        folder.mkdir()
        (folder / "job.json").write_bytes((job.root / "job.json").read_bytes())
    (workspace / "jobs" / new_job_id("ingest")).mkdir()
    (workspace / "jobs" / "notes.txt").write_text("mine")
    assert [found.id for found in list_jobs(workspace)] == [job.id]


@pytest.mark.parametrize("name", ["", "train", "../jobs", "ingest-2026/../x", "."])
def test_an_unknown_job_says_how_to_list_them(workspace: Path, name: str) -> None:
    create_job(workspace, WISH)
    with pytest.raises(JobError, match="sbka jobs list"):
        open_job(workspace, name)


def test_a_job_is_found_by_a_beginning_that_only_it_has(workspace: Path) -> None:
    one, other = (create_job(workspace, WISH, f"ingest-2026010{day}-000000-aaaaaa") for day in (1, 2))
    assert open_job(workspace, "ingest-20260101").id == one.id
    with pytest.raises(JobError, match=f"2 jobs begin with 'ingest-2026'.*{one.id}, {other.id}"):
        open_job(workspace, "ingest-2026")


@pytest.mark.parametrize("name", ["cancel", "failed", "report"])
def test_a_job_that_ended_is_open_again_when_it_is_reopened(workspace: Path, name: str) -> None:
    job = create_job(workspace, WISH)
    job.write("done", "plan", {"n": 1})
    job.write("tries", "embed-000000", {"starts": 3})
    job.write("queued", "embed-000000", {"at": 1.0})
    job.end(name, {"problem": "x"})
    assert not job.is_open and open_jobs(workspace) == []
    ending = job.ending(name)
    assert ending is not None and ending["problem"] == "x" and ending["at"] > 0
    job.reopen()
    assert job.is_open and job.names("tries") == job.names("queued") == set()
    assert job.read("done", "plan") == {"n": 1}


def test_a_removed_job_is_not_open_though_a_worker_left_something_there(workspace: Path, remove: Any) -> None:
    job = create_job(workspace, WISH)
    assert job.record.id == job.id
    remove(job)
    job.write("progress", "plan", {})
    assert not job.is_open
    assert list_jobs(workspace) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"3"])
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert read_json(tmp_path / "x.json") is None
    assert read_json(tmp_path / "none.json") is None
    assert read_json(tmp_path) is None


def test_drafts_of_files_are_no_units(workspace: Path) -> None:
    job = create_job(workspace, WISH)
    job.write("done", "plan", {})
    (job.root / "done" / ".1234.tmp").write_text("{}")
    (job.root / "done" / ".hidden.json").write_text("{}")
    assert job.names("done") == {"plan"}
    job.remove("done", "plan")
    job.remove("done", "plan")
    assert job.names("done") == job.names("leases") == set()


@pytest.mark.parametrize("content", ["", "{}", '{"format_version": 2}'])
def test_a_damaged_record_names_its_file(workspace: Path, content: str) -> None:
    job = create_job(workspace, WISH)
    (job.root / "job.json").write_text(content)
    with pytest.raises(JobError, match=r"job\.json does not fit at"):
        _ = JobFolder(job.root).record
