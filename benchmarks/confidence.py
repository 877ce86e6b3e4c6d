"""What the confidence of searches is worth: sketches of unseen categories, with and without their category there.

    python benchmarks/confidence.py --models FOLDER... --data ../shared/data -o benchmarks/results/confidence.json

A FOLDER is a trained bundle. Its confidence is the one that it holds, else one is made from the pictures of its seen
categories; nothing is fitted on unseen ones. Two tasks:

* one by one: each sketch is searched for twice, in the gallery of all unseen photos, and in that without its category;
* halves: half of the unseen categories are taken out, ten times.

For each form of search, and beside the score of the first hit alone: AUROC of "the category is there", AURC of
"the first hit is right", the expected calibration error, and what the threshold of a search does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from recipes import ROOT, data_folder

from sbka_milvus.clusters import default_n_clusters
from sbka_milvus.encoders.bundle import copy_bundle, load_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.precision import FP32
from sbka_milvus.encoders.statistics import ModelStatistics, read_statistics
from sbka_milvus.errors import SbkaError
from sbka_milvus.factory import make_model_statistics
from sbka_milvus.images import Split, list_images
from sbka_milvus.pipelines.labelled import encode_images
from sbka_milvus.progress import Progress, SilentProgress
from sbka_milvus.rankers import Evidence, Labelled, area_under_roc, reliability, risk_coverage
from sbka_milvus.rankers.served_confidence import ServedConfidence
from sbka_milvus.rankers.served_simulation import ServedSearch, joined
from sbka_milvus.rankers.spaces import SERVED_FORMS
from sbka_milvus.settings import SearchSettings, Settings

GRID = np.linspace(0.01, 1.0, 100)
N_HALVES = 5


def known(model: Path, data: Path, split: Path, progress: Progress) -> ModelStatistics:
    """The bundle's statistics, made in a copy where it has none: the folder itself is left as it is."""
    held = read_statistics(model)
    if held is not None:
        return held
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "model"
        copy_bundle(model, copy)
        folders = data / "sketchy-mini" / "photos", data / "sketchy-mini" / "sketches"
        return make_model_statistics(copy, *folders, split, Settings(device="cpu"), progress).statistics


def one_by_one(search: ServedSearch, sketches: Labelled, photos: Labelled, cohort: np.ndarray) -> Evidence:
    """Each sketch in the whole gallery, and in that without its category."""
    asked, names = np.array(sketches.categories), np.array(photos.categories)
    features, first = search.features(sketches.vectors, photos.vectors, cohort)
    found = [Evidence(features, np.ones(len(asked), dtype=bool), np.asarray(names[first] == asked))]
    for category in np.unique(names):
        mine, rest = asked == category, names != category
        features, _ = search.features(sketches.vectors[mine], photos.vectors[rest], cohort)
        none = np.zeros(len(features), dtype=bool)
        found.append(Evidence(features, none, none))
    return joined(found)


def halves(search: ServedSearch, sketches: Labelled, photos: Labelled, cohort: np.ndarray) -> Evidence:
    """All sketches in galleries of half of the categories; the halves go in complementary pairs."""
    asked, names = np.array(sketches.categories), np.array(photos.categories)
    rng, found = np.random.default_rng(0), []
    for _ in range(N_HALVES):
        drawn = rng.permutation(np.unique(names))
        for half in (drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]):
            held = np.isin(names, half)
            features, first = search.features(sketches.vectors, photos.vectors[held], cohort)
            found.append(Evidence(features, np.isin(asked, half), np.asarray(names[held][first] == asked)))
    return joined(found)


TASKS = {"one by one": one_by_one, "halves": halves}


def judge(stated: np.ndarray, evidence: Evidence, threshold: float) -> dict[str, Any]:
    """Figures of a confidence, and of the first hit's score in its place."""
    top, present, correct = evidence.features[:, 0], evidence.present, evidence.correct
    curves = {"confidence": risk_coverage(stated, correct), "top score": risk_coverage(top, correct)}
    calibration = reliability(stated, present)
    answered = stated >= threshold
    return {
        "searches": len(stated),
        "AUROC": {"confidence": area_under_roc(stated, present), "top score": area_under_roc(top, present)},
        "AURC": {name: curve.area for name, curve in curves.items()}
        | {"random": curves["confidence"].random, "best": curves["confidence"].best},
        "calibration error": calibration.error,
        "at the threshold": {
            "threshold": threshold,
            "answered where the category is there": float(answered[present].mean()),
            "no good match where it is not": float((~answered[~present]).mean()),
            "right first hits answered": float(answered[correct].mean()),
        },
        "curves": {name: np.interp(GRID, curve.coverage, curve.risk).tolist() for name, curve in curves.items()},
        "reliability": [calibration.stated.tolist(), calibration.observed.tolist(), calibration.counts.tolist()],
    }


def study(model: Path, data: Path, threshold: float, progress: Progress) -> dict[str, Any]:
    bundle = load_bundle(model)
    trained_on = bundle.manifest.training.get("split")
    if not trained_on:
        sys.exit(f"{model} was trained without a split, so it has no unseen categories.")
    path = data / "splits" / f"{trained_on['name']}.json"
    split = Split.load(path)
    if split.digest != trained_on["digest"]:
        sys.exit(f"{model} was trained on another split than {path}.")
    statistics = known(model, data, path, progress)
    if statistics.confidence is None:
        sys.exit(f"{model} holds no confidence: it was trained on too few categories.")
    encoder = BundleEncoder(bundle, device="cpu", precision=FP32)
    parts: list[Labelled] = []
    for folder, drawn in (("sketches", True), ("photos", False)):
        images = list_images(data / "sketchy-mini" / folder, split.unseen)
        encoded = encode_images(images, encoder, sketches=drawn, size=encoder.input_size, progress=progress)
        parts.append(Labelled(encoded.vectors, list(encoded.categories)))
    found: dict[str, Any] = {}
    for form in SERVED_FORMS:
        confidence = ServedConfidence.from_dict(statistics.confidence["forms"][form])
        search = ServedSearch(form, default_n_clusters, statistics.sketches)
        for task, searches in TASKS.items():
            evidence = searches(search, parts[0], parts[1], statistics.photos)
            judged = judge(confidence.probability(evidence.features), evidence, threshold)
            found[f"{form}, {task}"] = judged
            print(f"  {form}, {task}: {json.dumps({k: v for k, v in judged.items() if k not in HIDDEN})}", flush=True)
    fitted = {name: statistics.confidence[name] for name in ("trained_categories", "scaled_on")}
    return {
        "model": str(model),
        "fingerprint": bundle.fingerprint,
        "split": trained_on["name"],
        "fitted": fitted,
        "sketches": len(parts[0].categories),
        "photos": len(parts[1].categories),
        "results": found,
    }


HIDDEN = ("curves", "reliability")


def mean_of_all(values: list[Any]) -> Any:
    """The mean, number by number, of equal structures; lists are of one length or left out."""
    first = values[0]
    if isinstance(first, dict):
        return {key: mean_of_all([value[key] for value in values]) for key in first if key != "reliability"}
    if isinstance(first, list):
        return np.mean(values, axis=0).round(4).tolist()
    return round(float(np.mean(values)), 4)


def draw(report: dict[str, Any], path: Path) -> None:
    """Risk against coverage, mean over the models, and how often what is said comes true."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(report["mean"])
    figure, axes = pyplot.subplots(2, len(names), figsize=(4 * len(names), 7.5), squeeze=False)
    for column, name in enumerate(names):
        above, below = axes[0][column], axes[1][column]
        for curve, values in report["mean"][name]["curves"].items():
            above.plot(GRID, values, label=f"{curve} (AURC {report['mean'][name]['AURC'][curve]:.3f})")
        above.axhline(report["mean"][name]["AURC"]["random"], color="grey", linestyle=":", label="random")
        above.set(title=name, xlabel="coverage", ylabel="wrong first hits", xlim=(0, 1), ylim=(0, 1))
        above.legend(loc="lower right", fontsize=8)
        for model in report["models"]:
            stated, observed, _ = model["results"][name]["reliability"]
            below.plot(stated, observed, marker=".", alpha=0.6)
        below.plot([0, 1], [0, 1], color="grey", linestyle=":")
        below.set(xlabel="said", ylabel="came true", xlim=(0, 1), ylim=(0, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="folders of trained bundles")
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the real pictures")
    parser.add_argument("--threshold", type=float, default=SearchSettings().min_confidence)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "benchmarks" / "results" / "confidence.json")
    arguments = parser.parse_args()
    models = []
    try:
        for model in arguments.models:
            print(model, flush=True)
            models.append(study(model, arguments.data, arguments.threshold, SilentProgress()))
    except SbkaError as error:
        sys.exit(str(error))
    report = {"models": models, "mean": mean_of_all([model["results"] for model in models])}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    draw(report, arguments.out.with_suffix(".png"))
    for name, row in report["mean"].items():
        print(f"mean of {len(models)}, {name}: {json.dumps({k: v for k, v in row.items() if k not in HIDDEN})}")


if __name__ == "__main__":
    main()
