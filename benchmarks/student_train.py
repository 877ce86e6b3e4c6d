"""A small student of a trained model, or of a committee of them.

    python benchmarks/student_train.py --teacher LADDER/sketchy_ext_25-one_way-0 --out LADDER/sketchy_ext_25-student-0
    python benchmarks/student_train.py --teacher LADDER/sketchy_ext_25-committee \
        --member LADDER/sketchy_ext_25-one_way-0 --out LADDER/sketchy_ext_25-taught-0

**Of one model**: the first levels of its teacher, which learn to make its features. The teacher is what
benchmarks/ladder_train.py wrote; so is what this writes, and benchmarks/ladder.py judges both. The student starts as
the first four of MobileNetV2's five levels, which hold 24.4 % of its weights, with the teacher's own weights, and
learns seen categories and the teacher's features of photos and sketches. It has the teacher's seed, and with it the
same pseudo-unseen categories: neither of the two was trained on them.

**Of a committee** of benchmarks/committee.py, with ``--member``: one network of the committee's kind, which starts as
that member, has its seed and pseudo-unseen categories, and learns how far the committee sees pictures lie apart.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ladder_train import encode
from recipes import RECIPES, Lines, RealData, data_folder, make_once

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.manifest import read_manifest
from sbka_milvus.pipelines.train import train_model
from sbka_milvus.training.options import TrainingOptions

LEVELS = 4
RECIPE: dict[str, Any] = RECIPES["knowledge"] | {
    "backbone_rate_factor": 1.0,
    "embedding_weight": 10.0,
    "relation_pictures": "both",
    "knowledge_weight": 0.0,
    "sketch_knowledge_weight": 0.0,
    "alignment_weight": 0.0,
}
FURTHER: dict[str, Any] = RECIPE | {
    "epochs": 2,
    "learning_rate": 3e-4,
    "warmup_epochs": 0.2,
    "backbone_rate_factor": 1.0,
    "embedding_weight": 0.0,
    "relation_weight": 30.0,
}
"""A member that learns from its committee."""
TUNABLE = (
    "epochs",
    "learning_rate",
    "backbone_rate_factor",
    "embedding_weight",
    "relation_weight",
    "frozen_stages",
    "sketches_per_batch",
    "photos_per_batch",
)


def main() -> None:
    """Trains, encodes, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--teacher", type=Path, required=True, help="folder of a training of the ladder")
    parser.add_argument("--out", type=Path, required=True, help="folder of this one")
    parser.add_argument("--member", type=Path, help="of a committee that teaches: what the student starts as")
    parser.add_argument("--levels", type=int, default=LEVELS, help="that stay of the teacher's network")
    parser.add_argument("--size", type=int, help="side of the input in pixels; by default the teacher's")
    for name in TUNABLE:
        parser.add_argument("--" + name.replace("_", "-"), type=float, help="in place of the recipe's")
    arguments = parser.parse_args()
    make_once(arguments.out, arguments.data, lambda: make(arguments))


def make(arguments: argparse.Namespace) -> dict[str, Any]:
    """The model and its vectors, and what the training says of itself."""
    teacher: Path = arguments.teacher / "model"
    first: Path = arguments.member or arguments.teacher
    manifest = read_manifest(first / "model")
    taught = json.loads((first / "run.json").read_text())
    data = RealData(arguments.data, taught["split"])
    given = {name: value for name in TUNABLE if (value := getattr(arguments, name)) is not None}
    whole = arguments.member is not None
    options = TrainingOptions.make(**(FURTHER if whole else RECIPE) | given, seed=taught["seed"])
    cut = [] if whole else [f"levels={arguments.levels}"]
    backbone = BuildRequest.parse(manifest.backbone, first / "model", arguments.size, cut)
    arguments.out.mkdir(parents=True, exist_ok=True)
    size = arguments.size or int(manifest.preprocessing["size"])
    request = replace(
        data.request(arguments.out / "model", options, size, drawings=True),
        backbone=backbone,
        teacher_bundle=teacher,
        affinity=None,
        name="student",
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    trained = train_model(request, Lines())
    seconds, processor_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    held_out = list(trained.bundle.manifest.training["validation_classes"])
    assert set(held_out) == set(manifest.training["validation_classes"]), "one seed and one share hold out the same"
    encode(arguments.out, data, held_out)
    return {
        "split": taught["split"],
        "digest": data.split.digest,
        "arm": "taught" if whole else "student",
        "seed": taught["seed"],
        "teacher": arguments.teacher.name,
        "start": {"arm": taught["arm"], "fingerprint": manifest.fingerprint},
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor_seconds, 1),
        "threads": torch.get_num_threads(),
        "best_epoch": trained.history.best_epoch,
        "validation_map": [epoch.validation_map for epoch in trained.history.epochs],
        "options": options.model_dump()
        | {"input_size": size, "drawings": True}
        | ({} if whole else {"levels": arguments.levels}),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
