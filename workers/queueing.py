"""Sending the messages of units, each about once: what is in a queue or in somebody's hands is not sent again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from kombu import Connection
from kombu.exceptions import OperationalError

from sbka_milvus.errors import BrokerUnavailable
from sbka_milvus.settings import Settings
from schemas.tasks import UnitMessage
from workers.app import app, configure
from workers.broker import broker_url, connect, queue_depths, redis_incarnation
from workers.jobs import JobFolder
from workers.leases import is_held
from workers.steps import QUEUES, missing_units, step_of

_GRACE_S = 15.0
"""A message that was just taken from its queue is not in it, and its lease is not there yet."""
_FORGOTTEN_S = 600.0
"""A message that a dead worker had in hand comes back to no queue before the visibility timeout."""
TASKS = {step: f"sbka.{'index' if queue == 'index' else step}" for step, queue in QUEUES.items()}


@dataclass
class Sender:
    """Sends what is missing of jobs; looks at Redis once.

    Args:
        settings: of this process.

    Raises:
        BrokerUnavailable: Redis cannot be reached now.
    """

    settings: Settings
    _url: str = field(init=False)
    _depths: dict[str, int] = field(init=False)
    _incarnation: str = field(init=False)

    def __post_init__(self) -> None:
        self._url = broker_url(self.settings)
        configure(self.settings, self._url)
        client = connect(self.settings)
        try:
            self._depths = queue_depths(client)
            self._incarnation = redis_incarnation(client)
        finally:
            client.close()

    def advance(self, job: JobFolder) -> int:
        """Queues what can be done now of an open job, within its window.

        Returns:
            How many messages were sent.

        Raises:
            BrokerUnavailable: Redis went away.
            OutputError: The workspace cannot be written.
        """
        sent = 0
        now = time.time()
        # Not the application's own connections: those stay with the Redis that this process was shown first.
        with app.connection_for_write(self._url) as connection:
            for unit in missing_units(job)[: self.settings.worker.window]:
                if self._is_due(job, unit, now):
                    self._send(job, unit, now, connection)
                    sent += 1
        return sent

    def _is_due(self, job: JobFolder, unit: str, now: float) -> bool:
        if is_held(job.path("leases", unit), self.settings.worker.lease_s) or self._is_queued(job, unit, now):
            return False
        return float((job.read("tries", unit) or {}).get("not_before", 0.0)) <= now

    def _is_queued(self, job: JobFolder, unit: str, now: float) -> bool:
        marker = job.read("queued", unit)
        if marker is None or marker.get("redis") != self._incarnation:
            return False
        age = now - float(marker.get("at", 0.0))
        return age < _GRACE_S or (age < _FORGOTTEN_S and self._depths.get(QUEUES[step_of(unit)], 0) > 0)

    def _send(self, job: JobFolder, unit: str, now: float, connection: Connection) -> None:
        message = UnitMessage(job=job.id, unit=unit)
        step = step_of(unit)
        # Before the message: where the disk is full there is no message, rather than one after the other.
        job.write("queued", unit, {"at": now, "redis": self._incarnation})
        try:
            app.send_task(TASKS[step], kwargs=message.model_dump(), queue=QUEUES[step], connection=connection)
        except OperationalError as error:
            job.remove("queued", unit)
            raise BrokerUnavailable(
                "Redis went away while work was handed out.", "Nothing is lost: it is handed out again by itself."
            ) from error
