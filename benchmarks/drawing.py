"""The photo that was drawn, and search while somebody is still drawing: unseen categories, several trained models.

    python benchmarks/drawing.py --models LADDER/sketchy_ext_25-one_way-0 LADDER/sketchy_ext_25-one_way-1

writes benchmarks/results/drawing.json and drawing.png. A model is a folder of benchmarks/ladder_train.py, or a bundle.

Instance level: how often the very photo that a sketch was drawn from is first, or among the first ten; of all photos of
the unseen categories, and of those of its own category alone. Search while drawing: the sketches are taken apart into
strokes and put together again, 10 % of their length at a time, the longest strokes first ("outline"), or in an order
of chance; Sketchy's pictures do not tell the order in which they were really drawn. Each unfinished sketch is
normalised as any sketch that a user draws. K and the weights come from the gallery's photos alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from ladder_rows import LINEAR, MANY, PHOTO, PLAIN, Part, rows
from matplotlib import pyplot
from PIL import Image
from recipes import NOTE, ROOT, SPLITS, RealData, data_folder

from sbka_milvus.errors import SbkaError
from sbka_milvus.factory import open_encoder
from sbka_milvus.images import LabelledImage, drawing_order, list_images, load_sketch, normalise_sketch, unfinished
from sbka_milvus.rankers import choose_matching
from sbka_milvus.settings import MilvusSettings, Settings
from sbka_milvus.types import FloatArray

SHARES = tuple(share / 10 for share in range(1, 11))
ORDERS = ("outline", "chance")
CHOSEN = (PLAIN, MANY, LINEAR, PHOTO)
"""Rows of the ladder: the last is for those who look for the very photo."""
CURVES = ("mAP@all", "P@10", "drawn photo R@10")
WORKING_SIDE = 256
"""Pixels of a sketch while it is taken apart: Sketchy's own."""


def main() -> None:
    """Measures all models, and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="trained models, seeds of one recipe")
    parser.add_argument("--split", default=SPLITS[0], choices=SPLITS)
    parser.add_argument("--sketches", type=int, default=0, help="of each category, for a quick look; 0: all")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "drawing.json")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        sys.exit(f"There are no pictures in {arguments.data}: set SBKA_REAL_DATA or pass --data.")
    try:
        report = measure(arguments)
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    draw(report, arguments.out.with_suffix(".png"))
    show(report)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All models' figures and their mean."""
    data = RealData(arguments.data, arguments.split)
    sketches = chosen(list_images(data.sketches, data.split.unseen), arguments.sketches)
    stages = {order: taken_apart(sketches, order) for order in ORDERS}
    runs = [Model(folder, data).measure(sketches, stages) for folder in arguments.models]
    return {
        "command": "python benchmarks/drawing.py " + " ".join(sys.argv[1:]),
        "data": {"pictures": "sketchy-mini", "note": NOTE},
        "split": {"name": data.split.name, "digest": data.split.digest, "unseen": len(data.split.unseen)},
        "queries": len(sketches),
        "gallery": runs[0]["gallery"],
        "chance": runs[0]["chance"],
        "shares": list(SHARES),
        "instance": spread([run["instance"] for run in runs]),
        "while drawing": spread([run["while drawing"] for run in runs]),
        "models": [{key: run[key] for key in ("name", "fingerprint", "n_clusters", "weight")} for run in runs],
        "runs": runs,
    }


def chosen(images: Sequence[LabelledImage], most: int) -> list[LabelledImage]:
    """The first ``most`` images of each category; all of them for 0."""
    if not most:
        return list(images)
    seen: dict[str, int] = {}
    kept = []
    for image in images:
        seen[image.category] = seen.get(image.category, 0) + 1
        if seen[image.category] <= most:
            kept.append(image)
    return kept


def taken_apart(sketches: Sequence[LabelledImage], order: str) -> list[list[Image.Image]]:
    """For each share the sketches as they were then, not yet normalised."""
    stages: list[list[Image.Image]] = [[] for _ in SHARES]
    for number, sketch in enumerate(sketches):
        whole = load_sketch(sketch.path, size=WORKING_SIDE)
        times = drawing_order(whole, np.random.default_rng(number) if order == "chance" else None)
        for stage, share in zip(stages, SHARES, strict=True):
            stage.append(unfinished(whole, times, share))
    return stages


class Model:
    """A trained model, the unseen photos as it sees them, and rankers that look at no label."""

    def __init__(self, folder: Path, data: RealData) -> None:
        bundle = folder / "model" if (folder / "model").is_dir() else folder
        self.name = folder.name
        self.encoder = open_encoder(bundle, Settings(_env_file=None, milvus=MilvusSettings()))  # type: ignore[call-arg]
        training, (photos, categories, names) = vectors(folder, self.encoder, data)
        self.photos = {"unseen_p": photos, "unseen_pc": categories, "unseen_pn": names}
        self.choice = choose_matching(photos)
        every = rows(self.choice, training)
        self.rankers = {row: every[row] for row in CHOSEN}

    def measure(self, sketches: Sequence[LabelledImage], stages: dict[str, list[list[Image.Image]]]) -> dict[str, Any]:
        """Figures with finished sketches, and with the unfinished ones of each order."""
        print(f"measuring {self.name}", file=sys.stderr, flush=True)
        whole = self.part(sketches, [load_sketch(one.path, size=self.encoder.input_size) for one in sketches])
        curves: dict[str, Any] = {}
        for order, by_share in stages.items():
            parts = [self.part(sketches, self.normalised(stage)) for stage in by_share]
            curves[order] = {}
            for row, ranker in self.rankers.items():
                judged = [part.judge(ranker)[0] for part in parts]
                curves[order][row] = {metric: [found[metric] for found in judged] for metric in CURVES}
        return {
            "name": self.name,
            "fingerprint": self.encoder.fingerprint,
            "n_clusters": self.choice.n_clusters,
            "weight": self.choice.weight,
            "gallery": len(whole.gallery),
            "chance": whole.chance(),
            "instance": {
                row: {metric: value for metric, value in whole.judge(ranker)[0].items() if metric != "seconds"}
                for row, ranker in self.rankers.items()
            },
            "while drawing": curves,
        }

    def normalised(self, stage: Sequence[Image.Image]) -> list[Image.Image]:
        """As a search does with what a user has drawn so far."""
        return [normalise_sketch(sketch, size=self.encoder.input_size) for sketch in stage]

    def part(self, sketches: Sequence[LabelledImage], pictures: Sequence[Image.Image]) -> Part:
        """These sketches beside the photos."""
        arrays = self.photos | {
            "unseen_s": self.encoder.encode_sketches(pictures),
            "unseen_sc": np.array([one.category for one in sketches]),
            "unseen_sn": np.array([one.path.name for one in sketches]),
        }
        return Part(arrays, "unseen")


def vectors(folder: Path, encoder: Any, data: RealData) -> tuple[FloatArray, tuple[FloatArray, Any, Any]]:
    """The training's sketches; and the unseen photos, their categories and names: kept ones, or encoded here."""
    if (folder / "vectors.npz").exists():
        with np.load(folder / "vectors.npz") as kept:
            photos = kept["unseen_p"].astype(np.float32), kept["unseen_pc"], kept["unseen_pn"]
            return kept["seen_s"].astype(np.float32), photos
    held_out = set(encoder.bundle.manifest.training.get("validation_classes", ()))
    training, _ = data.encode(encoder, [name for name in data.split.seen if name not in held_out])
    _, found = data.encode(encoder, data.split.unseen)
    names = np.array([path.name for path in found.paths])
    return training.vectors, (found.vectors, np.array(found.categories), names)


def spread(runs: list[Any]) -> Any:
    """Mean, smallest and largest over the models, of figures that lie in dictionaries and lists."""
    if isinstance(runs[0], dict):
        return {key: spread([run[key] for run in runs]) for key in runs[0]}
    if isinstance(runs[0], list):
        return [spread(list(values)) for values in zip(*runs, strict=True)]
    return {"mean": statistics.fmean(runs), "min": min(runs), "max": max(runs)}


def draw(report: dict[str, Any], path: Path) -> None:
    """Three measures against the share that is drawn."""
    figure, axes = pyplot.subplots(1, len(CURVES), figsize=(12, 4.4), layout="constrained")
    percent = [100 * share for share in report["shares"]]
    colours = pyplot.rcParams["axes.prop_cycle"].by_key()["color"]
    for axis, metric in zip(axes, CURVES, strict=True):
        for row, colour in zip(CHOSEN, colours, strict=False):
            for order, line in zip(ORDERS, ("-", ":"), strict=True):
                figures = report["while drawing"][order][row][metric]
                label = row if order == ORDERS[0] else None
                axis.plot(percent, [one["mean"] for one in figures], line, color=colour, label=label)
                low, high = ([one[end] for one in figures] for end in ("min", "max"))
                if order == ORDERS[0]:
                    axis.fill_between(percent, low, high, color=colour, alpha=0.15, lw=0)
        axis.set_xlabel("% of the sketch drawn")
        axis.set_ylabel(metric)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].axhline(report["chance"], color="0.4", lw=1, ls="--")
    axes[0].text(100, report["chance"], "chance", color="0.4", fontsize=8, ha="right", va="bottom")
    title = "longest strokes first; dotted: strokes in an order of chance"
    lines, labels = axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper center", ncols=len(CHOSEN), frameon=False, fontsize=9, title=title)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def show(report: dict[str, Any]) -> None:
    """The tables, as they stand in the documents."""
    split = report["split"]["name"]
    print(f"{split}: {report['queries']} sketches, {report['gallery']} photos, {len(report['runs'])} models\n")
    metrics = [name for name in next(iter(report["instance"].values())) if name.startswith(("mAP@all", "drawn"))]
    print("| ranking | " + " | ".join(metrics) + " |")
    print("|---" * (len(metrics) + 1) + "|")
    for row, found in report["instance"].items():
        print(f"| {row} | " + " | ".join(cell(found[metric]) for metric in metrics) + " |")
    for order in ORDERS:
        for metric in CURVES:
            print(f"\n{metric}, strokes by {order}\n")
            print("| % drawn | " + " | ".join(f"{100 * share:.0f}" for share in report["shares"]) + " |")
            print("|---" * (len(report["shares"]) + 1) + "|")
            for row, curves in report["while drawing"][order].items():
                print(f"| {row} | " + " | ".join(f"{one['mean']:.3f}" for one in curves[metric]) + " |")


def cell(value: dict[str, float]) -> str:
    """Mean, and both ends where they differ."""
    ends = f" ({value['min']:.3f} to {value['max']:.3f})" if value["min"] < value["max"] else ""
    return f"{value['mean']:.3f}{ends}"


if __name__ == "__main__":
    main()
