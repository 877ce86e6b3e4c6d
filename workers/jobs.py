"""A job in the workspace: what was asked, and what is done of it. Redis knows nothing that is not here.

``jobs/<id>/`` holds ``job.json`` (the wish), ``done/<unit>.json`` (what a unit has made), ``tries/<unit>.json``,
``queued/<unit>.json``, ``leases/<unit>.json``, ``progress/<unit>.json``, ``chunks/`` (lists of photos), and how it
ended: ``cancel.json``, ``failed.json`` or ``report.json``.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sbka_milvus.errors import JobError
from sbka_milvus.files import replacing
from schemas.jobs import JobRecord, JobRequest
from schemas.wire import JOB_ID, parse

_RECORD = "job.json"
_NAME = re.compile(JOB_ID)
_ENDINGS = ("cancel", "failed", "report")


class JobFolder:
    """One job's folder. Made anew whenever it is needed: it keeps nothing in memory but the wish, which never changes.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def id(self) -> str:
        """The job's id."""
        return self.root.name

    @cached_property
    def record(self) -> JobRecord:
        """What was asked.

        Raises:
            JobError: There is no such job, or its record is damaged.
        """
        path = self.root / _RECORD
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise unknown_job(self.id, self.root.parent) from error
        except OSError as error:
            raise JobError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
        return parse(JobRecord, content, str(path))

    @property
    def request(self) -> Any:
        """The wish: one of :data:`~schemas.jobs.JobRequest`."""
        return self.record.request

    @property
    def chunk_folder(self) -> Path:
        """Lists of photos."""
        return self.root / "chunks"

    @property
    def model_folder(self) -> Path:
        """Where a training of this job keeps its checkpoint."""
        return self.root / "checkpoint"

    def path(self, kind: str, unit: str) -> Path:
        """The file of a unit: ``kind`` is done, tries, queued, leases or progress."""
        return self.root / kind / f"{unit}.json"

    def read(self, kind: str, unit: str) -> dict[str, Any] | None:
        """What a unit's file says; none where there is none, or where it is damaged and thus says nothing."""
        return read_json(self.path(kind, unit))

    def write(self, kind: str, unit: str, content: dict[str, Any]) -> None:
        """Replaces a unit's file.

        Raises:
            OutputError: The workspace cannot be written.
        """
        write_json(self.path(kind, unit), content)

    def remove(self, kind: str, unit: str) -> None:
        """Removes a unit's file, if there is one."""
        with suppress(FileNotFoundError):
            self.path(kind, unit).unlink()

    def names(self, kind: str) -> set[str]:
        """The units that have a file of this kind."""
        try:
            return {
                entry.stem for entry in (self.root / kind).iterdir() if entry.suffix == ".json" and entry.stem[0] != "."
            }
        except FileNotFoundError:
            return set()

    def clear(self, kind: str) -> None:
        """Removes all files of a kind."""
        shutil.rmtree(self.root / kind, ignore_errors=True)

    def ending(self, name: str) -> dict[str, Any] | None:
        """``cancel``, ``failed`` or ``report``, if the job ended so."""
        return read_json(self.root / f"{name}.json")

    def end(self, name: str, content: dict[str, Any]) -> None:
        """Records how the job ended.

        Raises:
            OutputError: The workspace cannot be written.
        """
        write_json(self.root / f"{name}.json", content | {"at": time.time()})

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wants it to stop."""
        return (self.root / "cancel.json").exists()

    @property
    def exists(self) -> bool:
        """Whether it is there: a worker may leave a file behind in the folder of a job that was removed."""
        return (self.root / _RECORD).exists()

    @property
    def is_open(self) -> bool:
        """Whether there is work left to do."""
        return self.exists and not any((self.root / f"{name}.json").exists() for name in _ENDINGS)

    def reopen(self) -> None:
        """Forgets how it ended, and its failed tries; what is done stays done."""
        for name in _ENDINGS:
            with suppress(FileNotFoundError):
                (self.root / f"{name}.json").unlink()
        for kind in ("tries", "queued"):
            self.clear(kind)


def new_job_id(kind: str) -> str:
    """An id that sorts by time within its kind."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def create_job(workspace: Path, request: JobRequest, name: str | None = None) -> JobFolder:
    """A new job; it exists when its record is on the disk.

    Args:
        workspace: where it goes.
        request: what is asked.
        name: from :func:`new_job_id`; by default a new one.

    Raises:
        OutputError: The workspace cannot be written.
    """
    name = name or new_job_id(request.kind)
    folder = JobFolder(job_root(workspace) / name)
    record = JobRecord(id=name, created=datetime.now(UTC), request=request)
    with replacing(folder.root / _RECORD) as file:
        # As in schemas.wire: pydantic's own JSON takes no bytes that are no characters.
        file.write((json.dumps(record.model_dump(mode="json"), indent=2) + "\n").encode())
    return folder


def open_job(workspace: Path, name: str) -> JobFolder:
    """A job by its id, or by the beginning of it that only one has.

    Raises:
        JobError: There is none, or several.
    """
    root = job_root(workspace)
    exact = JobFolder(root / name) if name and "/" not in name else None
    if exact is not None and exact.exists:
        return exact
    found = [job for job in list_jobs(workspace) if name and job.id.startswith(name)]
    if len(found) > 1:
        raise JobError(
            f"{len(found)} jobs begin with {name!r}.", f"Name one: {', '.join(job.id for job in found[:5])}."
        )
    if not found:
        raise unknown_job(name, root)
    return found[0]


def list_jobs(workspace: Path) -> list[JobFolder]:
    """All jobs, oldest first."""
    return sorted(_job_folders(job_root(workspace)), key=_age)


def open_jobs(workspace: Path) -> list[JobFolder]:
    """The jobs that have work left, oldest first."""
    return [job for job in list_jobs(workspace) if job.is_open]


def _job_folders(root: Path) -> Iterator[JobFolder]:
    try:
        entries = list(root.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        # A folder of another name is somebody's copy: no message could name it.
        if _NAME.match(entry.name) and (job := JobFolder(entry)).exists:
            yield job


def _age(job: JobFolder) -> tuple[str, int, str]:
    """What jobs sort by: the second in the id, and within it the record's own time, which is written once."""
    _, day, second, chance = job.id.split("-")
    try:
        written = (job.root / _RECORD).stat().st_mtime_ns
    except OSError:
        # Removed just now.
        written = 0
    return f"{day}-{second}", written, chance


def job_root(workspace: Path) -> Path:
    """Where a workspace keeps its jobs."""
    return workspace / "jobs"


def unknown_job(name: str, root: Path) -> JobError:
    """The error for a job that does not exist."""
    return JobError(
        f"There is no job {name!r} in {root}.", "List them with `sbka jobs list`; SBKA_WORKSPACE names the folder."
    )


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; none where there is no file, or where it is no JSON object."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: dict[str, Any], *, durable: bool = True) -> None:
    """Replaces a file by a JSON object.

    Raises:
        OutputError: It cannot be written.
    """
    with replacing(path, durable=durable) as file:
        file.write((json.dumps(content) + "\n").encode())
