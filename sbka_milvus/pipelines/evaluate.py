"""Evaluate: unseen sketches against a gallery, one-to-one, one-to-many and otherwise, with chance beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sbka_milvus.errors import StoreError
from sbka_milvus.evaluation import EvaluationPlan, EvaluationReport
from sbka_milvus.images import Split
from sbka_milvus.images.datasets import name_key
from sbka_milvus.pipelines.evaluate_options import EvaluateOptions
from sbka_milvus.pipelines.evaluate_report import make_report
from sbka_milvus.pipelines.labelled import LabelledVectors
from sbka_milvus.pipelines.measured import Measured, Measurement
from sbka_milvus.pipelines.rankings import (
    ONE_TO_MANY,
    ONE_TO_ONE,
    Ranker,
    Rankings,
    cluster_photos,
    query_parts,
    ranked_blocks,
)
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder, GalleryStore, MatchingOf
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.types import IntArray, SearchResult

__all__ = [
    "EvaluateOptions",
    "evaluate_gallery",
    "evaluate_vectors",
    "measure_rankings",
    "measure_vectors",
]


def evaluate_gallery(
    store: GalleryStore,
    gallery: str,
    sketches: LabelledVectors,
    split: Split,
    encoder: Encoder,
    options: EvaluateOptions,
    progress: Progress,
    *,
    matching_of: MatchingOf | None = None,
) -> EvaluationReport:
    """Scores a gallery's real search with all clusters probed.

    A photo's category is the name of its folder, which may differ from the split's in case, ' ', '_' and '-'.
    The rankings are scored 32 MB at a time; see :mod:`sbka_milvus.evaluation.tally`. In a version of the form *linear*
    one-to-one is by the cosine of the aligned sketch and the aligned photo, and the weight is the version's own.

    Args:
        store: where the gallery is.
        gallery: its name.
        sketches: the queries.
        split: says which categories are unseen.
        encoder: the gallery's own.
        options: how to evaluate.
        progress: what shows how far it is.
        matching_of: as of :class:`~sbka_milvus.search.GallerySearcher`.

    Raises:
        EncoderMismatch: The gallery belongs to another model.
        DatasetError: No sketch has a photo of its category in the gallery.
        StoreError: The gallery was rebuilt meanwhile.
    """
    searcher = GallerySearcher(store, gallery, matching_of=matching_of)
    searcher.require_encoder(encoder.fingerprint)
    count = searcher.count()
    everything = SearchOptions(exact=True, default_weight=options.cluster_weight)
    found: _Found | None = None
    with progress.stage("Searching", len(sketches.vectors), "sketches") as advance:
        for part in query_parts(len(sketches.vectors), count):
            ranked: dict[str, list[IntArray]] = {ONE_TO_ONE: [], ONE_TO_MANY: []}
            # One at a time: each result holds the whole gallery.
            for row in range(part.start, part.stop):
                result = searcher.search(sketches.vectors[row : row + 1], count, everything)[0]
                found = found or _Found(result, sketches, split, options.plan)
                for method, positions in found.positions(result, count).items():
                    ranked[method].append(positions)
                advance(1)
            if found is not None:
                for method, rows in ranked.items():
                    found.measurement.add(method, part, np.stack(rows))
    if found is None:
        raise StoreError(f"The gallery {gallery!r} was asked nothing.", "Give at least one sketch.")
    measured = found.measurement.finish(searcher.n_clusters)
    matching = searcher.matching
    if matching is not None:
        note = f"Matched by the gallery's own form, {matching.name}; one-to-one is in the same space."
        measured = replace(measured, notes=(*measured.notes, note))
        options = replace(options, cluster_weight=matching.cluster_weight)
    return make_report(measured, split, encoder.fingerprint, options)


class _Found:
    """The gallery as the first search found it: its photos by position, and the measurement of their rankings."""

    def __init__(self, result: SearchResult, sketches: LabelledVectors, split: Split, plan: EvaluationPlan) -> None:
        hits = sorted(result, key=lambda hit: hit.photo_id)
        self._gallery, self._version = result.gallery, result.version
        self._ids = np.array([hit.photo_id for hit in hits], dtype=np.int64)
        spelling = {name_key(name): name for name in split.unseen}
        folders = [Path(hit.uri).parent.name for hit in hits]
        categories = [spelling.get(name_key(folder), folder) for folder in folders]
        self.measurement = Measurement(categories, [hit.uri for hit in hits], sketches, plan)

    def positions(self, result: SearchResult, count: int) -> dict[str, IntArray]:
        """Both rankings of one result.

        Raises:
            StoreError: It is not of the same photos.
        """
        ids = np.array([hit.photo_id for hit in result], dtype=np.int64)
        fused = np.searchsorted(self._ids, ids)
        if result.version != self._version or len(ids) != count or not np.array_equal(np.sort(ids), self._ids):
            raise StoreError(f"The gallery {self._gallery!r} changed while it was evaluated.", "Evaluate it again.")
        members = np.array([hit.member_score for hit in result])
        return {ONE_TO_ONE: fused[np.lexsort((fused, -members))], ONE_TO_MANY: fused}


def evaluate_vectors(
    photos: LabelledVectors,
    sketches: LabelledVectors,
    split: Split,
    fingerprint: str,
    options: EvaluateOptions,
    methods: Mapping[str, Ranker] | None = None,
) -> EvaluationReport:
    """Scores encoded photos and sketches by exact search in memory, without a gallery.

    Args:
        photos: the gallery.
        sketches: the queries.
        split: says which categories are unseen.
        fingerprint: of the encoder.
        options: how to evaluate.
        methods: more methods by name; each becomes a row beside one-to-one and one-to-many. See
            :data:`~sbka_milvus.pipelines.rankings.Ranker` and, for the memory they take,
            :func:`~sbka_milvus.pipelines.rankings.ranked_blocks`.

    Raises:
        DatasetError: No sketch has a photo of its category.
        InvalidValue: A method's name is taken, or it gives no rankings of the gallery.
    """
    return make_report(measure_vectors(photos, sketches, options, methods), split, fingerprint, options)


def measure_vectors(
    photos: LabelledVectors,
    sketches: LabelledVectors,
    options: EvaluateOptions,
    methods: Mapping[str, Ranker] | None = None,
) -> Measured:
    """What each method scores on each query: what reports, and comparisons of several runs, are made of.

    Args and errors are those of :func:`evaluate_vectors`.
    """
    measurement = _measurement(photos, sketches, options.plan)
    clustering = cluster_photos(photos, options.n_clusters, options.seed)
    for method, blocks in ranked_blocks(sketches.vectors, photos.vectors, clustering, options.cluster_weight, methods):
        measurement.add_blocks(method, blocks)
    return measurement.finish(len(clustering.table))


def measure_rankings(
    rankings: Rankings, photos: LabelledVectors, sketches: LabelledVectors, options: EvaluateOptions
) -> Measured:
    """What rankings that were made elsewhere score on each query.

    Raises:
        DatasetError: No sketch has a photo of its category.
        InvalidValue: The rankings are not of this gallery and these queries.
    """
    measurement = _measurement(photos, sketches, options.plan)
    for method, blocks in rankings.blocks():
        measurement.add_blocks(method, blocks)
    return measurement.finish(rankings.n_clusters)


def _measurement(photos: LabelledVectors, sketches: LabelledVectors, plan: EvaluationPlan) -> Measurement:
    uris: Sequence[str] = [str(path) for path in photos.paths]
    return Measurement(photos.categories, uris, replace(sketches, notes=(*photos.notes, *sketches.notes)), plan)
