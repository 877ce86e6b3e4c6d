"""Embed: find photos, take over what is known by its content, decode and encode the rest, write shards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from sbka_milvus.embeddings import Gallery, QuarantinedFile, read_quarantine, write_quarantine
from sbka_milvus.embeddings.shards import read_known, read_metadata, write_shard
from sbka_milvus.errors import EncoderMismatch
from sbka_milvus.images import PhotoFile, absolute_sources, belongs_to, source_photos, still_there
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.encode_files import encode_files
from sbka_milvus.pipelines.metadata import Sorting, renew_metadata
from sbka_milvus.pipelines.preflight import require_room
from sbka_milvus.pipelines.prune import Missing, PruneOptions, find_missing, prune, require_pruning
from sbka_milvus.pipelines.reuse import find_reuse
from sbka_milvus.pipelines.shard_buffer import ShardBuffer
from sbka_milvus.pipelines.stages import EncodeUse, StageTimes
from sbka_milvus.progress import Advance, Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.stopping import Stop, between_steps

_LOOKED_AT_ONCE = 65_536
"""Files: so many vectors are held in memory, and so often the shards are looked through."""


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What embedding did.

    Attributes:
        found: photos in the sources.
        embedded: photos embedded in this run.
        unchanged: photos that were embedded before and have not changed.
        quarantined: files of these sources that could not be used.
        seconds: wall time.
        renewed: photos that were embedded before and have other metadata now.
        stages: where the seconds went.
        photos_per_s: files that were embedded or refused in this run, a second of reading, decoding, encoding, writing.
        peak_memory_mib: see :attr:`~sbka_milvus.pipelines.stages.EncodeUse.peak_bytes`, in MiB.
        moved: photos that were known under another name, which is there no more; like the next two, not embedded again.
        copied: photos whose content is known under another name too.
        touched: photos whose time has changed and whose content has not.
        pruned: photos that were taken out because they are there no more.
        unpruned: sources of which nothing was taken out because they could not be listed whole, and why.
    """

    found: int
    embedded: int
    unchanged: int
    quarantined: tuple[QuarantinedFile, ...]
    seconds: float
    renewed: int = 0
    stages: StageTimes = field(default_factory=StageTimes)
    photos_per_s: float = 0.0
    peak_memory_mib: float = 0.0
    moved: int = 0
    copied: int = 0
    touched: int = 0
    pruned: int = 0
    unpruned: Mapping[str, str] = field(default_factory=dict)


def embed_photos(
    sources: Sequence[str | Path],
    gallery: Gallery,
    encoder: Encoder,
    options: EmbedOptions,
    progress: Progress,
    pruning: PruneOptions | None = None,
    before_first: Callable[[], object] | None = None,
) -> EmbedReport:
    """Embeds the photos of ``sources`` that the gallery does not hold yet. Safe to stop and run again at any time.

    Ctrl-C and SIGTERM finish the batch in hand, which is then kept: see :mod:`~sbka_milvus.stopping`.

    Args:
        sources: see :func:`~sbka_milvus.images.sources.find.source_photos`.
        gallery: what takes them in.
        encoder: its own.
        options: sizes and threads.
        progress: what shows how far it is.
        pruning: how photos of these sources that are there no more are taken out; none: they stay.
        before_first: is called once it is known that there is something to embed, before the first photo is opened.

    Raises:
        Stopped: It was asked to stop; says how much is done.
        EncoderMismatch: The encoder is not the gallery's.
        ImageError: A source does not exist, matches nothing or cannot be read.
        PruneRefused: More than half of a source would be taken out, and there is no consent.
        GalleryError: A shard or the list of quarantined files is damaged.
        OutputError: The disk is full, too small for what is to come, or the folder cannot be written.
    """
    start = time.perf_counter()
    require_own_encoder(gallery, encoder)
    problems: dict[str, str] = {}
    with progress.stage("Finding photos") as advance:
        files = list(counted(source_photos(sources, lambda uri, why: problems.update({uri: why})), advance))
    known = read_known(gallery.shard_folder)
    work = Sorting(known, read_metadata(gallery.shard_folder)).sort(files)
    renew_metadata(gallery, work.renewed)
    found = {file.uri for file in files}
    counts, fresh = _take_over(work.fresh, gallery, options, progress) if known else (Counter[str](), work.fresh)
    missing, going = Missing(), list[str]()
    if pruning is not None:
        missing = find_missing(sources, known, found, problems)
        for root, why in missing.unsure.items():
            progress.say(f"Nothing is pruned of {root}: {why}.")
        # Before hours of embedding, and after the moves, which are no losses.
        going = require_pruning(missing, read_known(gallery.shard_folder), consent=pruning.consent)
    writer = ShardBuffer(gallery, options.shard_size)
    looked = found_at = time.perf_counter()
    use, rate = EncodeUse(), 0.0
    if fresh:
        require_room(gallery, len(fresh), encoder.dim)
        if before_first is not None:
            before_first()
            found_at = time.perf_counter()
        with progress.stage("Embedding photos", len(fresh), "photos") as advance, between_steps() as stop:
            steps = _Steps(len(fresh), advance, stop)
            try:
                use = encode_files(fresh, encoder, options, writer.add_photos, problems, steps)
            finally:
                # Also after Ctrl-C or a full disk: what was encoded need not be encoded again.
                flushing = time.perf_counter()
                writer.flush()
        rate = len(fresh) / (time.perf_counter() - found_at)
        use = use.add(writing=time.perf_counter() - flushing)
    pruned = prune(gallery, going)
    quarantined = tuple(QuarantinedFile(uri, why) for uri, why in sorted(problems.items()))
    update_quarantine(gallery, sources, found, quarantined)
    return EmbedReport(
        found=len(files),
        embedded=writer.written,
        unchanged=work.unchanged,
        quarantined=quarantined,
        seconds=time.perf_counter() - start,
        renewed=len(work.renewed),
        moved=counts["moved"],
        copied=counts["copied"],
        touched=counts["touched"],
        pruned=pruned,
        unpruned=dict(missing.unsure),
        stages=use.add(finding=looked - start).stages,
        photos_per_s=rate,
        peak_memory_mib=use.peak_bytes / 2**20,
    )


class _Steps:
    """Tells how many files are done, and stops between two batches where that was asked for."""

    def __init__(self, total: int, advance: Advance, stop: Stop) -> None:
        self._total, self._advance, self._stop, self._done = total, advance, stop, 0

    def __call__(self, steps: int = 1, note: str = "") -> None:
        self._advance(steps, note)
        self._done += steps
        self._stop.check(lambda: f"{self._done:,} of {self._total:,} new photos are done and kept")


def _take_over(
    files: Sequence[PhotoFile], gallery: Gallery, options: EmbedOptions, progress: Progress
) -> tuple[Counter[str], list[PhotoFile]]:
    """Writes the photos that are known by their content under their new names.

    Returns:
        How many were moved, copied and touched; and the files that have to be embedded.
    """
    counts: Counter[str] = Counter()
    left: list[PhotoFile] = []
    with progress.stage("Looking for known photos", len(files), "photos") as advance:
        for begin in range(0, len(files), _LOOKED_AT_ONCE):
            block = files[begin : begin + _LOOKED_AT_ONCE]
            reuse = find_reuse(block, gallery, options)
            if reuse.records is not None:
                # In one shard, so that a moved photo is never there twice nor not at all.
                write_shard(gallery.shard_folder, reuse.records, gallery.fingerprint, removed=reuse.gone)
            counts.update(moved=reuse.moved, copied=reuse.copied, touched=reuse.touched)
            left += reuse.left
            advance(len(block))
    return counts, left


def require_own_encoder(gallery: Gallery, encoder: Encoder) -> None:
    """Refuses an encoder that is not the gallery's.

    Raises:
        EncoderMismatch: Naming both.
    """
    if encoder.fingerprint != gallery.fingerprint:
        raise EncoderMismatch(
            f"The gallery {gallery.root} is embedded with the model {gallery.fingerprint}, not {encoder.fingerprint}.",
            "Ingest with the gallery's own model, or into a new folder.",
        )


def counted(files: Iterable[PhotoFile], advance: Advance) -> Iterator[PhotoFile]:
    """The same files, each told of."""
    for file in files:
        advance(1)
        yield file


def update_quarantine(
    gallery: Gallery, sources: Sequence[str | Path], seen: Collection[str], fresh: Sequence[QuarantinedFile]
) -> None:
    """Brings the gallery's list of quarantined files up to date after a look at some sources.

    Files of other sources stay listed while they are there; those of these sources are listed anew.

    Args:
        gallery: whose list it is.
        sources: what was looked at.
        seen: URIs of the files that were found in it.
        fresh: those of them that could not be used.

    Raises:
        GalleryError: The list is damaged.
        OutputError: The folder cannot be written.
    """
    # Not resolved: files are named by the links as the user wrote them.
    roots = [root for source in sources for root in absolute_sources(source)]
    with FileLock(gallery.root / ".quarantine.lock"):
        listed = read_quarantine(gallery.quarantine_file)
        kept = {file.uri: file for file in listed if file.uri not in seen and _is_elsewhere(file.uri, roots)}
        kept.update({file.uri: file for file in fresh})
        if kept or listed:
            write_quarantine(gallery.quarantine_file, kept.values())


def _is_elsewhere(uri: str, roots: Sequence[str]) -> bool:
    return still_there(uri) and not any(belongs_to(uri, root) for root in roots)
