"""What a model costs, and what a small student keeps of its teacher.

    python benchmarks/cost.py --pairs LADDER/sketchy_ext_25-one_way-0=LADDER/sketchy_ext_25-student-0

writes benchmarks/results/cost.json. Each pair is a teacher's folder and its student's: what benchmarks/ladder_train.py
(or benchmarks/committee.py: a committee costs what its members cost together) and benchmarks/student_train.py wrote.
Times of encoding are measured on this machine, teacher and student by turns, so that what else it does falls on both;
what counts is the median of their ratios. K and the weights of the rankings come from the gallery's photos alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ladder_rows import LINEAR, MANY, PLAIN, Part, rows
from recipes import NOTE, ROOT
from torch.utils.flop_counter import FlopCounterMode

from sbka_milvus.encoders.bundle import WEIGHTS_FILE, ModelBundle, load_bundle
from sbka_milvus.encoders.committee import teaching_bundles
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.precision import FP32
from sbka_milvus.errors import SbkaError
from sbka_milvus.rankers import choose_matching

BATCHES = (1, 32)
MOST_SIZE, LEAST_KEPT = 0.25, 0.95
"""The goal: at most so much of the teacher's size, at least so much of its mAP."""


def main() -> None:
    """Measures all pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", required=True, metavar="TEACHER=STUDENT", type=pair)
    parser.add_argument("--rounds", type=int, default=15, help="of encoding, teacher and student by turns")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "cost.json")
    arguments = parser.parse_args()
    try:
        pairs = [compare(teacher, student, arguments.rounds) for teacher, student in arguments.pairs]
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing: make it with benchmarks/ladder_train.py or student_train.py.")
    report = {
        "command": "python benchmarks/cost.py " + " ".join(sys.argv[1:]),
        "data": {"pictures": "sketchy-mini", "note": NOTE},
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__},
        "kinds of pairs": {kind: summary(of_kind) for kind, of_kind in by_kind(pairs).items()},
        "pairs": pairs,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def by_kind(pairs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Pairs that differ by their seeds alone, together."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in pairs:
        kinds.setdefault(f"{one['teacher']['arm']}={one['student']['arm']}", []).append(one)
    return kinds


def summary(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept and what it takes, over the seeds."""
    return {
        "seeds": len(pairs),
        "kept": {row: spread([one["kept"][row] for one in pairs]) for row in pairs[0]["kept"]},
        "encoding, student over teacher": {
            str(batch): spread([one["encoding"][str(batch)]["ratio"] for one in pairs]) for batch in BATCHES
        },
    }


def pair(text: str) -> tuple[Path, Path]:
    """Both folders of TEACHER=STUDENT."""
    teacher, equals, student = text.partition("=")
    if not equals or not teacher or not student:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form TEACHER=STUDENT")
    return Path(teacher), Path(student)


def compare(teacher: Path, student: Path, rounds: int) -> dict[str, Any]:
    """One pair: what each costs and finds, and the student's over the teacher's."""
    print(f"measuring {teacher.name} and {student.name}", file=sys.stderr, flush=True)
    both = [[load_bundle(one) for one in teaching_bundles(folder / "model")] for folder in (teacher, student)]
    of_teacher, of_student = (
        costs(folder, bundles) | {"mAP@all": found(folder / "vectors.npz")}
        for folder, bundles in zip((teacher, student), both, strict=True)
    )
    ratios = {key: of_student[key] / of_teacher[key] for key in ("parameters", "multiplications", "bytes")}
    return {
        "seed": of_teacher["seed"],
        "teacher": of_teacher,
        "student": of_student,
        "student over teacher": ratios,
        "encoding": {str(batch): by_turns(both, batch, rounds) for batch in BATCHES},
        "kept": {row: of_student["mAP@all"][row] / of_teacher["mAP@all"][row] for row in of_teacher["mAP@all"]},
    }


def costs(folder: Path, bundles: list[ModelBundle]) -> dict[str, Any]:
    """Sizes, work for a picture, and what its training took; of all members of a committee together."""
    run = json.loads((folder / "run.json").read_text())
    nets = [bundle.backbone.eval() for bundle in bundles]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for net in nets:
            net(torch.zeros(1, 3, *(net.preprocessing.size,) * 2))
    first = bundles[0]
    return {
        "name": folder.name,
        "split": run["split"],
        "seed": run["seed"],
        "arm": run["arm"],
        "networks": len(nets),
        "fingerprint": " ".join(bundle.fingerprint for bundle in bundles),
        "backbone": first.manifest.backbone,
        "options": first.manifest.options,
        "input_size": nets[0].preprocessing.size,
        "dim": sum(bundle.dim for bundle in bundles),
        "parameters": sum(one.numel() for net in nets for one in net.parameters()),
        # A multiplication and an addition count as two.
        "multiplications": counter.get_total_flops() // 2,
        "bytes": sum((one / WEIGHTS_FILE).stat().st_size for one in teaching_bundles(folder / "model")),
        "training": {key: run[key] for key in ("seconds", "processor_seconds", "threads", "best_epoch") if key in run},
    }


def found(path: Path) -> dict[str, float]:
    """mAP@all on the unseen categories, by ranking."""
    with np.load(path) as file:
        arrays = dict(file)
    training, part = arrays["seen_s"].astype(np.float32), Part(arrays, "unseen")
    every = rows(choose_matching(part.gallery), training)
    return {row: part.judge(every[row])[0]["mAP@all"] for row in (PLAIN, MANY, LINEAR)}


def by_turns(both: list[list[ModelBundle]], batch: int, rounds: int) -> dict[str, Any]:
    """Seconds a picture of teacher and student, and the ratio, medians over the rounds."""
    encoders = [
        [BundleEncoder(bundle, device="cpu", batch_size=batch, precision=FP32) for bundle in bundles]
        for bundles in both
    ]
    noise = torch.Generator().manual_seed(0)
    pictures = [
        torch.randint(256, (batch, 3, *(one[0].input_size,) * 2), dtype=torch.uint8, generator=noise)
        for one in encoders
    ]
    times: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for members, pixels, kept in zip(encoders, pictures, times, strict=True):
            start = time.perf_counter()
            for encoder in members:
                encoder.encode_pixels(pixels)
            # The first round is there to warm up.
            if number:
                kept.append((time.perf_counter() - start) / batch)
    ratios = [mine / theirs for theirs, mine in zip(*times, strict=True)]
    teacher, student = (statistics.median(kept) for kept in times)
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return {
        "teacher_seconds": round(teacher, 6),
        "student_seconds": round(student, 6),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [quartiles[0], quartiles[2]],
        "rounds": rounds,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Mean, smallest and largest."""
    return {"mean": statistics.fmean(values), "min": min(values), "max": max(values)}


def show(report: dict[str, Any]) -> None:
    """The table, as it stands in the documents."""
    for kind, found in report["kinds of pairs"].items():
        kept = "; ".join(
            f"{row} {of['mean']:.3f} ({of['min']:.3f} to {of['max']:.3f})" for row, of in found["kept"].items()
        )
        print(f"{kind}, {found['seeds']} seeds: kept {kept}")
    for one in report["pairs"]:
        print(f"\nseed {one['seed']}: {one['student']['name']} beside {one['teacher']['name']}\n")
        print("| | teacher | student | student / teacher |\n|---|---|---|---|")
        for key in ("parameters", "multiplications", "bytes"):
            ratio = one["student over teacher"][key]
            print(f"| {key} | {one['teacher'][key]:,} | {one['student'][key]:,} | {ratio:.3f} |")
        for batch, times in one["encoding"].items():
            mine, theirs = (1000 * times[f"{who}_seconds"] for who in ("student", "teacher"))
            print(f"| ms a picture, batch {batch} | {theirs:.2f} | {mine:.2f} | {times['ratio']:.2f} |")
        for row, kept in one["kept"].items():
            mine, theirs = (one[who]["mAP@all"][row] for who in ("student", "teacher"))
            print(f"| mAP@all, {row} | {theirs:.3f} | {mine:.3f} | {kept:.3f} |")
        small = one["student over teacher"]["parameters"] <= MOST_SIZE
        good = [row for row, kept in one["kept"].items() if kept >= LEAST_KEPT]
        print(f"\nat most a quarter of the size: {'yes' if small else 'no'}; 95 % kept: {', '.join(good) or 'nowhere'}")


if __name__ == "__main__":
    main()
