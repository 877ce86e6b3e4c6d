"""What three uses of cores and memory bring on a CPU when many photos are encoded, or a network is trained.

    python benchmarks/encoding.py                            # writes benchmarks/results/encoding.json
    python benchmarks/encoding.py --rounds 1 --photos 320 --out -

**pieces**: batches are cut in pieces, each encoded by one core (sbka_milvus/encoders/pieces.py), in place of being
encoded whole by all cores. **kept**: memory that is freed stays with the process (sbka_milvus/memory.py), in place of
being given back to the system after each layer. **graph**: pieces go through a fused graph, where that is faster
(sbka_milvus/encoders/batches.py). All encode the same real photos in batches of 32, as `sbka ingest` does, which does
all three; **training**: steps of MobileNetV2 (48 pictures, 224 pixels), with memory kept and not. Each has a
process of its own, told to warm up first; they take turns within a round, in an order that changes. Ratios are taken
within a round; their median is reported, with the cosines of the vectors to those of the plain way.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from ingest import build, save_weights
from recipes import ROOT, data_folder, picked

from sbka_milvus.encoders import encoder as encoder_module
from sbka_milvus.encoders import pieces
from sbka_milvus.encoders.bundle import load_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.files import replacing
from sbka_milvus.images import find_photos, load_photo
from sbka_milvus.memory import keeping_freed_memory, peak_memory

WAYS = ("plain", "pieces", "kept", "pieces, kept", "pieces, kept, graph")
MODELS = ("timm:mobilenetv2_100", "open_clip:RN50", "open_clip:ViT-B-32")
TRAINED = "mobilenetv2_100"
BATCH = 32
WARM = 800
"""Photos that are encoded before the clock starts: precision, pieces and graph are chosen on the way."""
STEPS = 8
TRAINING_BATCH = 48


def main() -> None:
    """Runs one way where it is told to, else all of them in processes of their own."""
    arguments = parse()
    if arguments.way:
        with keeping_freed_memory() if "kept" in arguments.way else nullcontext(True) as known:
            if not known:
                sys.exit("This C library cannot be told to keep freed memory: only glibc can.")
            one = train(arguments) if arguments.model == TRAINED else encode(arguments)
        print(json.dumps(one))
        return
    report: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/encoding.py", *sys.argv[1:]]),
        "machine": {"cores": os.cpu_count(), "torch": torch.__version__},
        "photos": arguments.photos,
    }
    with tempfile.TemporaryDirectory(prefix="sbka-encoding-") as folder:
        for model in arguments.models:
            bundle = Path(folder) / model.split(":")[1]
            bundle_of(model, bundle, arguments.data)
            report[model] = compare(WAYS, bundle, Path(folder), arguments)
        report["training"] = compare(("plain", "kept"), Path(TRAINED), Path(folder), arguments)
    text = json.dumps(report, indent=1) + "\n"
    print(text)
    if str(arguments.out) != "-":
        with replacing(arguments.out) as stream:
            stream.write(text.encode())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, default=640)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "encoding.json")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", default="", help=argparse.SUPPRESS)
    parser.add_argument("--vectors", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def bundle_of(model: str, folder: Path, data: Path) -> None:
    """With the weights that there are, else with random ones, on which speed does not depend."""
    weights = data / "weights" / "mobilenetv2_100_imagenet1k.safetensors"
    if model != MODELS[0]:
        weights = folder.with_suffix(".pt")
        save_weights(model.split(":")[1], weights)
    build(model, weights, 224, folder)


def compare(ways: Sequence[str], model: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every way once a round."""
    rounds = []
    for number in range(arguments.rounds):
        turned = [ways[(place + number) % len(ways)] for place in range(len(ways))]
        rounds.append({way: apart(way, model, folder, arguments) for way in turned})
    found: dict[str, Any] = {
        "pictures a second, median": {way: statistics.median(one[way]["rate"] for one in rounds) for way in ways},
        "times the plain way's": {
            way: statistics.median(one[way]["rate"] / one["plain"]["rate"] for one in rounds) for way in ways[1:]
        },
        "share of the processor time that the system takes": {
            way: statistics.median(one[way]["system"] for one in rounds) for way in ways
        },
        "peak memory, MiB": {way: statistics.median(one[way]["peak_mib"] for one in rounds) for way in ways},
        "rates": {way: [one[way]["rate"] for one in rounds] for way in ways},
    }
    if "pieces" in ways:
        found["pictures of a piece"] = [one["pieces, kept"]["piece"] for one in rounds]
        found["graph"] = [one["pieces, kept, graph"]["graph"] for one in rounds]
        plain = np.load(vectors_of(folder, "plain"))
        found["least cosine to the plain way's vectors"] = {
            way: float((plain * np.load(vectors_of(folder, way))).sum(axis=1).min()) for way in ways[1:]
        }
    return found


def vectors_of(folder: Path, way: str) -> Path:
    return folder / f"{way.replace(', ', '-')}.npy"


def apart(way: str, model: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One way, in a process of its own: what was chosen stays chosen, and a peak stays a peak."""
    command = [sys.executable, __file__, "--way", way, "--model", str(model), "--photos", str(arguments.photos)]
    command += ["--data", str(arguments.data), "--vectors", str(vectors_of(folder, way))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def encode(arguments: argparse.Namespace) -> dict[str, Any]:
    """Photos a second of one way."""
    if "pieces" not in arguments.way:
        pieces.SIZES = (pieces.WHOLE,)
    if "graph" not in arguments.way:
        vars(encoder_module)["choose_graph"] = lambda *_: None
    encoder = BundleEncoder(load_bundle(Path(arguments.model)))
    found = list(find_photos([arguments.data / "sketchy-mini" / "photos"]))
    if not found:
        sys.exit(f"There are no photos in {arguments.data}: set SBKA_REAL_DATA or pass --data.")
    photos = [load_photo(file.path, target_size=encoder.input_size) for file in picked(found, arguments.photos)]
    batches = [photos[begin : begin + BATCH] for begin in range(0, len(photos), BATCH)]
    warmed = 0
    while warmed < WARM:
        warmed += len(encoder.encode_photos(batches[(warmed // BATCH) % len(batches)]))
    vectors: list[Any] = []
    found_of = timed(lambda: vectors.extend(encoder.encode_photos(batch) for batch in batches), len(photos))
    np.save(arguments.vectors, np.concatenate(vectors))
    return found_of | {"piece": encoder.piece_size, "graph": None if encoder.graph is None else encoder.graph.name}


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Pictures a second of training steps."""
    torch.manual_seed(0)
    network = timm.create_model(TRAINED, num_classes=0).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters())
    pixels = torch.randn(TRAINING_BATCH, 3, 224, 224).to(memory_format=torch.channels_last)

    def steps(count: int) -> None:
        for _ in range(count):
            network(pixels).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()

    steps(3)
    return timed(lambda: steps(STEPS), STEPS * TRAINING_BATCH)


def timed(work: Callable[[], object], pictures: int) -> dict[str, Any]:
    """The rate of some work, and how much of its processor time the system took."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    system, user = after.ru_stime - before.ru_stime, after.ru_utime - before.ru_utime
    return {"rate": pictures / seconds, "system": system / (system + user), "peak_mib": peak_memory() / 2**20}


if __name__ == "__main__":
    main()
