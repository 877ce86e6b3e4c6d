"""The rows of the ladder: every way of ranking, on the vectors of one model. It looks at labels only to judge."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from sbka_milvus.evaluation import (
    average_precision,
    drawn_photo,
    expected_random_average_precision,
    precision_at_k,
)
from sbka_milvus.rankers import (
    AlignedRanker,
    AlignmentOptions,
    Fused,
    MatchingChoice,
    NeighbourReranker,
    Plain,
    Quantised,
    Ranker,
    choose_matching,
    full_system,
    linear_system,
    mean_of,
    rank_positions,
)
from sbka_milvus.types import FloatArray

N_CLUSTERINGS = 5
ORACLE_ROOTS = (0.35, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 1.75, 2.1, 2.5, 3.0, 3.5)
PLAIN, PAPER, MANY, NEIGHBOURS = "one-to-one", "paper's one-to-many", "one-to-many", "neighbour re-ranking"
ALIGNED_MANY, ALIGNED_NEIGHBOURS = "aligned, one-to-many", "aligned, neighbour re-ranking"
LINEAR, PHOTO, FULL = "linear system", "linear system, not projected, weight 0.8", "full system"


class Part:
    """Sketches and photos of some categories."""

    def __init__(self, arrays: Any, name: str) -> None:
        self.queries: FloatArray = arrays[f"{name}_s"].astype(np.float32)
        self.gallery: FloatArray = arrays[f"{name}_p"].astype(np.float32)
        self.categories = arrays[f"{name}_sc"]
        self.relevant = self.categories[:, None] == arrays[f"{name}_pc"][None]
        wanted = np.array([drawn_photo(str(file)) for file in arrays[f"{name}_sn"]])
        stems = np.array([Path(str(file)).stem for file in arrays[f"{name}_pn"]])
        self.drawn = (wanted[:, None] == stems[None]) & self.relevant

    def chance(self) -> float:
        """mAP@all of a ranking by lot."""
        counts = np.count_nonzero(self.relevant, axis=1)
        return float(expected_random_average_precision(counts, self.relevant.shape[1]).mean())

    def judge(self, ranker: Ranker) -> tuple[dict[str, float], FloatArray]:
        """Figures of a ranker, and the average precision of each query."""
        start = time.perf_counter()
        order = rank_positions(ranker.scores(self.queries, self.gallery))
        seconds = time.perf_counter() - start
        found = np.take_along_axis(self.relevant, order, axis=1)
        precision = average_precision(found)
        figures = {
            "mAP@all": float(precision.mean()),
            "P@25": float(precision_at_k(found, 25).mean()),
            "P@10": float(precision_at_k(found, 10).mean()),
            "seconds": round(seconds, 3),
        }
        if found.shape[1] >= 200:
            figures["mAP@200"] = float(average_precision(found, k=200).mean())
        return figures | self._instance(order), precision.astype(np.float32)

    def _instance(self, order: np.ndarray) -> dict[str, float]:
        """How often the very photo that was drawn is among the first: of the gallery, and of its category."""
        asked = self.drawn.any(axis=1)
        if not asked.any():
            return {}
        place = np.take_along_axis(self.drawn, order, axis=1)[asked].argmax(axis=1)
        before = np.take_along_axis(self.relevant, order, axis=1)[asked]
        among = np.array([np.count_nonzero(row[:at]) for row, at in zip(before, place, strict=True)])
        return {
            f"drawn photo R@{k}{where}": float((at < k).mean())
            for where, at in (("", place), (" in its category", among))
            for k in (1, 10)
        }


def rows(choice: MatchingChoice, training: FloatArray) -> dict[str, Ranker]:
    """From plain to everything; the numbers are those chosen from the gallery's photos."""
    mean = mean_of(training)
    means, projected = AlignmentOptions("means"), AlignmentOptions()
    many = choice.ranker(N_CLUSTERINGS)
    return {
        PLAIN: Plain(),
        PAPER: Quantised(choice.n_subspaces, choice.n_clusters),
        MANY: many,
        NEIGHBOURS: NeighbourReranker(),
        "means removed, one-to-one": AlignedRanker(Plain(), means, mean),
        "means removed, one-to-many": AlignedRanker(many, means, mean),
        "aligned, one-to-one": AlignedRanker(Plain(), projected, mean),
        ALIGNED_MANY: AlignedRanker(many, projected, mean),
        ALIGNED_NEIGHBOURS: AlignedRanker(NeighbourReranker(), projected, mean),
        LINEAR: linear_system(training, choice.n_clusters, choice.weight),
        # Not projected, with less of the cluster: that it keeps the very photo was seen on pseudo-unseen categories.
        PHOTO: linear_system(training, choice.n_clusters, min(choice.weight, 0.8), means),
        FULL: full_system(training, choice.n_clusters, choice.weight),
    }


def oracle(part: Part, choice: MatchingChoice, training: FloatArray) -> dict[str, dict[int, float]]:
    """mAP@all by K, which only labels can tell: of one-to-many as encoded, and aligned."""
    n = len(part.gallery)
    weight = choice.weight or Fused(2).weight
    found: dict[str, dict[int, float]] = {MANY: {}, ALIGNED_MANY: {}}
    for k in sorted({min(n, max(2, round(root * n**0.5))) for root in ORACLE_ROOTS} | {choice.n_clusters}):
        many = Fused(k, weight, N_CLUSTERINGS)
        found[MANY][k] = part.judge(many)[0]["mAP@all"]
        found[ALIGNED_MANY][k] = part.judge(AlignedRanker(many, AlignmentOptions(), mean_of(training)))[0]["mAP@all"]
    return found


def measure(path: Path) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """All rows on the unseen categories, and on the pseudo-unseen ones where there are any.

    Returns:
        The figures by part and row; and the average precisions of the unseen queries by row.
    """
    with np.load(path) as file:
        arrays = dict(file)
    training = arrays["seen_s"].astype(np.float32)
    figures: dict[str, Any] = {}
    precisions: dict[str, FloatArray] = {}
    for name in ("val", "unseen"):
        if f"{name}_s" not in arrays:
            continue
        part = Part(arrays, name)
        start = time.perf_counter()
        choice = choose_matching(part.gallery)
        seconds = time.perf_counter() - start
        judged = {row: part.judge(ranker) for row, ranker in rows(choice, training).items()}
        figures[name] = {
            "queries": len(part.queries),
            "gallery": len(part.gallery),
            "chance": part.chance(),
            "rows": {row: found for row, (found, _) in judged.items()},
            "choice": choice.to_dict() | {"seconds": round(seconds, 2)},
            "oracle": oracle(part, choice, training),
        }
        if name == "unseen":
            precisions = {row: precision for row, (_, precision) in judged.items()}
            precisions["categories"] = np.unique(part.categories, return_inverse=True)[1].astype(np.float32)
    return figures, precisions
