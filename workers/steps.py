"""What a job consists of, and which parts of it are missing now. Only the workspace is asked, never the queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sbka_milvus.embeddings import QuarantinedFile
from schemas.jobs import Kind
from workers.jobs import JobFolder

_UPGRADE = ("plan", "embed", "build", "gate", "switch")
STEPS: dict[Kind, tuple[str, ...]] = {
    "ingest": ("plan", "embed", "index"),
    "train": ("train",),
    "upgrade": _UPGRADE,
    "retrain": ("train", *_UPGRADE),
    "cluster": ("cluster",),
}
QUEUES = {
    "plan": "control",
    "embed": "embed",
    "gate": "embed",
    "index": "index",
    "build": "index",
    "switch": "index",
    "cluster": "index",
    "train": "train",
}
"""The gate encodes sketches, so it goes where encoders are loaded."""


def step_of(unit: str) -> str:
    """The step that a unit belongs to.

    >>> step_of("embed-000012"), step_of("index")
    ('embed', 'index')
    """
    return unit.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planning unit has found: ``done/plan.json``.

    Attributes:
        fingerprint: of the model to embed with.
        first: number of the first chunk; a later plan of the same job goes on counting.
        counts: photos in each chunk.
        base: number of the first chunk's shard.
        found: photos in the sources.
        unchanged: of them already embedded.
        problems: files that could not be looked at, with the reasons.
        listed: of the photos those that stood in quarantine before.
        missing: what is to be pruned: :class:`~sbka_milvus.pipelines.prune.Missing`; empty where nothing is.
    """

    fingerprint: str
    first: int
    counts: tuple[int, ...]
    base: int
    found: int
    unchanged: int
    problems: dict[str, str]
    listed: tuple[str, ...]
    missing: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, job: JobFolder) -> Plan | None:
        """The plan of a job; none where there is none yet, or where it is damaged."""
        content = job.read("done", "plan")
        if content is None:
            return None
        content = {"missing": {}} | content  # which a plan of an earlier release does not have
        if not content.keys() >= set(cls.__slots__):
            return None
        return cls(
            **{name: content[name] for name in cls.__slots__}
            | {
                "counts": tuple(content["counts"]),
                "listed": tuple(content["listed"]),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def units(self) -> list[str]:
        """The units that embed its chunks."""
        return [f"embed-{number:06d}" for number in range(self.first, self.first + len(self.counts))]

    def shard_number(self, chunk: int) -> int:
        """The number of a chunk's shard."""
        return self.base + chunk - self.first


def missing_units(job: JobFolder) -> list[str]:
    """The units that can be done now and are not; empty where everything is done."""
    done = job.names("done")
    for step in STEPS[job.record.request.kind]:
        if step == "embed":
            plan = Plan.read(job)
            if plan is None:
                return ["plan"]
            missing = [unit for unit in plan.units if unit not in done]
            if missing:
                return missing
        elif step not in done:
            return [step]
        elif step == "gate" and not (job.read("done", "gate") or {}).get("passed"):
            return []
    return []


def quarantined(job: JobFolder) -> list[QuarantinedFile]:
    """The files of a job that could not be used, each once."""
    made = Plan.read(job)
    found = dict(made.problems) if made else {}
    for unit in sorted(job.names("done")):
        if unit.startswith("embed-"):
            for file in (job.read("done", unit) or {}).get("quarantined", ()):
                found[file["uri"]] = file["reason"]
    return [QuarantinedFile(uri, reason) for uri, reason in sorted(found.items())]
