"""Retrieval quality on real sketches and photos of unseen categories, through the whole program.

For each seed: train on the seen categories, ingest the unseen categories' photos into a fresh embedded Milvus gallery,
search it with the unseen sketches, score. Beside it: chance, and the frozen backbone through the same path.

    python benchmarks/quality.py                      # three seeds, writes benchmarks/results/quality.json
    python benchmarks/quality.py --seeds 0 --epochs 1 # a quick look

The unseen categories are read only after training has ended; K comes from the gallery's size and the cluster weight is
the paper's, so nothing is tuned on them. The sweep over K and the weight at the end of the report only shows how much
hangs on those two; it chooses nothing.
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

import torch

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import SbkaError
from sbka_milvus.evaluation import EvaluationReport
from sbka_milvus.factory import evaluate_gallery_folder, evaluate_options, ingest_into, open_encoder
from sbka_milvus.images import Split, list_images
from sbka_milvus.pipelines.evaluate import evaluate_vectors
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.labelled import LabelledVectors, encode_images
from sbka_milvus.pipelines.train import TrainRequest, train_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import MilvusSettings, Settings
from sbka_milvus.training.options import TrainingOptions

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("mAP@all", "mAP@200", "P@10", "P@25")
SWEEP_CLUSTERS = (12, 16, 20, 25, 31, 40, 48, 64)
SWEEP_WEIGHTS = (0.5, 0.65, 0.8)


def main() -> None:
    """Runs the benchmark and writes its report."""
    arguments = parse()
    data: Path = arguments.data
    if not data.is_dir():
        sys.exit(f"There are no pictures in {data}: set SBKA_REAL_DATA or pass --data.")
    split = Split.load(data / "splits" / f"{arguments.split}.json")
    bench = Bench(data, split, arguments)
    frozen = bench.frozen()
    runs = [bench.trained(seed) for seed in arguments.seeds]
    report = {
        "command": "python benchmarks/quality.py " + " ".join(sys.argv[1:]),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__},
        "data": {"photos": "sketchy-mini/photos", "sketches": "sketchy-mini/sketches", "note": NOTE},
        "split": {"name": split.name, "digest": split.digest, "unseen": len(split.unseen)},
        "options": bench.options(0).model_dump(exclude={"seed"}) | {"input_size": arguments.size},
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


NOTE = "a subset of Sketchy: real figures, not comparable with published ones"


def parse() -> argparse.Namespace:
    """The command line; the defaults make the published figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("SBKA_REAL_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--split", default="sketchy_ext_25")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--mode", default="bidirectional", choices=["ce", "one_way", "bidirectional"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=128, help="side of the input in pixels")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--final-rate-factor", type=float, default=0.01)
    parser.add_argument("--sketches-per-batch", type=int, default=32)
    parser.add_argument("--photos-per-batch", type=int, default=64)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "quality.json")
    return parser.parse_args()


class Bench:
    """One data set, one split, one set of options."""

    def __init__(self, data: Path, split: Split, arguments: argparse.Namespace) -> None:
        self.photos, self.sketches = data / "sketchy-mini" / "photos", data / "sketchy-mini" / "sketches"
        self.split = split
        self.arguments = arguments
        self.affinity = data / "semantics" / "sketchy_imagenet_affinity.npz"
        self.settings = Settings(_env_file=None, milvus=MilvusSettings())  # type: ignore[call-arg]
        self.backbone = BuildRequest(
            BackboneSpec.parse("timm:mobilenetv2_100"),
            data / "weights" / "mobilenetv2_100_imagenet1k.safetensors",
            size=arguments.size,
        )

    def options(self, seed: int) -> TrainingOptions:
        """Training options of one seed."""
        arguments = self.arguments
        return TrainingOptions(
            mode=arguments.mode,
            epochs=arguments.epochs,
            sketches_per_batch=arguments.sketches_per_batch,
            photos_per_batch=arguments.photos_per_batch,
            learning_rate=arguments.learning_rate,
            final_rate_factor=arguments.final_rate_factor,
            seed=seed,
        )

    def frozen(self) -> dict[str, Any]:
        """The backbone as it came, through the same path."""
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "model"
            import_model(self.backbone, model, "frozen", SilentProgress())
            return result(self.score(model, Path(temporary) / "gallery"))

    def trained(self, seed: int) -> dict[str, Any]:
        """One training and its scores."""
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "model"
            request = TrainRequest(
                self.photos, self.sketches, model, self.backbone, self.options(seed), self.split, self.affinity
            )
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
                "sweep": self.sweep(model),
            }
            print(f"seed {seed}: {json.dumps({k: v for k, v in found.items() if k != 'sweep'})}", file=sys.stderr)
            return found

    def score(self, model: Path, gallery: Path) -> EvaluationReport:
        """Ingest the unseen categories' photos and search them with their sketches, through embedded Milvus."""
        photos = [str(self.photos / name) for name in self.split.unseen]
        ingest_into(photos, gallery, self.settings, SilentProgress(), model=model)
        return evaluate_gallery_folder(gallery, self.sketches, self.split, self.settings, SilentProgress())

    def sweep(self, model: Path) -> dict[str, dict[str, float]]:
        """mAP@all of one-to-many by weight and number of clusters."""
        encoder = open_encoder(model, self.settings)
        sketches, photos = (self.encode(folder, encoder, drawn) for folder, drawn in self.folders())
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

    def folders(self) -> list[tuple[Path, bool]]:
        """Sketches, then photos."""
        return [(self.sketches, True), (self.photos, False)]

    def encode(self, folder: Path, encoder: Any, drawn: bool) -> LabelledVectors:
        """The unseen categories' pictures of one folder, encoded."""
        images = list_images(folder, self.split.unseen)
        return encode_images(images, encoder, sketches=drawn, size=encoder.input_size, progress=SilentProgress())


class Lines(SilentProgress):
    """Says what matters and draws nothing."""

    def say(self, message: str) -> None:
        print(message, file=sys.stderr)


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
    return scores | {
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
    gain = trained["one_to_many_over_one_to_one"]
    print(f"one-to-many over one-to-one, mAP@all: x{gain['mean']:.3f} ({gain['min']:.3f} to {gain['max']:.3f})")


if __name__ == "__main__":
    try:
        main()
    except SbkaError as error:
        sys.exit(f"Error: {error}")
