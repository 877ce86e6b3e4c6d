"""All rankers on a file of encoded sketches and photos, the choice without labels beside the oracle, and confidence.

    python benchmarks/rankers.py FEATURES.npz -o out.json           # pseudo-unseen categories: to choose by
    python benchmarks/rankers.py FEATURES.npz -o out.json --final   # the unseen ones too: to look at once

The file holds, for each part (seen: trained, val: pseudo-unseen, unseen), <part>_s and <part>_p, float32 unit rows of
sketches and photos, and <part>_sc and <part>_pc, their categories. Whatever a ranker knows of sketches comes from the
part "seen"; those that take the mean of the queries say "transductive".
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from sbka_milvus.clusters import default_n_clusters
from sbka_milvus.errors import SbkaError
from sbka_milvus.evaluation.chance import expected_random_average_precision
from sbka_milvus.evaluation.metrics import mean_average_precision, precision_at_k
from sbka_milvus.rankers import (
    AlignedRanker,
    AlignmentOptions,
    Confidence,
    Diffusion,
    Evidence,
    Expanded,
    Fused,
    Labelled,
    Levelled,
    NeighbourReranker,
    Plain,
    Quantised,
    Ranker,
    Search,
    area_under_roc,
    choose_matching,
    full_system,
    linear_system,
    mean_of,
    rank_positions,
    reliability,
    risk_coverage,
    simulate_searches,
)
from sbka_milvus.rankers.spectrum import STRICT_MARGIN
from sbka_milvus.types import FloatArray

ORACLE_ROOTS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.25, 1.75, 2.5, 3.5, 5.0)
N_CLUSTERINGS = 5


class Part:
    """Sketches and photos of some categories."""

    def __init__(self, arrays: Any, name: str, path: Path) -> None:
        wanted = [f"{name}_{kind}" for kind in ("s", "p", "sc", "pc")]
        missing = [key for key in wanted if key not in arrays]
        if missing:
            sys.exit(f"{path} has no {', '.join(missing)}: encode the part '{name}' first.")
        sketches, photos, sketch_categories, photo_categories = (arrays[key] for key in wanted)
        self.queries = Labelled(sketches.astype(np.float32), sketch_categories.tolist())
        self.gallery = Labelled(photos.astype(np.float32), photo_categories.tolist())
        self.relevant_to = sketch_categories[:, None] == photo_categories[None]

    @property
    def categories(self) -> np.ndarray:
        return np.unique(np.array(self.gallery.categories))

    def only(self, categories: np.ndarray) -> tuple[Labelled, Labelled]:
        """Sketches and photos of some of the categories."""
        return _only(self.queries, categories), _only(self.gallery, categories)

    def judge(self, ranker: Ranker) -> dict[str, Any]:
        start = time.perf_counter()
        scores = ranker.scores(self.queries.vectors, self.gallery.vectors)
        seconds = time.perf_counter() - start
        found = np.take_along_axis(self.relevant_to, rank_positions(scores), axis=1)
        return {
            "name": ranker.name,
            "mAP@all": round(mean_average_precision(found), 4),
            "P@25": round(float(precision_at_k(found, 25).mean()), 4),
            "seconds": round(seconds, 2),
        }

    def chance(self) -> float:
        counts = np.count_nonzero(self.relevant_to, axis=1)
        return round(float(expected_random_average_precision(counts, self.relevant_to.shape[1]).mean()), 4)


def _only(pictures: Labelled, categories: np.ndarray) -> Labelled:
    kept = np.isin(np.array(pictures.categories), categories)
    return Labelled(pictures.vectors[kept], np.array(pictures.categories)[kept].tolist())


def matchers(k: int) -> list[Any]:
    """Every way of making scores, with K clusters."""
    soft = Fused(k, n_clusterings=N_CLUSTERINGS)
    return [
        Plain(),
        Fused(k),
        soft,
        Fused(k, temperature=0.1),
        Quantised(1, k),
        Quantised(2, k),
        NeighbourReranker(),
        Expanded(Plain()),
        Expanded(soft),
        Diffusion(),
        Diffusion(soft),
    ]


def table(part: Part, training: FloatArray) -> list[dict[str, Any]]:
    k = default_n_clusters(len(part.gallery.vectors))
    mean = mean_of(training)
    rows: list[Ranker] = list(matchers(k))
    for options in (AlignmentOptions("means"), AlignmentOptions("projected", 64, 0.25), AlignmentOptions()):
        rows += [AlignedRanker(matcher, options, mean) for matcher in matchers(k)]
    rows += [AlignedRanker(Plain(), AlignmentOptions(margin=STRICT_MARGIN), mean)]
    rows += [AlignedRanker(Levelled(Plain(), training), AlignmentOptions(), mean), linear_system(training, k)]
    rows += [full_system(training, k), AlignedRanker(full_system(training, k).matcher)]
    return [part.judge(row) for row in rows]


def choice(part: Part, training: FloatArray) -> dict[str, Any]:
    """The choice without labels, and the curve that labels would have shown."""
    mean, n = mean_of(training), len(part.gallery.vectors)
    chosen = choose_matching(part.gallery.vectors)

    def aligned(matcher: Ranker) -> float:
        return float(part.judge(AlignedRanker(matcher, AlignmentOptions(), mean))["mAP@all"])

    tried = sorted({min(n, max(2, round(root * n**0.5))) for root in ORACLE_ROOTS})
    curve = {k: aligned(Fused(k, n_clusterings=N_CLUSTERINGS)) for k in tried}
    found = {
        "plain": aligned(Plain()),
        "default K": aligned(Fused(default_n_clusters(n), n_clusterings=N_CLUSTERINGS)),
        "chosen": aligned(chosen.ranker(N_CLUSTERINGS)),
        "oracle K": max(curve.values()),
        "full system, chosen": part.judge(full_system(training, chosen.n_clusters, chosen.weight))["mAP@all"],
    }
    return {"choice": chosen.to_dict(), "mAP@all": found, "oracle": curve}


def confidence(tests: list[tuple[Evidence, Evidence]]) -> dict[str, Any]:
    """Fitted on the first of each pair, judged on the second."""
    stated = np.concatenate([Confidence.fit(one).probability(other.features) for one, other in tests])
    top = np.concatenate([other.features[:, 0] for _, other in tests])
    outcomes = {
        "category present": np.concatenate([other.present for _, other in tests]),
        "first hit right": np.concatenate([other.correct for _, other in tests]),
    }
    judged = {}
    for name, true in outcomes.items():
        ours, plain = risk_coverage(stated, true), risk_coverage(top, true)
        judged[name] = {
            "AUROC": area_under_roc(stated, true),
            "AUROC of top score": area_under_roc(top, true),
            "AURC": ours.area,
            "AURC of top score": plain.area,
            "AURC random": ours.random,
            "AURC best": ours.best,
        }
    judged["category present"]["calibration error"] = reliability(stated, outcomes["category present"]).error
    return {name: {key: round(float(value), 4) for key, value in row.items()} for name, row in judged.items()}


class Simulation:
    """Searches with half of the categories taken away, for the confidence."""

    def __init__(self, seen: Part) -> None:
        self.seen = seen
        self.training = seen.queries.vectors

    def run(self, pictures: tuple[Labelled, Labelled], cohort: FloatArray, seed: int = 0) -> Evidence:
        k = default_n_clusters(len(pictures[1].vectors))
        return simulate_searches(*pictures, Search(full_system(self.training, k), cohort, k), seed=seed)

    def trained(self, n_categories: int) -> Evidence:
        """On categories of the training, whose photos then are no cohort."""
        drawn = np.random.default_rng(0).permutation(self.seen.categories)
        others = self.seen.only(drawn[n_categories:])[1].vectors
        return self.run(self.seen.only(drawn[:n_categories]), others if len(others) else self.seen.gallery.vectors)

    def halves(self, part: Part) -> list[tuple[Evidence, Evidence]]:
        """Fitted on one half of the categories, judged on the other, both ways."""
        drawn = np.random.default_rng(1).permutation(part.categories)
        one, other = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        cohort = self.seen.gallery.vectors
        found = [self.run(part.only(half), cohort, seed) for seed, half in enumerate((one, other))]
        return [(found[0], found[1]), (found[1], found[0])]

    def whole(self, part: Part) -> Evidence:
        return self.run((part.queries, part.gallery), self.seen.gallery.vectors)


def study(name: str, parts: dict[str, Part]) -> dict[str, Any]:
    part, training, simulation = parts[name], parts["seen"].queries.vectors, Simulation(parts["seen"])
    evidence = simulation.whole(part)
    doubts = {"fitted on trained categories": confidence([(simulation.trained(20), evidence)])}
    if name == "val":
        doubts["fitted on the other half of val"] = confidence(simulation.halves(part))
    else:
        doubts["fitted on val"] = confidence([(simulation.whole(parts["val"]), evidence)])
    return {
        "queries": len(part.queries.vectors),
        "gallery": len(part.gallery.vectors),
        "chance": part.chance(),
        "rankers": table(part, training),
        "matching": choice(part, training),
        "confidence": doubts,
    }


def show(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}: {found['queries']} sketches, {found['gallery']} photos, chance mAP@all {found['chance']:.3f}")
    for row in found["rankers"]:
        print(f"  {row['name']:88s} mAP@all {row['mAP@all']:.3f}  P@25 {row['P@25']:.3f}  {row['seconds']:5.2f} s")
    chosen = found["matching"]["choice"]
    print("  chosen without labels:", {key: chosen[key] for key in ("n_clusters", "n_subspaces", "weight", "plain")})
    print("  ", found["matching"]["mAP@all"], "\n   oracle over K", found["matching"]["oracle"])
    for how, judged in found["confidence"].items():
        for outcome, row in judged.items():
            print(f"  confidence {how}, {outcome}: {row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--final", action="store_true", help="look at the unseen categories too")
    arguments = parser.parse_args()
    try:
        arrays = dict(np.load(arguments.features))
    except (OSError, ValueError) as error:
        sys.exit(f"{arguments.features} cannot be read: {error}")
    names = ["val", "unseen"] if arguments.final else ["val"]
    parts = {name: Part(arrays, name, arguments.features) for name in ["seen", *names]}
    try:
        report: dict[str, Any] = {"features": arguments.features.name, "final": arguments.final}
        for name in names:
            report[name] = study(name, parts)
            show(name, report[name])
    except SbkaError as error:
        sys.exit(str(error))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
