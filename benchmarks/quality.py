"""Retrieval quality on real sketches and photos of unseen categories, through the whole program.

For each seed: train on the seen categories, ingest the unseen categories' photos into a fresh embedded Milvus gallery,
search it with the unseen sketches, score. Beside it: chance, and the frozen backbone through the same path.

    python benchmarks/quality.py                      # three seeds, writes benchmarks/results/quality.json
    python benchmarks/quality.py --recipe knowledge   # writes benchmarks/results/quality-knowledge.json
    python benchmarks/quality.py --seeds 0 --epochs 1 # a quick look

Recipes: "short" is the paper's training in short, as the first published figure has it; "knowledge" trains at 160
pixels with the first stages frozen, also on the drawings of Quick, Draw! of seen categories, and lets sketches learn
what the teacher says of photos of their category. Both were chosen on pseudo-unseen categories.

The unseen categories are read only after training has ended; K comes from the gallery's size and the cluster weight is
the paper's, so nothing is tuned on them. The sweep over K and the weight at the end of the report only shows how much
hangs on those two; it chooses nothing. The rankers are exact ones in memory (sbka_milvus.rankers); what they know of
sketches they have from the sketches of the training.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import DRAWINGS, NOTE, RECIPES, ROOT, SIZES, Lines, RealData, data_folder

from sbka_milvus.clusters import default_n_clusters
from sbka_milvus.errors import SbkaError
from sbka_milvus.evaluation import EvaluationReport, mean_average_precision, precision_at_k
from sbka_milvus.factory import evaluate_gallery_folder, evaluate_options, ingest_into, open_encoder
from sbka_milvus.pipelines.evaluate import evaluate_vectors
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.train import train_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.rankers import (
    AlignedRanker,
    AlignmentOptions,
    Fused,
    NeighbourReranker,
    Plain,
    Quantised,
    Ranker,
    full_system,
    linear_system,
    mean_of,
    rank_positions,
)
from sbka_milvus.settings import IngestSettings, MilvusSettings, Settings
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.types import FloatArray

METRICS = ("mAP@all", "mAP@200", "P@10", "P@25")
OVERRIDES = ("mode", "epochs", "learning_rate", "final_rate_factor", "sketches_per_batch", "photos_per_batch")
SWEEP_CLUSTERS = (12, 16, 20, 25, 31, 40, 48, 64)
SWEEP_WEIGHTS = (0.5, 0.65, 0.8)


def main() -> None:
    """Runs the benchmark and writes its report."""
    arguments = parse()
    data: Path = arguments.data
    if not data.is_dir():
        sys.exit(f"There are no pictures in {data}: set SBKA_REAL_DATA or pass --data.")
    bench = Bench(RealData(data, arguments.split), arguments)
    split = bench.split
    frozen = bench.frozen()
    runs = [bench.trained(seed) for seed in arguments.seeds]
    report = {
        "command": "python benchmarks/quality.py " + " ".join(sys.argv[1:]),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__},
        "data": {"photos": "sketchy-mini/photos", "sketches": "sketchy-mini/sketches", "note": NOTE},
        "split": {"name": split.name, "digest": split.digest, "unseen": len(split.unseen)},
        "recipe": arguments.recipe,
        "options": bench.options(0).model_dump(exclude={"seed"}) | {"input_size": arguments.size},
        "drawings": DRAWINGS[arguments.recipe],
        "queries": runs[0]["queries"],
        "gallery": runs[0]["gallery"],
        "chance": frozen["scores"]["chance"],
        "frozen": {key: frozen["scores"][key] for key in ("one-to-one", "one-to-many")},
        "trained": summary(runs),
        "runs": runs,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def parse() -> argparse.Namespace:
    """The command line; the defaults make the published figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--split", default="sketchy_ext_25")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="short", choices=sorted(RECIPES))
    parser.add_argument("--mode", choices=["ce", "one_way", "bidirectional"], help="in place of the recipe's")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--size", type=int, help="side of the input in pixels")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--final-rate-factor", type=float)
    parser.add_argument("--sketches-per-batch", type=int)
    parser.add_argument("--photos-per-batch", type=int)
    parser.add_argument("--margin", type=float, default=AlignmentOptions().margin, help="of the rankers' projections")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.size = arguments.size or SIZES[arguments.recipe]
    name = "quality.json" if arguments.recipe == "short" else f"quality-{arguments.recipe}.json"
    arguments.out = arguments.out or ROOT / "benchmarks" / "results" / name
    return arguments


class Bench:
    """One data set, one split, one set of options."""

    def __init__(self, data: RealData, arguments: argparse.Namespace) -> None:
        self.data = data
        self.split = data.split
        self.arguments = arguments
        # The paper's form; benchmarks/served.py compares it with the linear one.
        ingest = IngestSettings(matching="fused")
        self.settings = Settings(_env_file=None, milvus=MilvusSettings(), ingest=ingest)  # type: ignore[call-arg]

    def options(self, seed: int) -> TrainingOptions:
        """Training options of one seed."""
        given = {name: getattr(self.arguments, name) for name in OVERRIDES}
        chosen = {name: value for name, value in given.items() if value is not None}
        return TrainingOptions(**RECIPES[self.arguments.recipe] | chosen, seed=seed)

    def frozen(self) -> dict[str, Any]:
        """The backbone as it came, through the same path."""
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "model"
            import_model(self.data.backbone(self.arguments.size), model, "frozen", SilentProgress())
            return result(self.score(model, Path(temporary) / "gallery"))

    def trained(self, seed: int) -> dict[str, Any]:
        """One training and its scores."""
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "model"
            drawings = DRAWINGS[self.arguments.recipe]
            request = self.data.request(model, self.options(seed), self.arguments.size, drawings=drawings)
            start, start_cpu = time.perf_counter(), time.process_time()
            trained = train_model(request, Lines())
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
            report = self.score(model, Path(temporary) / "gallery")
            found = result(report) | {
                "seed": seed,
                "training_seconds": round(seconds, 1),
                "training_processor_seconds": round(cpu_seconds, 1),
                "best_epoch": trained.history.best_epoch,
                "validation_map": [epoch.validation_map for epoch in trained.history.epochs],
                "one_to_many_over_one_to_one": report.score("one-to-many", "mAP@all")
                / report.score("one-to-one", "mAP@all"),
                "rankers": self.rankers(model, trained.bundle.manifest.training["validation_classes"]),
                "sweep": self.sweep(model),
            }
            print(f"seed {seed}: {json.dumps({k: v for k, v in found.items() if k != 'sweep'})}", file=sys.stderr)
            return found

    def score(self, model: Path, gallery: Path) -> EvaluationReport:
        """Ingest the unseen categories' photos and search them with their sketches, through embedded Milvus."""
        photos = [str(self.data.photos / name) for name in self.split.unseen]
        ingest_into(photos, gallery, self.settings, SilentProgress(), model=model)
        return evaluate_gallery_folder(gallery, self.data.sketches, self.split, self.settings, SilentProgress())

    def sweep(self, model: Path) -> dict[str, dict[str, float]]:
        """mAP@all of one-to-many by weight and number of clusters."""
        encoder = open_encoder(model, self.settings)
        sketches, photos = self.data.encode(encoder, self.split.unseen)
        found: dict[str, dict[str, float]] = {}
        for weight in SWEEP_WEIGHTS:
            search = self.settings.search.model_copy(update={"cluster_weight": weight})
            settings = self.settings.model_copy(update={"search": search})
            found[str(weight)] = {
                str(clusters): evaluate_vectors(
                    photos,
                    sketches,
                    self.split,
                    encoder.fingerprint,
                    evaluate_options("sketchy-mini", encoder.input_size, settings, clusters),
                ).score("one-to-many", "mAP@all")
                for clusters in SWEEP_CLUSTERS
            }
        return found

    def rankers(self, model: Path, held_out: list[str]) -> dict[str, dict[str, float]]:
        """mAP@all and P@25 of each ranker on the unseen categories, and on the pseudo-unseen ones beside them.

        The pseudo-unseen categories chose the epoch, and the rankers' numbers: their figures are there to compare
        rankers by, not to be believed.
        """
        encoder = open_encoder(model, self.settings)
        trained = [name for name in self.split.seen if name not in held_out]
        training = self.data.encode(encoder, trained)[0].vectors
        found: dict[str, dict[str, float]] = {}
        for part, names in (("unseen", list(self.split.unseen)), ("pseudo-unseen", held_out)):
            sketches, photos = self.data.encode(encoder, names)
            relevant = np.array(sketches.categories)[:, None] == np.array(photos.categories)[None]
            for name, ranker in rankers(
                training, default_n_clusters(len(photos.vectors)), self.arguments.margin
            ).items():
                order = rank_positions(ranker.scores(sketches.vectors, photos.vectors))
                ranked = np.take_along_axis(relevant, order, axis=1)
                row = found.setdefault(name, {})
                row[f"{part} mAP@all"] = mean_average_precision(ranked)
                row[f"{part} P@25"] = float(precision_at_k(ranked, 25).mean())
        return found


def rankers(training: FloatArray, n_clusters: int, margin: float) -> dict[str, Ranker]:
    """What is compared, from plain to everything."""
    mean = mean_of(training)
    means, projected = AlignmentOptions("means"), AlignmentOptions(margin=margin)
    return {
        "one-to-one": Plain(),
        "one-to-many": Fused(n_clusters),
        "the paper's form of one-to-many": Quantised(1, n_clusters),
        "neighbour re-ranking": NeighbourReranker(),
        "means removed, one-to-one": AlignedRanker(Plain(), means, mean),
        "means removed, one-to-many": AlignedRanker(Fused(n_clusters), means, mean),
        "projected, neighbour re-ranking": AlignedRanker(NeighbourReranker(), projected, mean),
        "projected, one-to-many x 5, levelled": linear_system(training, n_clusters, alignment=projected),
        "the same with diffusion": full_system(training, n_clusters, alignment=projected),
    }


def result(report: EvaluationReport) -> dict[str, Any]:
    """The figures of a report that the benchmark keeps."""
    return {
        "queries": report.n_queries,
        "gallery": report.n_gallery,
        "clusters": report.n_clusters,
        "cluster_weight": report.cluster_weight,
        "scores": {row.method: {metric: row.values[metric] for metric in METRICS} for row in report.rows},
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, smallest and largest over the seeds."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"mean": statistics.fmean(values), "min": min(values), "max": max(values)}

    scores = {
        method: {metric: spread([run["scores"][method][metric] for run in runs]) for metric in METRICS}
        for method in ("one-to-one", "one-to-many")
    }
    by_ranker = {
        name: {metric: spread([run["rankers"][name][metric] for run in runs]) for metric in runs[0]["rankers"][name]}
        for name in runs[0]["rankers"]
    }
    return scores | {
        "rankers": by_ranker,
        "one_to_many_over_one_to_one": spread([run["one_to_many_over_one_to_one"] for run in runs]),
        "training_seconds": spread([run["training_seconds"] for run in runs]),
        "training_processor_seconds": spread([run["training_processor_seconds"] for run in runs]),
        "seeds": [run["seed"] for run in runs],
    }


def show(report: dict[str, Any]) -> None:
    """The table, as it stands in the documents."""
    trained = report["trained"]
    print(f"{report['split']['name']}: {report['queries']} sketches, {report['gallery']} photos")
    print("| method | " + " | ".join(METRICS) + " |")
    print("|---" * (len(METRICS) + 1) + "|")
    rows = [("chance", report["chance"])]
    rows += [(f"frozen, {method}", report["frozen"][method]) for method in ("one-to-one", "one-to-many")]
    for name, values in rows:
        print(f"| {name} | " + " | ".join(f"{values[metric]:.3f}" for metric in METRICS) + " |")
    for method in ("one-to-one", "one-to-many"):
        cells = [f"{v['mean']:.3f} ({v['min']:.3f} to {v['max']:.3f})" for v in trained[method].values()]
        print(f"| trained, {method} | " + " | ".join(cells) + " |")
    print("| ranker, in memory | mAP@all | P@25 | pseudo-unseen mAP@all |")
    print("|---|---|---|---|")
    for name, row in trained["rankers"].items():
        shown = [row[metric] for metric in ("unseen mAP@all", "unseen P@25", "pseudo-unseen mAP@all")]
        print(f"| {name} | " + " | ".join(f"{v['mean']:.3f} ({v['min']:.3f} to {v['max']:.3f})" for v in shown) + " |")
    gain = trained["one_to_many_over_one_to_one"]
    print(f"one-to-many over one-to-one, mAP@all: x{gain['mean']:.3f} ({gain['min']:.3f} to {gain['max']:.3f})")


if __name__ == "__main__":
    try:
        main()
    except SbkaError as error:
        sys.exit(f"Error: {error}")
