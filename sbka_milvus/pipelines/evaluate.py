"""Evaluate: unseen sketches against a gallery, one-to-one and one-to-many, with chance beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sbka_milvus.clusters import default_n_clusters, fit_clusters
from sbka_milvus.errors import DatasetError, StoreError
from sbka_milvus.evaluation import (
    EvaluationReport,
    MethodScores,
    answerable,
    count_labels,
    rank_one_to_many,
    rank_one_to_one,
    score_categories,
    score_chance,
    score_rankings,
)
from sbka_milvus.images import Split
from sbka_milvus.images.datasets import name_key
from sbka_milvus.pipelines.labelled import LabelledVectors
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder, GalleryStore
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.types import Embeddings, IntArray


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """How to evaluate.

    Attributes:
        data_set: its name in the report.
        input_size: side in pixels to which sketches are normalised.
        cluster_weight: of the one-to-many score.
        ks: cut-offs of P@K.
        n_clusters: clusters, where photos are evaluated without a gallery; 0: chosen from their number.
        seed: of the clustering, likewise.
    """

    data_set: str
    input_size: int
    cluster_weight: float = 0.8
    ks: tuple[int, ...] = (10, 25, 100)
    n_clusters: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rankings:
    """The whole gallery ranked for every query, in two ways.

    Attributes:
        one_to_one: shape (Q, N), int64: category labels in ranked order.
        one_to_many: shape (Q, N), int64, likewise.
        n_clusters: clusters that one-to-many ranking used.
    """

    one_to_one: IntArray
    one_to_many: IntArray
    n_clusters: int


def evaluate_gallery(
    store: GalleryStore,
    gallery: str,
    sketches: LabelledVectors,
    split: Split,
    encoder: Encoder,
    options: EvaluateOptions,
    progress: Progress,
) -> EvaluationReport:
    """Scores a gallery's real search with all clusters probed.

    A photo's category is the name of its folder, which may differ from the split's in case, ' ', '_' and '-'.

    Raises:
        EncoderMismatch: The gallery belongs to another model.
        DatasetError: No sketch has a photo of its category in the gallery.
        StoreError: The gallery was rebuilt meanwhile.
    """
    searcher = GallerySearcher(store, gallery)
    searcher.require_encoder(encoder.fingerprint)
    names: dict[str, int] = {}
    spelling = {name_key(name): name for name in split.unseen}

    def label(uri: str) -> int:
        folder = Path(uri).parent.name
        return names.setdefault(spelling.get(name_key(folder), folder), len(names))

    count = searcher.count()
    versions = set()
    one_to_one, one_to_many = [], []
    everything = SearchOptions(n_probe=None, cluster_weight=options.cluster_weight)
    with progress.stage("Searching", len(sketches.vectors), "sketches") as advance:
        # One at a time: each result holds the whole gallery.
        for row in range(len(sketches.vectors)):
            result = searcher.search(sketches.vectors[row : row + 1], count, everything)[0]
            versions.add(result.version)
            labels = np.asarray([label(hit.uri) for hit in result], dtype=np.int64)
            members = np.asarray([hit.member_score for hit in result])
            ids = np.asarray([hit.photo_id for hit in result])
            one_to_many.append(labels)
            one_to_one.append(labels[np.lexsort((ids, -members))])
            advance(1)
    if len(versions) > 1 or {len(labels) for labels in one_to_many} != {count}:
        raise StoreError(f"The gallery {gallery!r} changed while it was evaluated.", "Evaluate it again.")
    rankings = Rankings(np.stack(one_to_one), np.stack(one_to_many), searcher.n_clusters)
    return make_report(rankings, names, sketches, split, encoder.fingerprint, options)


def evaluate_vectors(
    photos: LabelledVectors, sketches: LabelledVectors, split: Split, fingerprint: str, options: EvaluateOptions
) -> EvaluationReport:
    """Scores encoded photos and sketches by exact search in memory, without a gallery.

    Raises:
        DatasetError: No sketch has a photo of its category.
    """
    rankings, names = rank_vectors(photos, sketches, options)
    noted = replace(sketches, notes=(*photos.notes, *sketches.notes))
    return make_report(rankings, names, noted, split, fingerprint, options)


def rank_vectors(
    photos: LabelledVectors, sketches: LabelledVectors, options: EvaluateOptions
) -> tuple[Rankings, dict[str, int]]:
    """Rankings by exact search in memory, and the label of each category."""
    names: dict[str, int] = {}
    labels = np.asarray([names.setdefault(name, len(names)) for name in photos.categories], dtype=np.int64)
    embeddings = Embeddings(tuple(str(path) for path in photos.paths), photos.vectors)
    n_clusters = options.n_clusters or default_n_clusters(len(embeddings))
    clustering = fit_clusters(embeddings, n_clusters, seed=options.seed)
    one_to_one = rank_one_to_one(sketches.vectors, photos.vectors)
    one_to_many = rank_one_to_many(
        sketches.vectors, photos.vectors, clustering.table.centroids, clustering.assignments, options.cluster_weight
    )
    rankings = Rankings(labels[one_to_one], labels[one_to_many], len(clustering.table))
    return rankings, names


def make_report(
    rankings: Rankings,
    names: dict[str, int],
    sketches: LabelledVectors,
    split: Split,
    fingerprint: str,
    options: EvaluateOptions,
) -> EvaluationReport:
    """Scores rankings. Categories of the gallery that the split does not call unseen stay in it, and are noted.

    Raises:
        DatasetError: No sketch has a photo of its category.
    """
    labels = dict(names)
    queries = np.asarray([labels.setdefault(name, len(labels)) for name in sketches.categories], dtype=np.int64)
    counts = count_labels(rankings.one_to_one[0], len(labels))
    usable = answerable(queries, counts)
    if not usable.any():
        raise DatasetError(
            "No sketch has a photo of its category in the gallery.",
            "Photos must lie in folders named like the sketches' categories.",
        )
    notes = list(sketches.notes)
    if not usable.all():
        notes.append(f"{int((~usable).sum())} sketches left out: the gallery has no photo of their category.")
    outside = sorted(set(names) - set(split.unseen))
    if outside:
        notes.append(f"The gallery holds {len(outside)} categories outside the split's unseen ones.")
    queries, one, many = queries[usable], rankings.one_to_one[usable], rankings.one_to_many[usable]
    rows: list[MethodScores] = [
        score_chance(queries, counts, options.ks),
        score_rankings("one-to-one", one, queries, counts, options.ks),
        score_rankings("one-to-many", many, queries, counts, options.ks),
    ]
    return EvaluationReport(
        data_set=options.data_set,
        split_name=split.name,
        split_digest=split.digest,
        protocol="plain",
        n_queries=len(queries),
        n_gallery=int(counts.sum()),
        n_categories=len(set(queries.tolist())),
        n_clusters=rankings.n_clusters,
        cluster_weight=options.cluster_weight,
        fingerprint=fingerprint,
        rows=tuple(rows),
        categories=score_categories(many, queries, counts, list(labels)),
        notes=tuple(notes),
    )
