"""The units of an ingest: plan, embed, index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import next_shard_number, read_known, read_metadata, shard_name
from sbka_milvus.factory import embed_options
from sbka_milvus.images import PhotoFile, source_photos
from sbka_milvus.pipelines.chunks import chunk_file, embed_chunk, known_shard_name, read_chunk, write_chunks
from sbka_milvus.pipelines.embed import counted, update_quarantine
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.metadata import Sorting, renew_metadata
from sbka_milvus.pipelines.prune import Missing, find_missing, prune, require_pruning
from sbka_milvus.pipelines.versions import follow_served
from sbka_milvus.progress import Progress
from workers.jobs import JobFolder
from workers.poison import Careful
from workers.steps import Plan, quarantined
from workers.unit import Unit


def plan(unit: Unit, progress: Progress) -> dict[str, Any]:
    """Lists the photos that have to be embedded, in chunks; writes those again of which other things are said now."""
    gallery = Gallery.open(Path(unit.job.request.gallery))
    known = read_known(gallery.shard_folder)
    sorting = Sorting(known, read_metadata(gallery.shard_folder))
    listed_before = {file.uri for file in read_quarantine(gallery.quarantine_file)}
    problems: dict[str, str] = {}
    wish = unit.job.request
    present: set[str] = set()
    listed: list[str] = []
    renewed: list[PhotoFile] = []
    found = fresh = 0

    def new_or_changed() -> Iterator[PhotoFile]:
        nonlocal found, fresh
        with progress.stage("Finding photos", unit="files") as advance:
            files = source_photos(wish.sources, lambda uri, why: problems.update({uri: why}))
            for file in counted(files, advance):
                found += 1
                if wish.prune:
                    present.add(file.uri)
                if file.uri in listed_before:
                    listed.append(file.uri)
                if sorting.is_fresh(file):
                    fresh += 1
                    yield sorting.with_metadata(file)
                elif sorting.is_renewed(file):
                    renewed.append(file)

    first, counts = _write_plan(unit, new_or_changed())
    renew_metadata(gallery, renewed)
    made = Plan(
        fingerprint=gallery.fingerprint,
        first=first,
        counts=tuple(counts),
        base=next_shard_number(gallery.shard_folder),
        found=found,
        unchanged=found - fresh,
        problems=problems,
        listed=tuple(listed),
        missing=find_missing(wish.sources, known, present, problems).to_dict() if wish.prune else {},
    )
    return made.to_dict()


def _write_plan(unit: Unit, files: Iterator[PhotoFile]) -> tuple[int, list[int]]:
    first = first_chunk(unit.job)
    return first, write_chunks(unit.job.chunk_folder, files, unit.context.settings.worker.chunk_size, first)


def first_chunk(job: JobFolder) -> int:
    """The number of the first chunk of the next plan: numbers of earlier plans never come again."""
    earlier = job.read("earlier", "plan")
    planned = 0 if earlier is None else int(earlier["first"]) + len(earlier["counts"])
    # A damaged plan is made anew, and says nothing of the numbers that it gave.
    done = (int(unit.removeprefix("embed-")) for unit in job.names("done") if unit.startswith("embed-"))
    return max(planned, 1 + max(done, default=-1))


def plan_again(job: JobFolder) -> None:
    """Has the job planned once more: photos came, or another model serves now. What is embedded stays so.

    Raises:
        OutputError: The workspace cannot be written.
    """
    made = job.read("done", "plan")
    if made is not None:
        job.write("earlier", "plan", made)
        job.remove("done", "plan")


def embed(unit: Unit, progress: Progress) -> dict[str, Any]:
    """Embeds one chunk into the shard of its name."""
    made = Plan.read(unit.job)
    assert made is not None, "there are no chunks without a plan"
    number = int(unit.name.removeprefix("embed-"))
    gallery = Gallery.open(Path(unit.job.request.gallery)).for_model(made.fingerprint)
    encoder = unit.context.encoder(gallery)
    name = shard_name(made.shard_number(number), f"{unit.job.id}/{number}")
    careful = Careful.of(unit.job, unit.name)
    files = careful.left(read_chunk(chunk_file(unit.job.chunk_folder, number)))
    options = careful.options(embed_options(encoder.input_size, unit.context.settings))
    report = embed_chunk(files, gallery, encoder, options, name, progress, on_file=careful.on_file)
    careful.forget()
    return {
        "shard": name if report.embedded else None,
        "known_shard": known_shard_name(name) if report.known else None,
        "embedded": report.embedded,
        "moved": report.moved,
        "copied": report.copied,
        "touched": report.touched,
        "quarantined": [asdict(file) for file in (*report.quarantined, *careful.poison)],
        "seconds": report.seconds,
    }


def index(unit: Unit, progress: Progress) -> dict[str, Any] | None:
    """Brings the served version up to the shards."""
    job, settings = unit.job, unit.context.settings
    made = Plan.read(job)
    assert made is not None, "an index follows a plan"
    gallery = Gallery.open(Path(job.request.gallery))
    with index_lock(gallery), unit.context.store(gallery) as store:
        gallery = follow_served(Gallery.open(gallery.root), store)
        if gallery.fingerprint != made.fingerprint:
            # An upgrade came first: what this job has embedded is for a model that serves no more.
            plan_again(job)
            return None
        if forget_lost_shards(job, gallery):
            return None
        pruned = _prune(job, gallery, made)
        update_quarantine(gallery, job.request.sources, set(made.listed), quarantined(job))
        options = IndexOptions(
            job.request.n_clusters or settings.ingest.n_clusters,
            settings.ingest.keep_versions,
            place=unit.context.place,
            matching=job.request.matching or settings.ingest.matching,
            max_drift=settings.ingest.max_drift,
        )
        return asdict(build_index(gallery, store, options, progress)) | pruned


def _prune(job: JobFolder, gallery: Gallery, made: Plan) -> dict[str, Any]:
    """Takes out what the plan did not find again; last of all, when what has moved is known.

    A refusal comes here too, so that what was embedded is kept: an ingest without it takes that in.
    """
    if not made.missing:
        return {}
    missing = Missing.from_dict(made.missing)
    going = require_pruning(missing, read_known(gallery.shard_folder), consent=job.request.prune_all)
    # A worker that is killed after this does it again, and finds nothing left to do: so the sum is written down first.
    told = job.read("pruned", "index") or {"pruned": len(going)}
    job.write("pruned", "index", told)
    prune(gallery, going)
    return {"pruned": int(told["pruned"]), "unpruned": dict(missing.unsure)}


def forget_lost_shards(job: JobFolder, gallery: Gallery) -> bool:
    """Whether a shard that was written is not there any more; its chunk is then embedded again."""
    lost = False
    for unit in sorted(job.names("done")):
        done = (job.read("done", unit) or {}) if unit.startswith("embed-") else {}
        shards = [shard for shard in (done.get("shard"), done.get("known_shard")) if shard]
        if any(not (gallery.shard_folder / shard).exists() for shard in shards):
            job.remove("done", unit)
            lost = True
    return lost
