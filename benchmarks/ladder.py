"""The ladder: what each step of the method is worth, on real sketches and photos of unseen categories.

    for seed in 0 1 2; do for arm in ce one_way bidirectional bidirectional_adapters; do
        python benchmarks/ladder_train.py --work LADDER --split sketchy_ext_25 --arm $arm --seed $seed; done; done
    python benchmarks/ladder_train.py --work LADDER --split sketchy_ext_25 --arm frozen --seed 0
    python benchmarks/ladder.py --work LADDER          # writes benchmarks/results/ladder.json and its plots

Each training takes some five minutes of two cores, and is kept, so that the rows can be judged again in a minute. All
rows look at vectors alone: K, the number of sub-spaces and the weight are chosen from the gallery's photos, and what
is known of sketches comes from the training's. The unseen categories decide nothing. The oracle's K is that which
labels would have chosen; it is there to be compared with. Rankings are exact, in memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ladder_plots import draw_arms, draw_rows
from ladder_rows import (
    ALIGNED_MANY,
    ALIGNED_NEIGHBOURS,
    FULL,
    LINEAR,
    MANY,
    NEIGHBOURS,
    PHOTO,
    PLAIN,
    measure,
)
from ladder_train import ARMS
from numpy.typing import NDArray
from recipes import NOTE, ROOT, SPLITS

from sbka_milvus.errors import SbkaError
from sbka_milvus.evaluation import Resampling, paired_difference, protocol_named

MODES = ("ce", "one_way", "bidirectional")
T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t, two-sided 95 %, by the number of seeds."""

Runs = dict[tuple[str, str], list[dict[str, Any]]]


def main() -> None:
    """Judges all trainings of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "ladder.json")
    parser.add_argument("--again", action="store_true", help="judge anew what was judged before")
    parser.add_argument("--quiet", action="store_true", help="print no tables")
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in arguments.work.glob("*/run.json"))
    if not folders:
        sys.exit(f"There is no training in {arguments.work}: make some with benchmarks/ladder_train.py.")
    runs: Runs = {}
    try:
        for folder in folders:
            run = judged(folder, again=arguments.again)
            runs.setdefault((run["split"], run["arm"]), []).append(run)
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    report: dict[str, Any] = {
        "command": "python benchmarks/ladder.py --work LADDER",
        "data": {"pictures": "sketchy-mini", "note": NOTE},
        "splits": {split: summary(split, runs) for split in SPLITS if any(at[0] == split for at in runs)},
        "runs": [
            {key: value for key, value in run.items() if key != "folder"} for many in runs.values() for run in many
        ],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rounded(report), indent=1) + "\n")
    for split, found in report["splits"].items():
        draw_rows(found, arguments.out.with_name(f"{arguments.out.stem}-{split}-rows.png"))
        draw_arms(found, arguments.out.with_name(f"{arguments.out.stem}-{split}-arms.png"))
        if not arguments.quiet:
            show(split, found)


def rounded(value: Any) -> Any:
    """The same with six decimals, for a file that people read."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def judged(folder: Path, *, again: bool) -> dict[str, Any]:
    """A training with the figures of its rows, which are kept beside it."""
    kept, precisions = folder / "judged.json", folder / "precisions.npz"
    if again or not (kept.exists() and precisions.exists()):
        print(f"judging {folder.name}", file=sys.stderr)
        figures, by_query = measure(folder / "vectors.npz")
        np.savez(precisions, **{name: values for name, values in by_query.items()})  # type: ignore[arg-type]
        kept.write_text(json.dumps(figures) + "\n")
    run: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return run | {"parts": json.loads(kept.read_text()), "folder": folder}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds, smallest, largest, and Student's interval of the mean."""
    mean = statistics.fmean(values)
    found: dict[str, Any] = {"mean": mean, "min": min(values), "max": max(values), "seeds": len(values)}
    if len(values) in T_975:
        half = T_975[len(values)] * statistics.stdev(values) / len(values) ** 0.5
        found["interval"] = [mean - half, mean + half]
    return found


def summary(split: str, runs: Runs) -> dict[str, Any]:
    """The figures of one split."""
    order = [*ARMS, *sorted({arm for _, arm in runs} - ARMS.keys())]
    arms = {arm: runs[split, arm] for arm in order if (split, arm) in runs}
    found: dict[str, Any] = {
        "arms": {arm: figures(many) for arm, many in arms.items()},
        "between arms": {},
        "between rows": {arm: between_rows(many) for arm, many in arms.items()},
    }
    steps = [*pairwise(MODES), *(("one_way", arm) for arm in arms if arm not in (*MODES, "frozen"))]
    for lower, upper in steps:
        if lower in arms and upper in arms:
            found["between arms"][f"{upper} over {lower}"] = between_arms(arms[lower], arms[upper])
    return found


def figures(many: list[dict[str, Any]]) -> dict[str, Any]:
    """One arm: its rows over the seeds, the choice without labels beside the oracle, and the cost."""
    first = many[0]["parts"]["unseen"]
    found: dict[str, Any] = {"queries": first["queries"], "gallery": first["gallery"], "chance": first["chance"]}
    for part in ("unseen", "val"):
        if part in many[0]["parts"]:
            found[part] = {
                row: {
                    metric: spread([run["parts"][part]["rows"][row][metric] for run in many])
                    for metric in metrics
                    if metric != "seconds"
                }
                for row, metrics in many[0]["parts"][part]["rows"].items()
            }
    found["choice over oracle"] = {
        row: spread([choice_over_oracle(run["parts"]["unseen"], row) for run in many]) for row in (MANY, ALIGNED_MANY)
    }
    for key in ("seconds", "processor_seconds"):
        if key in many[0]:
            found[key] = spread([run[key] for run in many])
    return found


def choice_over_oracle(part: dict[str, Any], row: str) -> float:
    """mAP@all with the K that was chosen over that with the best K."""
    return float(part["rows"][row]["mAP@all"] / max(part["oracle"][row].values()))


def between_rows(many: list[dict[str, Any]]) -> dict[str, Any]:
    """The comparisons that the goals name, within one arm."""
    pairs = {
        "one-to-many over one-to-one": (MANY, PLAIN),
        "aligned one-to-many over one-to-one": (ALIGNED_MANY, PLAIN),
        "one-to-many over neighbour re-ranking": (MANY, NEIGHBOURS),
        "aligned one-to-many over aligned neighbour re-ranking": (ALIGNED_MANY, ALIGNED_NEIGHBOURS),
        "linear system over neighbour re-ranking": (LINEAR, NEIGHBOURS),
        "full system over one-to-one": (FULL, PLAIN),
    }
    found: dict[str, Any] = {}
    for name, (upper, lower) in pairs.items():
        maps = [[run["parts"]["unseen"]["rows"][row]["mAP@all"] for row in (upper, lower)] for run in many]
        found[name] = {
            "ratio": spread([one / other for one, other in maps]),
            "difference": spread([one - other for one, other in maps]),
        }
    return found


def between_arms(lower: list[dict[str, Any]], upper: list[dict[str, Any]]) -> dict[str, Any]:
    """Two arms of the same seeds: differences by seed, and a bootstrap over categories of the seeds' mean."""
    seeds = sorted({run["seed"] for run in lower} & {run["seed"] for run in upper})
    found: dict[str, Any] = {"seeds": seeds}
    plain = protocol_named("plain")
    categories = np.load(upper[0]["folder"] / "precisions.npz")["categories"].astype(np.int64)
    for row in (PLAIN, MANY, LINEAR, FULL):
        upper_mean, lower_mean = (mean_precision(runs, seeds, row) for runs in (upper, lower))
        drawn = paired_difference(upper_mean, lower_mean, categories, plain, Resampling(over="categories"))
        found[row] = spread(differences(lower, upper, "unseen", row)) | {
            "bootstrap over categories": [drawn.low, drawn.high]
        }
        # Ten other categories for each seed; they chose the epoch.
        if all("val" in run["parts"] for run in (*lower, *upper)):
            found[row]["pseudo-unseen"] = spread(differences(lower, upper, "val", row))
    return found


def differences(lower: list[dict[str, Any]], upper: list[dict[str, Any]], part: str, row: str) -> list[float]:
    """mAP@all of one arm less that of another, by seed."""
    sides = [
        {run["seed"]: float(run["parts"][part]["rows"][row]["mAP@all"]) for run in runs} for runs in (upper, lower)
    ]
    return [sides[0][seed] - sides[1][seed] for seed in sorted(sides[0].keys() & sides[1].keys())]


def mean_precision(runs: list[dict[str, Any]], seeds: list[int], row: str) -> NDArray[np.float64]:
    """Average precision of each query, shape (Q,), mean over the seeds."""
    each = [np.load(run["folder"] / "precisions.npz")[row] for run in runs if run["seed"] in seeds]
    return np.asarray(np.mean(each, axis=0, dtype=np.float64))


def show(split: str, found: dict[str, Any]) -> None:
    """The tables, as they stand in the documents."""
    arms = found["arms"]
    first = next(iter(arms.values()))
    print(f"\n## {split}: {first['queries']} sketches, {first['gallery']} photos, chance {first['chance']:.3f}\n")
    print("mAP@all, mean over seeds (smallest to largest)\n")
    print(
        "| ranking | "
        + " | ".join(f"{arm} ({one['unseen'][PLAIN]['mAP@all']['seeds']})" for arm, one in arms.items())
        + " |"
    )
    print("|---" * (len(arms) + 1) + "|")
    for row in first["unseen"]:
        print(f"| {row} | " + " | ".join(cell(one["unseen"][row]["mAP@all"]) for one in arms.values()) + " |")
    print("\nP@25 / P@10 / drawn photo R@1, R@10, and in its category R@1, R@10\n")
    for arm, one in arms.items():
        for row in (PLAIN, "means removed, one-to-one", MANY, LINEAR, PHOTO, FULL):
            print(
                f"  {arm:24s} {row:20s} " + "  ".join(f"{values['mean']:.3f}" for values in one["unseen"][row].values())
            )
    for arm, one in arms.items():
        print(
            f"  {arm}: chosen over oracle "
            + ", ".join(f"{row} {cell(v)}" for row, v in one["choice over oracle"].items())
        )
        print("    " + "; ".join(f"{name} x{cell(v['ratio'])}" for name, v in found["between rows"][arm].items()))
    for name, rows in found["between arms"].items():
        print(
            f"  {name} (seeds {rows['seeds']}): "
            + "; ".join(f"{row} {signed(v)}" for row, v in rows.items() if row != "seeds")
        )


def cell(value: dict[str, Any]) -> str:
    """Mean, and the ends where there is more than one seed."""
    ends = f" ({value['min']:.3f} to {value['max']:.3f})" if value["seeds"] > 1 else ""
    return f"{value['mean']:.3f}{ends}"


def signed(value: dict[str, Any]) -> str:
    """A difference with both its intervals."""
    seeds = "" if "interval" not in value else " seeds [{:+.3f}, {:+.3f}]".format(*value["interval"])
    categories = " categories [{:+.3f}, {:+.3f}]".format(*value["bootstrap over categories"])
    other = f" (pseudo-unseen {value['pseudo-unseen']['mean']:+.3f})" if "pseudo-unseen" in value else ""
    return f"{value['mean']:+.3f}{seeds}{categories}{other}"


if __name__ == "__main__":
    main()
