"""Embed: find photos, decode those that are new or changed, encode them, write shards."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from sbka_milvus.embeddings import Gallery, QuarantinedFile, read_quarantine, write_quarantine
from sbka_milvus.embeddings.shards import read_known, read_metadata
from sbka_milvus.errors import EncoderMismatch
from sbka_milvus.images import PhotoFile, absolute_sources, belongs_to, source_photos, still_there
from sbka_milvus.pipelines.encode_files import EmbedOptions, ShardBuffer, encode_files
from sbka_milvus.pipelines.metadata import Sorting, renew_metadata
from sbka_milvus.pipelines.preflight import require_room
from sbka_milvus.progress import Advance, Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.stopping import Stop, between_steps


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
    """

    found: int
    embedded: int
    unchanged: int
    quarantined: tuple[QuarantinedFile, ...]
    seconds: float
    renewed: int = 0


def embed_photos(
    sources: Sequence[str | Path], gallery: Gallery, encoder: Encoder, options: EmbedOptions, progress: Progress
) -> EmbedReport:
    """Embeds the photos of ``sources`` that the gallery does not hold yet. Safe to stop and run again at any time.

    Ctrl-C and SIGTERM finish the batch in hand, which is then kept: see :mod:`~sbka_milvus.stopping`.

    Raises:
        Stopped: It was asked to stop; says how much is done.
        EncoderMismatch: The encoder is not the gallery's.
        ImageError: A source does not exist, matches nothing or cannot be read.
        GalleryError: A shard or the list of quarantined files is damaged.
        OutputError: The disk is full, too small for what is to come, or the folder cannot be written.
    """
    start = time.perf_counter()
    require_own_encoder(gallery, encoder)
    problems: dict[str, str] = {}
    with progress.stage("Finding photos") as advance:
        files = list(counted(source_photos(sources, lambda uri, why: problems.update({uri: why})), advance))
    work = Sorting(read_known(gallery.shard_folder), read_metadata(gallery.shard_folder)).sort(files)
    renew_metadata(gallery, work.renewed)
    fresh = work.fresh
    writer = ShardBuffer(gallery, options.shard_size)
    if fresh:
        require_room(gallery, len(fresh), encoder.dim)
        with progress.stage("Embedding photos", len(fresh), "photos") as advance, between_steps() as stop:
            steps = _Steps(len(fresh), advance, stop)
            try:
                encode_files(fresh, encoder, options, writer.add, problems, steps)
            finally:
                # Also after Ctrl-C or a full disk: what was encoded need not be encoded again.
                writer.flush()
    quarantined = tuple(QuarantinedFile(uri, why) for uri, why in sorted(problems.items()))
    update_quarantine(gallery, sources, {file.uri for file in files}, quarantined)
    seconds = time.perf_counter() - start
    return EmbedReport(len(files), writer.written, work.unchanged, quarantined, seconds, len(work.renewed))


class _Steps:
    """Tells how many files are done, and stops between two batches where that was asked for."""

    def __init__(self, total: int, advance: Advance, stop: Stop) -> None:
        self._total, self._advance, self._stop, self._done = total, advance, stop, 0

    def __call__(self, steps: int = 1, note: str = "") -> None:
        self._advance(steps, note)
        self._done += steps
        self._stop.check(lambda: f"{self._done:,} of {self._total:,} new photos are done and kept")


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
