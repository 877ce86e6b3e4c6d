"""The units of an upgrade: plan, embed (as in an ingest), build, gate, switch. Nothing is seen of it until the last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.removal import removed_photos
from sbka_milvus.embeddings.shards import list_shards, next_shard_number, read_known, write_shard
from sbka_milvus.embeddings.versions import read_version_record
from sbka_milvus.encoders.bundle import copy_bundle
from sbka_milvus.encoders.manifest import read_manifest
from sbka_milvus.feedback import FeedbackLog, stored_queries
from sbka_milvus.images import PhotoFile
from sbka_milvus.pipelines.chunks import embedded_files, write_chunks
from sbka_milvus.pipelines.embed import update_quarantine
from sbka_milvus.pipelines.fits import refer_to_served
from sbka_milvus.pipelines.gate import measure_gate
from sbka_milvus.pipelines.gate_rules import GateOptions, HeldOut
from sbka_milvus.pipelines.index import IndexOptions, build_version
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.version_states import served_version
from sbka_milvus.pipelines.versions import follow_served, record_gate, serve_version
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import VersionInfo
from schemas.jobs import GateRules, UpgradeJob
from workers.jobs import JobFolder
from workers.steps import Plan, quarantined
from workers.unit import Unit
from workers.units.ingest import first_chunk, forget_lost_shards, plan_again

_QUERIES = 200
"""Stored sketches that the agreement is measured on, the newest first."""


def plan(unit: Unit, progress: Progress) -> dict[str, Any]:
    """Lists the photos of the gallery that the new model has not embedded yet."""
    old, new = _galleries(unit.job)
    copy_bundle(_model(unit.job), new.model_folder)
    missing = list(_uncovered(unit.job, old, new))
    total = sum(1 for _ in embedded_files(old))
    first = first_chunk(unit.job)
    counts = write_chunks(unit.job.chunk_folder, missing, unit.context.settings.worker.chunk_size, first)
    made = Plan(
        fingerprint=new.fingerprint,
        first=first,
        counts=tuple(counts),
        base=next_shard_number(new.shard_folder),
        found=total,
        unchanged=total - len(missing),
        problems={},
        listed=(),
    )
    return made.to_dict()


def build(unit: Unit, progress: Progress) -> dict[str, Any] | None:
    """Builds a version of the new model's shards beside the one that is served."""
    job, settings = unit.job, unit.context.settings
    old, new = _galleries(job)
    if forget_lost_shards(job, new):
        return None
    if any(True for _ in _uncovered(job, old, new)):
        plan_again(job)
        return None
    _forget_removed(old, new)
    missing = _missing_share(job, old)
    if missing and not list_shards(new.shard_folder):
        # There is nothing to build, so it is decided here already.
        job.write("done", "gate", _too_many_missing(missing, _upgrade(job).gate))
        return {"version": 0, "token": "", "photos": 0, "clusters": 0}
    wish, ingest = _upgrade(job), settings.ingest
    options = IndexOptions(
        wish.n_clusters or ingest.n_clusters, ingest.keep_versions, matching=wish.matching or ingest.matching
    )
    with unit.context.store(old) as store:
        info = build_version(new, store, options, progress)
        return {"version": info.version, "token": info.token, "photos": store.count(info), "clusters": info.n_clusters}


def gate(unit: Unit, progress: Progress) -> dict[str, Any] | None:
    """Measures the new version against the served one. What does not pass is never served by itself."""
    job = unit.job
    rules = _upgrade(job).gate
    old, new = _galleries(job)
    with unit.context.store(old) as store:
        candidate = _candidate(job, new, store)
        if candidate is None:
            return None
        served = served_version(old, store)
        missing = _missing_share(job, old)
        if missing > rules.max_missing and not rules.force:
            decision = _too_many_missing(missing, rules)
        else:
            made = measure_gate(
                store,
                old,
                served,
                candidate,
                lambda info: unit.context.encoder(old.for_model(info.fingerprint)),
                held_out(old, rules),
                GateOptions(
                    max_loss=rules.max_loss,
                    min_agreement=rules.min_agreement,
                    cluster_weight=unit.context.settings.search.cluster_weight,
                    force=rules.force,
                ),
                progress,
            )
            decision = made.to_dict() | {"missing": missing}
        record_gate(new, candidate, decision)
    return decision


def held_out(gallery: Gallery, rules: GateRules) -> HeldOut:
    """What a gate measures on: labelled sketches, else the queries named, else the gallery's feedback sketches."""
    labelled = None if rules.held_out is None else Path(rules.held_out)
    queries = [Path(query) for query in rules.queries] or stored_queries(FeedbackLog(gallery.root))
    return HeldOut(labelled, tuple(queries[:_QUERIES]))


def switch(unit: Unit, progress: Progress) -> dict[str, Any] | None:
    """Serves the new version, in one step."""
    job, settings = unit.job, unit.context.settings
    with index_lock(Gallery.open(Path(job.request.gallery))):
        old, new = _galleries(job)
        with unit.context.store(old) as store:
            old = follow_served(old, store)
            info = _candidate(job, new, store)
            if info is None:
                return None
            if any(True for _ in _uncovered(job, old, new)) or _holds_others(new, info):
                # Photos came in, or were removed, while the new version was built: it must not lose nor keep them.
                plan_again(job)
                for step in ("build", "gate"):
                    job.remove("done", step)
                return None
            unit.lease.require()
            gallery = serve_version(new, store, info, settings.ingest.keep_versions, place=unit.context.place)
            result = {"version": info.version, "fingerprint": info.fingerprint, "photos": store.count(info)}
            update_quarantine(new, (), (), quarantined(job))
            refer_to_served(gallery, store, info, datetime.now(UTC))
    return result


def _upgrade(job: JobFolder) -> UpgradeJob:
    request = job.request
    wish: UpgradeJob = request if isinstance(request, UpgradeJob) else request.upgrade
    return wish


def _model(job: JobFolder) -> Path:
    return Path(_upgrade(job).model)


def _galleries(job: JobFolder) -> tuple[Gallery, Gallery]:
    """The gallery as it serves now, and as the new model sees it."""
    old = Gallery.open(Path(_upgrade(job).gallery))
    return old, old.for_model(read_manifest(_model(job)).fingerprint)


def _uncovered(job: JobFolder, old: Gallery, new: Gallery) -> Iterator[PhotoFile]:
    """Photos of the served model's shards that the new model has neither embedded nor refused."""
    if old.fingerprint == new.fingerprint:
        return
    known = read_known(new.shard_folder)
    bad = {file.uri for file in quarantined(job)}
    for file in embedded_files(old):
        if file.uri not in bad and known.get(file.uri) != (file.size, file.mtime_ns):
            yield file


def _forget_removed(old: Gallery, new: Gallery) -> None:
    """Photos that were removed while chunks that name them were waiting are not to come back with the new model."""
    if old.fingerprint == new.fingerprint:
        return
    removed = removed_photos(old.shard_folder, read_known(old.shard_folder)) & read_known(new.shard_folder).keys()
    if removed:
        write_shard(new.shard_folder, None, new.fingerprint, removed=removed)


def _holds_others(new: Gallery, info: VersionInfo) -> bool:
    """Whether a version does not hold as many photos as its shards do now."""
    record = read_version_record(new.version_folder, info.token)
    return record is not None and record.photos != len(read_known(new.shard_folder))


def _missing_share(job: JobFolder, old: Gallery) -> float:
    total = sum(1 for _ in embedded_files(old))
    return len(quarantined(job)) / total if total else 0.0


def _too_many_missing(share: float, rules: GateRules) -> dict[str, Any]:
    reason = (
        f"{share:.1%} of the served photos cannot be read now, and {rules.max_missing:.1%} may be missing: "
        "is a drive not there?"
    )
    return {"passed": False, "measure": "missing", "reason": reason, "missing": share}


def _candidate(job: JobFolder, new: Gallery, store: GalleryStore) -> VersionInfo | None:
    """The version that was built; where Milvus has lost it, it is built again."""
    token = (job.read("done", "build") or {}).get("token")
    for info in store.versions(new.name):
        if info.token == token:
            return info
    for step in ("build", "gate"):
        job.remove("done", step)
    return None
