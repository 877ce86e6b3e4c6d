"""The payloads of tasks: which unit of which job. Everything else is in the workspace."""

from __future__ import annotations

from pydantic import Field

from schemas.wire import JOB_ID, Wire


class UnitMessage(Wire):
    """One unit of a job.

    Attributes:
        job: id of the job.
        unit: ``plan``, ``embed-000012``, ``index``, ``train``, ``build``, ``gate``, ``switch`` or
            ``cluster``.
    """

    job: str = Field(pattern=JOB_ID)
    unit: str = Field(pattern=r"^[a-z]+(-\d{6})?$")
