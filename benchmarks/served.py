"""Retrieval quality through Milvus, in both forms of matching, of trainings that the ladder kept.

    python benchmarks/served.py --work LADDER            # writes benchmarks/results/served.json
    python benchmarks/served.py --work LADDER --rerankers neighbours,quantised --out RERANKED.json

For each training: its model gets statistics from the pictures of seen categories, the unseen categories' photos are
ingested into a fresh embedded Milvus gallery (once *fused*, once *linear*: see docs/search.md), which is searched with
the unseen sketches by the ordinary search with all its defaults. K and the weight come from the photos alone.
Re-rankers see as many candidates as they want for 25 hits; the other photos follow in the order of the search.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ladder import cell, spread
from recipes import NOTE, ROOT, RealData, data_folder

from sbka_milvus.errors import SbkaError
from sbka_milvus.factory import (
    evaluate_gallery_folder,
    evaluate_options,
    ingest_into,
    make_model_statistics,
    open_encoder,
    open_gallery,
)
from sbka_milvus.pipelines.evaluate import measure_rankings
from sbka_milvus.pipelines.evaluate_report import make_report
from sbka_milvus.pipelines.index_form import MatchingForm
from sbka_milvus.pipelines.matching import matching_finder
from sbka_milvus.pipelines.rankings import Rankings
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.search.rerankers import NAMES, RerankerChoice
from sbka_milvus.settings import IngestSettings, MilvusSettings, Settings

FORMS: tuple[MatchingForm, ...] = ("fused", "linear")
METHODS = ("one-to-one", "one-to-many")
METRICS = ("mAP@all", "mAP@200", "P@10", "P@25")
HITS = 25


def main() -> None:
    """Runs the benchmark and writes its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--split", default="sketchy_ext_25")
    parser.add_argument("--arm", default="one_way")
    parser.add_argument("--rerankers", default="", help=f"rows to add, of {', '.join(NAMES)}; comma-separated")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "served.json")
    arguments = parser.parse_args()
    models = trainings(arguments.work, arguments.split, arguments.arm)
    rerankers = tuple(name for name in arguments.rerankers.split(",") if name)
    methods = (*METHODS, *rerankers)
    data = RealData(arguments.data, arguments.split)
    try:
        runs = [served(folder, data, arguments.data, rerankers) for folder in models]
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    report: dict[str, Any] = {
        "command": f"python benchmarks/served.py --work LADDER --split {arguments.split} --arm {arguments.arm}"
        + (f" --rerankers {arguments.rerankers}" if rerankers else ""),
        "data": {"pictures": "sketchy-mini", "note": NOTE},
        "split": {"name": data.split.name, "digest": data.split.digest},
        "arm": arguments.arm,
        "summary": {
            form: {
                method: {metric: spread([run[form][method][metric] for run in runs]) for metric in METRICS}
                for method in methods
            }
            for form in FORMS
        },
        "runs": runs,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print("| form, method | " + " | ".join(METRICS) + " |\n" + "|---" * (len(METRICS) + 1) + "|")
    for form in FORMS:
        for method in methods:
            row = report["summary"][form][method]
            print(f"| {form}, {method} | " + " | ".join(cell(row[metric]) for metric in METRICS) + " |")


def trainings(work: Path, split: str, arm: str) -> list[Path]:
    """The folders of whole trainings; ends the program where there is none."""
    found = sorted(path.parent for path in work.glob(f"{split}-{arm}-*/run.json"))
    if not found:
        sys.exit(f"There is no training of {arm} in {work}: see benchmarks/ladder_train.py.")
    return found


def served(folder: Path, data: RealData, root: Path, rerankers: Sequence[str] = ()) -> dict[str, Any]:
    """One training, through Milvus."""
    run: dict[str, Any] = {"training": folder.name}
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model"
        shutil.copytree(folder / "model", model)
        split = root / "splits" / f"{data.split.name}.json"
        plain = Settings(_env_file=None, milvus=MilvusSettings())  # type: ignore[call-arg]
        make_model_statistics(model, data.photos, data.sketches, split, plain, SilentProgress())
        for form in FORMS:
            settings = plain.model_copy(update={"ingest": IngestSettings(matching=form)})
            gallery = Path(temporary) / form
            photos = [str(data.photos / name) for name in data.split.unseen]
            report = ingest_into(photos, gallery, settings, SilentProgress(), model=model)
            scores = evaluate_gallery_folder(gallery, data.sketches, data.split, settings, SilentProgress())
            run[form] = {
                "matching": report.index.matching,
                "clusters": report.index.clusters,
                "cluster_weight": scores.cluster_weight,
                **{method: {metric: scores.score(method, metric) for metric in METRICS} for method in METHODS},
                **reranked(gallery, data, settings, {name: name for name in rerankers}, data.split.unseen),
            }
            print(f"{folder.name} {form}: {json.dumps(run[form])}", file=sys.stderr, flush=True)
    return run


def reranked(
    root: Path, data: RealData, settings: Settings, rerankers: Mapping[str, RerankerChoice], categories: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """What re-rankers make of the search of a gallery, by name; it holds the photos of some categories."""
    if not rerankers:
        return {}
    with open_gallery(root, settings) as (gallery, store):
        encoder = open_encoder(gallery.model_folder, settings)
        sketches, photos = data.encode(encoder, categories)
        place = {str(path): row for row, path in enumerate(photos.paths)}
        searcher = GallerySearcher(store, gallery.name, matching_of=matching_finder(gallery))
        whole = SearchOptions(exact=True, default_weight=settings.search.cluster_weight)
        positions: dict[str, list[list[int]]] = {name: [] for name in rerankers}
        for row in range(len(sketches.vectors)):
            query = sketches.vectors[row : row + 1]
            plain = [place[hit.uri] for hit in searcher.search(query, len(place), whole)[0]]
            for name, reranker in rerankers.items():
                options = replace(whole, reranker=reranker)
                depth = options.depth(HITS)
                first = searcher.search(query, depth, replace(options, rerank_depth=depth))[0]
                positions[name].append([place[hit.uri] for hit in first] + plain[len(first) :])
        rankings = Rankings({name: np.array(rows) for name, rows in positions.items()}, searcher.n_clusters)
        how = evaluate_options(gallery.name, encoder.input_size, settings)
        measured = measure_rankings(rankings, photos, sketches, how)
        report = make_report(measured, data.split, encoder.fingerprint, how)
    return {name: {metric: report.score(name, metric) for metric in METRICS} for name in rerankers}


if __name__ == "__main__":
    main()
