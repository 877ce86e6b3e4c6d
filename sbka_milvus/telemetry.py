"""Names, help texts and units of the metrics that background work shows to Prometheus."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: as Prometheus knows it; a counter's is shown with ``_total`` behind it.
        help: what it says, and of what unit it is.
        labels: what tells its series apart.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


REDIS_UP = Metric("sbka_redis_up", "Whether Redis, which hands out work, answers: 1 or 0.")
QUEUE_DEPTH = Metric("sbka_queue_depth", "Messages that wait in a queue.", ("queue",))

WORKER_UP = Metric("sbka_worker_up", "Whether a worker is alive and heard of lately: 1 or 0.", ("worker",))
WORKER_INFO = Metric("sbka_worker", "What a worker is.", ("worker", "host", "queues", "pool"))
HEARTBEAT = Metric(
    "sbka_worker_heartbeat_timestamp_seconds", "When a worker was last heard of, in seconds since 1970.", ("worker",)
)
MEMORY = Metric(
    "sbka_worker_resident_memory_bytes", "Memory of a worker's processes that is in RAM, in bytes.", ("worker",)
)
IMAGES = Metric("sbka_worker_images", "Pictures that a worker has embedded or drawn from.", ("worker",))
IMAGE_RATE = Metric("sbka_worker_images_per_second", "Pictures a second over the last 10 seconds.", ("worker",))
UNITS_DONE = Metric("sbka_worker_units_done", "Units of jobs that a worker has finished.", ("worker",))
UNITS_FAILED = Metric("sbka_worker_units_failed", "Units of jobs that a worker has tried and failed at.", ("worker",))
ERROR_AGE = Metric("sbka_worker_last_error_age_seconds", "Seconds since a worker's last error.", ("worker",))
ERROR_INFO = Metric("sbka_worker_last_error", "Of which kind a worker's last error was.", ("worker", "kind"))

SEARCH_SECONDS = Metric("sbka_search_seconds", "How long a stage of a search took, in seconds.", ("stage",))
"""Of whoever searches, in a registry of its own; not of workers."""

METRICS = (
    REDIS_UP,
    QUEUE_DEPTH,
    WORKER_UP,
    WORKER_INFO,
    HEARTBEAT,
    MEMORY,
    IMAGES,
    IMAGE_RATE,
    UNITS_DONE,
    UNITS_FAILED,
    ERROR_AGE,
    ERROR_INFO,
)
"""All of them."""
