"""A unit of a job in the hands of a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sbka_milvus.progress import Progress
from workers.context import Context
from workers.jobs import JobFolder
from workers.leases import Lease


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit in hand.

    Attributes:
        job: whose it is.
        name: of the unit.
        context: what the process keeps open.
        lease: that makes it ours.
    """

    job: JobFolder
    name: str
    context: Context
    lease: Lease


Handler = Callable[[Unit, Progress], dict[str, Any] | None]
"""Does a unit. What it returns is recorded as done; none: something is missing, and reconcile shall look again."""
