"""Ingest: embed what is new, then bring the index up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.embeddings import Gallery
from sbka_milvus.pipelines.embed import EmbedReport, embed_photos
from sbka_milvus.pipelines.encode_files import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions, IndexReport, build_index, require_current
from sbka_milvus.pipelines.preflight import require_writable
from sbka_milvus.pipelines.prune import PruneOptions
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder, GalleryStore


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did: see the two parts."""

    embed: EmbedReport
    index: IndexReport


def ingest_photos(
    sources: Sequence[str | Path],
    gallery: Gallery,
    encoder: Encoder,
    store: GalleryStore,
    embed_options: EmbedOptions,
    index_options: IndexOptions,
    progress: Progress,
    pruning: PruneOptions | None = None,
) -> IngestReport:
    """Takes photos into a gallery. Running it again takes in only what is new or changed.

    Args:
        sources: see :func:`~sbka_milvus.images.sources.find.source_photos`.
        gallery: what takes them in.
        encoder: its own.
        store: where it is indexed.
        embed_options: sizes and threads.
        index_options: how it is indexed.
        progress: what shows the stages.
        pruning: how photos of these sources that are there no more are taken out; none: they stay.

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
    embedded = embed_photos(sources, gallery, encoder, embed_options, progress, pruning)
    return IngestReport(embedded, build_index(gallery, store, index_options, progress))
