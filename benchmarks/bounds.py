"""How many photos each kind of bound leaves to be compared, for a search that is to be certain, at the paper's weight.

    python benchmarks/bounds.py --ladder LADDER      # writes results/bounds.json; a minute

Of the drawn vectors of search_data.py and of real ones, the share of the gallery that may score as much as the 20th
best photo does: by the radius of its cluster; and, of those, by the cosine along the first so many principal directions
of the residuals and the lengths of what lies along the others (Cauchy and Schwarz). All in float32, with no codes: what
coding loses comes on top.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from recipes import ROOT
from search_data import Gallery, drawn, real

from sbka_milvus.search.bounds import member_bounds

WEIGHT = 0.8
K = 20
QUERIES = 40
SAMPLE = 16_384


def main() -> None:
    """Measures and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="of the drawn vectors")
    parser.add_argument("--ladder", type=Path, help="folder of ladder_train.py, for real vectors")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "bounds.json")
    arguments = parser.parse_args()
    galleries = {f"drawn, {arguments.rows}": drawn(arguments.rows, QUERIES)}
    if arguments.ladder is not None:
        galleries["real"] = real(arguments.ladder / "sketchy_ext_25-one_way-0")
    report = {
        "command": "python benchmarks/bounds.py " + " ".join(sys.argv[1:]),
        "weight": WEIGHT,
        "hits": K,
        "galleries": {name: left_by(gallery) for name, gallery in galleries.items()},
    }
    print(json.dumps(report, indent=1))
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def left_by(gallery: Gallery) -> dict[str, Any]:
    """Means over the queries."""
    vectors, of = gallery.embeddings.vectors, gallery.clustering.assignments
    table, dim = gallery.clustering.table, gallery.embeddings.dim
    residuals = vectors - table.centroids[of]
    sample = residuals[np.random.default_rng(0).permutation(len(residuals))[:SAMPLE]]
    lengths, directions = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    lengths, directions = lengths[::-1], directions[:, ::-1].astype(np.float32)
    turned = residuals @ directions
    counts = [dim // 16, dim // 8, dim // 4, dim // 2]
    squares = np.cumsum(turned[:, ::-1] ** 2, axis=1)[:, ::-1]
    rest = {count: np.sqrt(squares[:, count]) for count in counts}
    shares: dict[str, list[float]] = {"radius": [], **{str(count): [] for count in counts}}
    step = max(1, len(gallery.queries) // QUERIES)
    for query in gallery.queries[::step][:QUERIES]:
        scores = table.centroids @ query
        fused = scores[of] + (1 - WEIGHT) * (residuals @ query)
        least = np.partition(fused, -K)[-K]
        by_radius = (WEIGHT * scores + (1 - WEIGHT) * member_bounds(scores, table.radii))[of] >= least
        shares["radius"].append(float(by_radius.mean()))
        along = directions.T @ query
        for count in counts:
            most = turned[:, :count] @ along[:count] + np.linalg.norm(along[count:]) * rest[count]
            shares[str(count)].append(float((by_radius & (scores[of] + (1 - WEIGHT) * most >= least)).mean()))
    return {
        "photos": len(vectors),
        "dim": dim,
        "clusters": len(table),
        "share of the squared length along the first directions": {
            str(count): round(float(lengths[:count].sum() / lengths.sum()), 3) for count in counts
        },
        "share of photos left": {name: round(float(np.mean(found)), 4) for name, found in shares.items()},
    }


if __name__ == "__main__":
    main()
