"""Several trainings of the ladder as one teacher: an ensemble whose cosines are the mean of its members'.

    python benchmarks/committee.py --members LADDER/sketchy_ext_25-one_way-{0,1,2,3} \
        --out LADDER/sketchy_ext_25-committee

writes a folder such as benchmarks/ladder_train.py does, with links to the members' models: benchmarks/student_train.py
takes it as a teacher, and benchmarks/cost.py compares it with what it taught. Its vectors of the seen categories are of
those that no member held out. Members with other seeds held out other pseudo-unseen categories: those on which the best
epoch of a student is chosen were held out by the member that has its seed, and trained on by the others. Unseen
categories were trained on by none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sbka_milvus.encoders.manifest import read_manifest
from sbka_milvus.errors import SbkaError

PARTS = ("seen", "unseen")


def main() -> None:
    """Links, joins, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=Path, nargs="+", required=True, help="folders of trainings; two at least")
    parser.add_argument("--out", type=Path, required=True, help="folder of the committee")
    arguments = parser.parse_args()
    if len(arguments.members) < 2:
        parser.error("a committee has two members at least")
    if (arguments.out / "run.json").exists():
        print(f"{arguments.out} is there already.")
        return
    try:
        run = make(arguments.members, arguments.out)
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing: make it with benchmarks/ladder_train.py.")
    (arguments.out / "run.json").write_text(json.dumps(run, indent=1) + "\n")


def make(members: list[Path], out: Path) -> dict[str, Any]:
    """The links and the vectors, and what is to be told of it."""
    runs = [json.loads((member / "run.json").read_text()) for member in members]
    splits = {run["split"] for run in runs}
    if len(splits) > 1:
        sys.exit(
            f"The members are of {len(splits)} splits, {', '.join(sorted(splits))}: what one may see another may not."
        )
    (out / "model").mkdir(parents=True, exist_ok=True)
    for member in members:
        read_manifest(member / "model")
        link = out / "model" / member.name
        link.unlink(missing_ok=True)
        link.symlink_to((member / "model").resolve(), target_is_directory=True)
    np.savez(out / "vectors.npz", **joined([member / "vectors.npz" for member in members]))
    return {
        "split": runs[0]["split"],
        "arm": "committee",
        "seed": runs[0]["seed"],
        "members": [member.name for member in members],
        "seconds": sum(run["seconds"] for run in runs),
        "processor_seconds": sum(run["processor_seconds"] for run in runs),
    }


def joined(files: list[Path]) -> dict[str, Any]:
    """Unit vectors of all members one after the other, of the pictures that all have, over the root of their number."""
    members = []
    for file in files:
        with np.load(file) as arrays:
            members.append(dict(arrays))
    found: dict[str, Any] = {}
    for part in PARTS:
        for kind in "sp":
            names = [list(zip(one[f"{part}_{kind}c"], one[f"{part}_{kind}n"], strict=True)) for one in members]
            shared = set(names[0]).intersection(*names[1:])
            places = [{name: row for row, name in enumerate(own)} for own in names]
            kept = [name for name in names[0] if name in shared]
            rows = [
                one[f"{part}_{kind}"][[place[name] for name in kept]]
                for one, place in zip(members, places, strict=True)
            ]
            found[f"{part}_{kind}"] = np.concatenate(rows, axis=1) / np.float32(np.sqrt(len(rows)))
            found[f"{part}_{kind}c"] = np.array([category for category, _ in kept])
            found[f"{part}_{kind}n"] = np.array([name for _, name in kept])
    return found


if __name__ == "__main__":
    main()
