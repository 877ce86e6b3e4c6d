"""What each unit of a job does: a few statements over the pipelines, and what is worth recording of it."""

from __future__ import annotations

from typing import Any

from sbka_milvus.progress import Progress
from workers.steps import step_of
from workers.unit import Handler, Unit


def handler_of(unit: str) -> Handler:
    """What does a unit of this name."""
    # Imported when needed: a process that plans needs no torch.
    step = step_of(unit)
    if step == "train":
        from workers.units.train import train

        return train
    if step in ("build", "gate", "switch"):
        from workers.units import upgrade

        return {"build": upgrade.build, "gate": upgrade.gate, "switch": upgrade.switch}[step]
    if step == "cluster":
        from workers.units.cluster import cluster

        return cluster
    from workers.units import ingest

    return {"plan": _plan, "embed": ingest.embed, "index": ingest.index}[step]


def _plan(unit: Unit, progress: Progress) -> dict[str, Any]:
    from workers.units import ingest, upgrade

    plan = ingest.plan if unit.job.request.kind == "ingest" else upgrade.plan
    return plan(unit, progress)
