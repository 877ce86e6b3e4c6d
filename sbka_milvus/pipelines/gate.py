"""The gate: may a new version of a gallery take over from the one that is served?

Two measures. Where labelled sketches are at hand, mAP@all of the one-to-many search (mAP@200 in galleries of more than
:data:`FULL_DEPTH` photos, whose whole rankings would be too long): the new version may not lose more than a little of
it. Else the agreement of the two versions on sketches without labels, which says nothing about which one is better, but
that a broken model cannot pass:

    agreement@k = mean over the sketches of |top k of the served version and top k of the new one| / k

with k no larger than either version; 1 is the same photos in the first k places, in whatever order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.errors import DatasetError
from sbka_milvus.evaluation import mean_average_precision
from sbka_milvus.images import LabelledImage, list_images
from sbka_milvus.images.datasets import name_key
from sbka_milvus.pipelines.gate_rules import GateDecision, GateOptions, HeldOut
from sbka_milvus.pipelines.labelled import LabelledVectors, encode_images
from sbka_milvus.pipelines.matching import matching_finder
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder, GalleryStore
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.types import SearchResult, VersionInfo

__all__ = ["FULL_DEPTH", "GateDecision", "GateOptions", "HeldOut", "SizedEncoder", "measure_gate"]

FULL_DEPTH = 10_000
"""Photos up to which whole rankings are measured."""
LIMITED_DEPTH = 200
_ROUNDING = 1e-9


class SizedEncoder(Encoder, Protocol):
    """An encoder that says how large its pictures are."""

    @property
    def input_size(self) -> int:
        """Side in pixels."""


def measure_gate(
    store: GalleryStore,
    gallery: Gallery,
    served: VersionInfo | None,
    candidate: VersionInfo,
    encoder_for: Callable[[VersionInfo], SizedEncoder],
    held_out: HeldOut,
    options: GateOptions,
    progress: Progress,
) -> GateDecision:
    """Measures a new version against the served one. Nothing is changed.

    Args:
        store: has both versions.
        gallery: whose they are; of whichever model.
        served: the version that is served; None where none is yet, and then the new one passes.
        candidate: the new version.
        encoder_for: gives the encoder of a version.
        held_out: what to measure on.
        options: what must be reached.
        progress: what shows how far it is.

    Raises:
        DatasetError: The folder of labelled sketches is missing or empty.
        BundleError: An encoder cannot be loaded.
        StoreError: Milvus refused, or a version was dropped meanwhile.
    """
    if served is None:
        return GateDecision(True, "", None, None, None, 0, "Nothing is served yet.")
    gate = _Gate(store, gallery, served, candidate, encoder_for, options, progress)
    decision = gate.by_labels(held_out.sketches) if held_out.sketches is not None else None
    decision = decision or gate.by_agreement(held_out.queries)
    decision = decision or GateDecision(False, "", None, None, None, 0, _nothing(held_out))
    if options.force and not decision.passed:
        return replace(decision, passed=True, reason=f"Forced. {decision.reason}")
    return decision


def _nothing(held_out: HeldOut) -> str:
    if held_out.sketches is not None:
        return f"No usable sketch in {held_out.sketches} has a photo of its category, so nothing could be measured."
    if held_out.queries:
        return f"None of the {len(held_out.queries)} stored sketches can be read, so nothing could be measured."
    return "There are no held-out or stored sketches, so nothing could be measured."


class _Gate:
    def __init__(
        self,
        store: GalleryStore,
        gallery: Gallery,
        served: VersionInfo,
        candidate: VersionInfo,
        encoder_for: Callable[[VersionInfo], SizedEncoder],
        options: GateOptions,
        progress: Progress,
    ) -> None:
        self._store = store
        self._gallery = gallery
        self._versions = (served, candidate)
        self._encoder_for = encoder_for
        self._options = options
        self._progress = progress

    def by_labels(self, folder: Path) -> GateDecision | None:
        """The decision by mAP; none where no sketch has a photo of its category in both versions."""
        photos = [self._categories(info) for info in self._versions]
        images = [one for one in list_images(folder) if all(name_key(one.category) in have for have in photos)]
        sketches = self._encoded(images)
        if sketches is None:
            return None
        whole = max(self._store.count(info) for info in self._versions) <= FULL_DEPTH
        k = None if whole else LIMITED_DEPTH
        values = [
            self._mean_ap(info, vectors, have, k)
            for info, vectors, have in zip(self._versions, sketches, photos, strict=True)
        ]
        threshold = values[0] - self._options.max_loss
        passed = values[1] >= threshold - _ROUNDING
        verb = "reaches" if passed else "misses"
        measure = "mAP@all" if whole else f"mAP@{LIMITED_DEPTH}"
        return GateDecision(
            passed,
            measure,
            values[0],
            values[1],
            threshold,
            len(sketches[0].paths),
            f"With {measure} {values[1]:.3f} the new version {verb} {threshold:.3f}; the served one has "
            f"{values[0]:.3f}.",
        )

    def by_agreement(self, queries: Sequence[Path]) -> GateDecision | None:
        """The decision by the overlap of rankings; none where there are no usable sketches."""
        sketches = self._encoded([LabelledImage(path, "") for path in queries])
        if sketches is None:
            return None
        k = min(self._options.k, *(self._store.count(info) for info in self._versions))
        tops = [
            [{hit.photo_id for hit in result} for result in self._rankings(info, vectors, k)]
            for info, vectors in zip(self._versions, sketches, strict=True)
        ]
        value = float(np.mean([len(ours & theirs) / k for ours, theirs in zip(*tops, strict=True)]))
        threshold = self._options.min_agreement
        passed = value >= threshold - _ROUNDING
        verb = "reaches" if passed else "misses"
        return GateDecision(
            passed,
            f"agreement@{k}",
            1.0,
            value,
            threshold,
            len(sketches[0].paths),
            f"The first {k} photos of both versions agree by {value:.3f}, which {verb} {threshold:.3f}.",
        )

    def _categories(self, info: VersionInfo) -> Counter[str]:
        """Photos of each category, by the shards that the version was built from."""
        known = read_known(self._gallery.for_model(info.fingerprint).shard_folder)
        return Counter(name_key(Path(uri).parent.name) for uri in known)

    def _encoded(self, images: Sequence[LabelledImage]) -> list[LabelledVectors] | None:
        """The same sketches as the encoder of each version sees them; none where none can be used."""
        if len(images) > self._options.max_queries:
            rng = np.random.default_rng(self._options.seed)
            rows = np.sort(rng.choice(len(images), self._options.max_queries, replace=False))
            images = [images[row] for row in rows]
        encoded = []
        for info in self._versions:
            if not images:
                return None
            encoder = self._encoder_for(info)
            try:
                found = encode_images(images, encoder, sketches=True, size=encoder.input_size, progress=self._progress)
            except DatasetError:
                return None
            encoded.append(found)
            images = [LabelledImage(*pair) for pair in zip(found.paths, found.categories, strict=True)]
        return [_only(one, set(encoded[-1].paths)) for one in encoded]

    def _rankings(self, info: VersionInfo, sketches: LabelledVectors, k: int) -> Iterator[SearchResult]:
        """One at a time: a result may hold the whole gallery."""
        finder = matching_finder(self._gallery)
        searcher = GallerySearcher(self._store, info.gallery, version=info, matching_of=finder)
        options = SearchOptions(exact=True, default_weight=self._options.cluster_weight)
        with self._progress.stage(f"Searching version {info.version}", len(sketches.vectors), "sketches") as advance:
            for row in range(len(sketches.vectors)):
                yield searcher.search(sketches.vectors[row : row + 1], k, options, fingerprint=info.fingerprint)[0]
                advance(1)

    def _mean_ap(self, info: VersionInfo, sketches: LabelledVectors, have: Counter[str], k: int | None) -> float:
        depth = k or self._store.count(info)
        wanted = [name_key(category) for category in sketches.categories]
        relevant = np.zeros((len(wanted), depth), dtype=np.bool_)
        for row, result in enumerate(self._rankings(info, sketches, depth)):
            found = [name_key(Path(hit.uri).parent.name) == wanted[row] for hit in result]
            relevant[row, : len(found)] = found
        counts = np.asarray([have[category] for category in wanted], dtype=np.int64)
        return mean_average_precision(relevant, counts, k)


def _only(encoded: LabelledVectors, paths: set[Path]) -> LabelledVectors:
    rows = [row for row, path in enumerate(encoded.paths) if path in paths]
    return LabelledVectors(
        encoded.vectors[rows],
        tuple(encoded.categories[row] for row in rows),
        tuple(encoded.paths[row] for row in rows),
        encoded.notes,
    )
