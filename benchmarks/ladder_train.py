"""One training of the ladder: writes the model, and the vectors of all categories, into a folder of its own.

    python benchmarks/ladder_train.py --work LADDER --split sketchy_ext_25 --arm one_way --seed 0

Arms are the training modes with everything else alike (the recipe "knowledge"), and variants of it, each named by what
is different. What is there already is not made again, so that a list of trainings can be gone through by several
processes, stopped and taken up.

``vectors.npz`` holds, for each part (seen: trained; val: pseudo-unseen; unseen), <part>_s and <part>_p, float32 unit
rows of sketches and photos; <part>_sc and <part>_pc, their categories; <part>_sn and <part>_pn, their file names.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import DRAWINGS, RECIPES, SIZES, Lines, RealData, data_folder, make_once

from sbka_milvus.factory import open_encoder
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.train import train_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import MilvusSettings, Settings
from sbka_milvus.training.options import TrainingOptions

ARMS: dict[str, dict[str, Any]] = {
    # The ladder.
    "frozen": {},
    "ce": {"mode": "ce"},
    "one_way": {},
    "bidirectional": {"mode": "bidirectional"},
    "bidirectional_adapters": {
        "mode": "bidirectional",
        "teacher_schedule": "restart",
        "teacher_scope": "adapters",
        "teacher_starts": 0.34,
    },
    "bidirectional_all": {
        "mode": "bidirectional",
        "teacher_schedule": "restart",
        "teacher_scope": "all",
        "teacher_starts": 0.34,
        "teacher_rate_factor": 0.1,
    },
    # What each part of the recipe is worth: one taken away at a time.
    "no_sketch_knowledge": {"sketch_knowledge_weight": 0.0},
    "no_drawings": {},
    "all_stages": {"frozen_stages": 0},
    "full_rate": {"backbone_rate_factor": 1.0},
    "small_input": {},
    # What could be added.
    "strokes": {"stroke_augmentation": 0.5},
    "pseudo_sketches": {"pseudo_sketches": True, "pseudo_share": 0.25},
}
SMALL = 128


def main() -> None:
    """Trains, encodes, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, required=True, help="folder of all trainings")
    parser.add_argument("--split", default="sketchy_ext_25")
    parser.add_argument("--arm", choices=list(ARMS), required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    folder = arguments.work / f"{arguments.split}-{arguments.arm}-{arguments.seed}"

    def trained() -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        return make(folder, RealData(arguments.data, arguments.split), arguments.arm, arguments.seed)

    make_once(folder, arguments.data, trained)


def make(folder: Path, data: RealData, arm: str, seed: int) -> dict[str, Any]:
    """The model and its vectors, and what the training says of itself."""
    size = SMALL if arm == "small_input" else SIZES["knowledge"]
    options = TrainingOptions(**RECIPES["knowledge"] | ARMS[arm], seed=seed)
    run: dict[str, Any] = {"split": data.split.name, "digest": data.split.digest, "arm": arm, "seed": seed}
    if arm == "frozen":
        import_model(data.backbone(size), folder / "model", "frozen", SilentProgress())
        held_out: list[str] = []
    else:
        start, start_cpu = time.perf_counter(), time.process_time()
        drawings = DRAWINGS["knowledge"] and arm != "no_drawings"
        trained = train_model(data.request(folder / "model", options, size, drawings=drawings), Lines())
        held_out = list(trained.bundle.manifest.training["validation_classes"])
        run |= {
            "seconds": round(time.perf_counter() - start, 1),
            "processor_seconds": round(time.process_time() - start_cpu, 1),
            "threads": torch.get_num_threads(),
            "best_epoch": trained.history.best_epoch,
            "validation_map": [epoch.validation_map for epoch in trained.history.epochs],
            "options": options.model_dump() | {"input_size": size, "drawings": drawings},
        }
    encode(folder, data, held_out)
    return run | {"cores": os.cpu_count(), "torch": torch.__version__}


def encode(folder: Path, data: RealData, held_out: list[str]) -> None:
    """The vectors of all parts. The unseen categories are read here for the first time."""
    encoder = open_encoder(folder / "model", Settings(_env_file=None, milvus=MilvusSettings()))  # type: ignore[call-arg]
    parts = {"seen": [name for name in data.split.seen if name not in held_out], "unseen": list(data.split.unseen)}
    if held_out:
        parts["val"] = held_out
    arrays: dict[str, Any] = {}
    for part, names in parts.items():
        for kind, found in zip("sp", data.encode(encoder, names), strict=True):
            arrays[f"{part}_{kind}"] = found.vectors
            arrays[f"{part}_{kind}c"] = np.array(found.categories)
            arrays[f"{part}_{kind}n"] = np.array([path.name for path in found.paths])
    np.savez(folder / "vectors.npz", **arrays)


if __name__ == "__main__":
    main()
