"""Shards against themselves, one at a time: whatever the gallery holds, no more than one is in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.newest import ids_of
from sbka_milvus.embeddings.shards import list_shards
from sbka_milvus.embeddings.unchecked import UncheckedShard, read_unchecked
from sbka_milvus.errors import GalleryError
from sbka_milvus.pipelines.care.expected import ExpectedCollector, ExpectedRows, marks_of
from sbka_milvus.pipelines.care.findings import Findings
from sbka_milvus.progress import Progress
from sbka_milvus.types import FloatArray

Stored = Callable[[FloatArray], FloatArray]
"""From photos' own vectors, shape (N, D), to what a version holds of them, shape (N, P)."""


@dataclass(frozen=True, slots=True)
class ShardSurvey:
    """What the shards of a gallery come to.

    Attributes:
        shards: how many there are.
        rows: rows that can be used.
        expected: what a version of them holds.
        damaged: shards of which no row can be used.
        partly: shards of which some rows cannot, with those that can: shape (N,), bool.
    """

    shards: int
    rows: int
    expected: ExpectedRows
    damaged: tuple[Path, ...]
    partly: tuple[tuple[Path, NDArray[np.bool_]], ...]

    @property
    def is_sound(self) -> bool:
        """Whether every row of every shard can be used."""
        return not (self.damaged or self.partly)


def check_shards(gallery: Gallery, dim: int, stored: Stored, findings: Findings, progress: Progress) -> ShardSurvey:
    """Reads every shard with its checksums, and looks at every row.

    Args:
        gallery: whose shards.
        dim: length of a vector; 0: that of the first usable shard.
        stored: what the version keeps of photos' vectors.
        findings: gains what is wrong.
        progress: what shows how far it is.
    """
    collector = ExpectedCollector()
    damaged: list[Path] = []
    partly: list[tuple[Path, NDArray[np.bool_]]] = []
    paths, rows = list_shards(gallery.shard_folder), 0
    with progress.stage("Checking shards", len(paths), "shards") as advance:
        for path in paths:
            shard = _opened(path, gallery.fingerprint, findings)
            if shard is None:
                damaged.append(path)
                advance(1)
                continue
            collector.remove(ids_of(shard.removed))
            dim = dim or shard.vectors.shape[1]
            fit = shard.usable(dim)
            if not fit.all():
                bad = np.flatnonzero(~fit)
                findings.add("vector_unusable", (f"{shard.uris[row]} in {path.name}" for row in bad[:5]), len(bad))
                if fit.any() or shard.removed:
                    partly.append((path, fit))
                else:
                    damaged.append(path)
            kept = np.flatnonzero(fit)
            if len(kept):
                own = shard.vectors if fit.all() else shard.vectors[kept]
                collector.add(ids_of([shard.uris[row] for row in kept]), marks_of(stored(own)))
            rows += len(kept)
            advance(1)
    return ShardSurvey(len(paths), rows, collector.result(), tuple(damaged), tuple(partly))


def _opened(path: Path, fingerprint: str, findings: Findings) -> UncheckedShard | None:
    try:
        shard = read_unchecked(path)
    except GalleryError as error:
        findings.add("shard_damaged", [f"{path.name}: {error.problem}"])
        return None
    if shard.fingerprint != fingerprint:
        findings.add("shard_foreign", [f"{path.name}: of the model {shard.fingerprint or 'unknown'}"])
        return None
    return shard
