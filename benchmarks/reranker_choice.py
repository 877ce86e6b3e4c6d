"""Which form of the re-ranker *quantised* to build in: chosen on pseudo-unseen categories alone.

    python benchmarks/reranker_choice.py --work LADDER    # writes benchmarks/results/reranker-choice.json

For each training: the photos of its pseudo-unseen categories (held out of the training, of those that are seen) are
ingested in the form *fused* and searched with their sketches, as benchmarks/served.py does with the unseen ones, which
are not looked at here. Compared are the sub-spaces (M) and where codewords come from: the parts of the gallery's
centroids, or k-means of the candidates' own parts (as many codewords as the gallery has clusters, at most half as many
as candidates). Reported are mAP@all and what each form brings over the order of the search, training by training.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ladder import cell, spread
from recipes import NOTE, ROOT, RealData, data_folder
from served import reranked, trainings

from sbka_milvus.errors import SbkaError
from sbka_milvus.factory import ingest_into
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.progress import SilentProgress
from sbka_milvus.protocols import Reranker
from sbka_milvus.search.rerankers import FusedReranker, NeighbourReranker, QuantisedReranker
from sbka_milvus.search.rerankers.depth import usual_depth
from sbka_milvus.settings import IngestSettings, MilvusSettings, Settings
from sbka_milvus.subspaces import PAPER_WEIGHT, cut, quantised_scores
from sbka_milvus.types import ClusterTable, FloatArray, Shortlist

SUBSPACES = (1, 2, 4, 8)


@dataclass(frozen=True)
class OfCandidates:
    """The same form, with codewords of the candidates themselves."""

    n_subspaces: int

    @property
    def name(self) -> str:
        return f"candidates, M = {self.n_subspaces}"

    def depth(self, k: int) -> int:
        return usual_depth(k)

    def scores(self, query: FloatArray, photos: Shortlist, table: ClusterTable) -> FloatArray:
        count = max(1, min(len(table), len(photos) // 2))
        parts = cut(photos.vectors, self.n_subspaces)
        codebooks = [fit_centroids(part, count, spherical=False, n_restarts=1) for part in parts]
        return quantised_scores(query[np.newaxis], photos.vectors, codebooks, PAPER_WEIGHT).reshape(-1)


def main() -> None:
    """Compares the forms and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--split", default="sketchy_ext_25")
    parser.add_argument("--arm", default="one_way")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "reranker-choice.json")
    arguments = parser.parse_args()
    models = trainings(arguments.work, arguments.split, arguments.arm)
    data = RealData(arguments.data, arguments.split)
    try:
        runs = [one_training(folder, data) for folder in models]
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    report: dict[str, Any] = {
        "command": "python benchmarks/reranker_choice.py --work LADDER"
        + f" --split {arguments.split} --arm {arguments.arm}",
        "data": {"pictures": "sketchy-mini", "categories": "pseudo-unseen", "note": NOTE},
        **summarised(runs),
        "runs": runs,
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, value in report["mAP@all"].items():
        print(f"{name:20} {cell(value)}, over the search {report['over the search'][name]['mean']:+.4f}")


def summarised(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the trainings."""
    scores = [run["mAP@all"] for run in runs]
    return {
        "mAP@all": {name: spread([one[name] for one in scores]) for name in scores[0]},
        "over the search": {name: spread([one[name] - one["fused"] for one in scores]) for name in scores[0]},
    }


def one_training(folder: Path, data: RealData) -> dict[str, Any]:
    """All forms, on the categories that one training held out."""
    settings = Settings(_env_file=None, milvus=MilvusSettings(), ingest=IngestSettings(matching="fused"))  # type: ignore[call-arg]
    manifest = json.loads((folder / "model" / "manifest.json").read_text())
    held_out = tuple(manifest["training"]["validation_classes"])
    if set(held_out) & set(data.split.unseen):
        sys.exit(f"{folder} held out unseen categories: nothing may be chosen by them.")
    forms: list[Reranker] = [FusedReranker(), NeighbourReranker()]
    named: dict[str, Reranker] = {one.name: one for one in forms}
    for count in SUBSPACES:
        named[f"centroids, M = {count}"] = QuantisedReranker(count)
        named[f"candidates, M = {count}"] = OfCandidates(count)
    with tempfile.TemporaryDirectory() as temporary:
        gallery = Path(temporary) / "gallery"
        photos = [str(data.photos / name) for name in held_out]
        ingest_into(photos, gallery, settings, SilentProgress(), model=folder / "model")
        found = reranked(gallery, data, settings, named, held_out)
    run = {"training": folder.name, "categories": list(held_out)}
    result = run | {"mAP@all": {name: scores["mAP@all"] for name, scores in found.items()}}
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    main()
