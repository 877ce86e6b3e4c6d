"""Ingest: embed what is new, then bring the index up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sbka_milvus.embeddings import Gallery
from sbka_milvus.pipelines.embed import EmbedReport, embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions, IndexReport, build_index, require_current
from sbka_milvus.pipelines.preflight import require_writable
from sbka_milvus.pipelines.prune import PruneOptions
from sbka_milvus.pipelines.stages import Bottleneck, bottleneck
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder, GalleryStore


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        embed: the first part.
        index: the second part.
        bottleneck: the stage of both that took the largest part of the time.
    """

    embed: EmbedReport
    index: IndexReport
    bottleneck: Bottleneck = field(default_factory=Bottleneck)


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to ingest.

    Attributes:
        embed: sizes, processes and limits.
        index: how it is indexed.
        pruning: how photos of the sources that are there no more are taken out; none: they stay.
        before_first: is called before the first photo is opened; not where none has to be.
    """

    embed: EmbedOptions
    index: IndexOptions
    pruning: PruneOptions | None = None
    before_first: Callable[[], object] | None = None


def ingest_photos(
    sources: Sequence[str | Path],
    gallery: Gallery,
    encoder: Encoder,
    store: GalleryStore,
    options: IngestOptions,
    progress: Progress,
) -> IngestReport:
    """Takes photos into a gallery. Running it again takes in only what is new or changed.

    Args:
        sources: see :func:`~sbka_milvus.images.sources.find.source_photos`.
        gallery: what takes them in.
        encoder: its own.
        store: where it is indexed.
        options: how.
        progress: what shows the stages.

    Raises:
        InvalidValue: The store cannot keep a gallery of this name.
        EncoderMismatch: The encoder is not the gallery's.
        ImageError: A source does not exist or matches nothing.
        PruneRefused: More than half of a source would be taken out, and there is no consent.
        GalleryError: The gallery holds no photos, is damaged, or is served with another model by now.
        Stopped: It was asked to stop; what is embedded is kept.
        OutputError: The disk is full, has no room for what is to come, or the folder cannot be written.
        StoreError: Milvus refused; the version that was served before is still served.
    """
    # What cannot be used shows before hours of embedding.
    require_current(gallery, store)
    require_writable(gallery)
    embedded = embed_photos(sources, gallery, encoder, options.embed, progress, options.pruning, options.before_first)
    indexed = build_index(gallery, store, options.index, progress)
    stages = embedded.stages.add(indexing=indexed.seconds)
    return IngestReport(replace(embedded, stages=stages), indexed, bottleneck(stages))
