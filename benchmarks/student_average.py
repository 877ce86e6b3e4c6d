"""The mean of a student's weights as it began and as it ended.

    python benchmarks/student_average.py --student LADDER/sketchy_ext_25-taught-0 \
        --member LADDER/sketchy_ext_25-one_way-0 --out LADDER/sketchy_ext_25-averaged-0

For a student that benchmarks/student_train.py made of a member of its committee: what further training gained often
holds for a mean of both weights, which forgets less (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
How much of the trained weights goes in is chosen by the mAP@all of the pseudo-unseen categories, which neither of the
two was trained on. Writes a folder such as benchmarks/ladder_train.py does.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ladder_train import encode
from recipes import RealData, data_folder, make_once

from sbka_milvus.encoders.bundle import BundleNotes, ModelBundle, load_bundle, save_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.evaluation import average_precision
from sbka_milvus.rankers import Plain, rank_positions

SHARES = (0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Averages, chooses, encodes, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--student", type=Path, required=True, help="folder of student_train.py --member")
    parser.add_argument("--member", type=Path, required=True, help="what it began as")
    parser.add_argument("--out", type=Path, required=True, help="folder of the mean")
    arguments = parser.parse_args()
    make_once(arguments.out, arguments.data, lambda: make(arguments))


def make(arguments: argparse.Namespace) -> dict[str, Any]:
    """The model and its vectors, and what is to be told of it."""
    start, start_cpu = time.perf_counter(), time.process_time()
    run: dict[str, Any] = json.loads((arguments.student / "run.json").read_text())
    data = RealData(arguments.data, run["split"])
    member, student = load_bundle(arguments.member / "model"), load_bundle(arguments.student / "model")
    if run.get("start", {}).get("fingerprint") != member.fingerprint:
        sys.exit(f"{arguments.student} did not begin as {arguments.member}: their mean is no network.")
    held_out: list[str] = list(student.manifest.training["validation_classes"])
    first, last = member.backbone.net.state_dict(), student.backbone.net.state_dict()
    last = {name: value.clone() for name, value in last.items()}
    found = {}
    for share in SHARES:
        student.backbone.net.load_state_dict(between(first, last, share))
        found[share] = judged(student, data, held_out)
        print(f"{share:.2f} of what it learned: mAP@all {found[share]:.4f}", file=sys.stderr, flush=True)
    chosen = max(SHARES, key=lambda share: found[share])
    student.backbone.net.load_state_dict(between(first, last, chosen))
    training = student.manifest.training | {"averaged": {"with": member.fingerprint, "share": chosen}}
    bundle = save_bundle(
        student.backbone, BundleNotes("averaged", student.manifest.classes, training), arguments.out / "model"
    )
    seconds, processor_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    encode(arguments.out, data, held_out)
    return run | {
        "arm": "averaged",
        "share": chosen,
        "validation_map": [found[share] for share in SHARES],
        "shares": list(SHARES),
        "fingerprint": bundle.fingerprint,
        "seconds": round(run["seconds"] + seconds, 1),
        "processor_seconds": round(run["processor_seconds"] + processor_seconds, 1),
    }


def between(first: dict[str, torch.Tensor], last: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Weights between two networks of one form; counts, which are no weights, are those of the second."""
    return {
        name: torch.lerp(first[name], value, share) if value.is_floating_point() else value
        for name, value in last.items()
    }


def judged(bundle: ModelBundle, data: RealData, names: list[str]) -> float:
    """mAP@all of some categories, one to one."""
    sketches, photos = data.encode(BundleEncoder(bundle, device="cpu"), names)
    order = rank_positions(Plain().scores(sketches.vectors, photos.vectors))
    relevant = np.array(sketches.categories)[:, None] == np.array(photos.categories)[None]
    return float(average_precision(np.take_along_axis(relevant, order, axis=1)).mean())


if __name__ == "__main__":
    main()
