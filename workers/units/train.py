"""The unit of a training: it goes on from its checkpoint, whoever began it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from sbka_milvus.encoders.manifest import MANIFEST_FILE, Manifest, read_manifest
from sbka_milvus.errors import OutputError
from sbka_milvus.pipelines.train import TrainRequest, train_model, write_history
from sbka_milvus.pipelines.training_sketches import remove_cache, sketches_beside
from sbka_milvus.progress import Progress
from sbka_milvus.training.history import History
from schemas.jobs import TrainJob
from workers.context import limit_threads
from workers.training import asked, feedback_sketches
from workers.tries import note_checkpoint
from workers.unit import Unit


def train(unit: Unit, progress: Progress) -> dict[str, Any]:
    """Trains a model into its folder."""
    wish = training_of(unit)
    finished = _finished(unit, Path(wish.out), progress)
    if finished is not None:
        return finished
    values = asked(wish, unit.context.settings)
    extra, notes = feedback_sketches(wish, values["split"])
    for note in notes:
        progress.say(note)
    limit_threads(unit.context.settings.worker.threads)
    request = TrainRequest(
        **values,
        extra_sketches=tuple(extra),
        note={"job": unit.job.id},
        checkpoint=unit.job.model_folder,
        checkpoint_every_s=unit.context.settings.training.checkpoint_every_s,
        on_checkpoint=lambda: _keep(unit),
    )
    report = train_model(request, progress)
    for path, reason in report.rejected:
        progress.say(f"Left out {path}: {reason}")
    for note in report.notes:
        progress.say(note)
    return _result(wish.out, report.bundle.manifest) | {"seconds": report.seconds, "resumed_at": report.resumed_at}


def training_of(unit: Unit) -> TrainJob:
    """The training that a job asks for, alone or before an upgrade."""
    request = unit.job.request
    wish: TrainJob = request if isinstance(request, TrainJob) else request.train
    return wish


def _keep(unit: Unit) -> None:
    unit.lease.require()
    # A full disk must not end the training: the checkpoint itself only tells of it, too.
    with suppress(OutputError):
        note_checkpoint(unit.job, unit.name)


def _finished(unit: Unit, out: Path, progress: Progress) -> dict[str, Any] | None:
    """The model, where this very job has saved it already and died before it could say so."""
    if not (out / MANIFEST_FILE).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.training.get("note", {}).get("job") != unit.job.id:
        return None
    # What it did not come to either.
    write_history(History.from_dict(manifest.training["history"]), out, progress)
    shutil.rmtree(unit.job.model_folder, ignore_errors=True)
    remove_cache(sketches_beside(out))
    return _result(str(out), manifest)


def _result(out: str, manifest: Manifest) -> dict[str, Any]:
    history = manifest.training.get("history", {})
    return {
        "model": out,
        "fingerprint": manifest.fingerprint,
        "best_epoch": history.get("best_epoch"),
        "validation_map": history.get("best_validation_map"),
    }
