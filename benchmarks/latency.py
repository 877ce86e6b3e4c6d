"""How long one sketch takes: to encode, against a plain call of the network's own library; and in a fresh process.

    python benchmarks/latency.py

writes benchmarks/results/latency.json. Everything is measured by turns, so that what else the machine does falls on
both sides, and what counts is the median of the ratios of a turn. Sketches and photos are real; the weights of
open_clip's networks are random (there are none to be had here), which takes the same time; MobileNetV2's are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import timm
import torch
from PIL import Image
from recipes import NOTE, ROOT, data_folder
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from sbka_milvus.api import SketchSearch
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, save_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.factory import ingest_into
from sbka_milvus.images import load_sketch
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings
from sbka_milvus.types import normalise

NETWORKS = ("open_clip:RN50", "open_clip:ViT-B-32", "timm:mobilenetv2_100")
LAST = "timm:mobilenetv2_100"
"""Of which fresh processes are started."""
MOST_HELP_S, MOST_HELP_SHARE, MOST_FIRST_SEARCH, LEAST_GAIN, LEAST_COSINE = 0.4, 0.15, 1.5, 2.0, 0.999
"""The goals: of `sbka --help`, alone and over `import torch`; of a first search over loading the model; of encoding."""

Plain = Callable[[Image.Image], torch.Tensor]


def main() -> None:
    """Measures both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, help="of encoding, both by turns")
    parser.add_argument("--starts", type=int, default=7, help="fresh processes of each kind, by turns")
    parser.add_argument("--photos", type=int, default=200, help="of the gallery that is searched in a fresh process")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "latency.json")
    arguments = parser.parse_args()
    data = data_folder()
    sketches = sorted((data / "sketchy-mini" / "sketches").glob("*/*.png"))[:: 3125 // arguments.rounds]
    if not sketches:
        sys.exit(f"There are no sketches in {data}: SBKA_REAL_DATA names another folder.")
    with tempfile.TemporaryDirectory() as folder:
        encoding = {name: measure_encoding(name, data, sketches, Path(folder)) for name in NETWORKS}
        photos = sorted((data / "sketchy-mini" / "photos").glob("*/*.jpg"))[:: 3125 // arguments.photos]
        searching = {name: measure_searching(name, Path(folder), photos, sketches) for name in NETWORKS}
        starting = measure_starting(Path(folder), sketches[0], arguments.starts)
    report = {
        "command": "python benchmarks/latency.py " + " ".join(sys.argv[1:]),
        "data": {"pictures": "sketchy-mini", "note": NOTE, "sketches": len(sketches), "photos": len(photos)},
        "machine": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "load before": [round(one, 1) for one in os.getloadavg()],
        },
        "encoding": encoding,
        "searching": searching,
        "starting": starting,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def plain_call(name: str, data: Path) -> tuple[Backbone, Plain]:
    """A network as we serve it, and as a user would call the same weights."""
    torch.manual_seed(0)
    spec = BackboneSpec.parse(name)
    if spec.library == "open_clip":
        model, _, transform = open_clip.create_model_and_transforms(spec.model, load_weights=False)
        model.eval()
        backbone = build_backbone(BuildRequest(spec, pretrained=False)).backbone
        backbone.net.load_state_dict(model.visual.state_dict())
        call = model.encode_image
    else:
        weights = data / "weights" / "mobilenetv2_100_imagenet1k.safetensors"
        backbone = build_backbone(BuildRequest(spec, weights)).backbone
        call = timm.create_model(spec.model, pad_type="same", num_classes=0).eval()
        call.load_state_dict(backbone.net.state_dict())
        config = resolve_model_data_config(call)  # type: ignore[no-untyped-call]
        config |= {
            "mean": backbone.preprocessing.mean,
            "std": backbone.preprocessing.std,
            # By itself it would cut an eighth off, which is no fault of an encoder.
            "crop_pct": 1.0,
        }
        transform = create_transform(**config, is_training=False)

    def plain(image: Image.Image) -> torch.Tensor:
        with torch.no_grad():
            made: torch.Tensor = call(transform(image.convert("RGB")).unsqueeze(0))
            return made

    return backbone, plain


def model_of(folder: Path, name: str) -> Path:
    """Where a network is saved."""
    return folder / name.replace(":", "-")


def gallery_of(folder: Path, name: str) -> Path:
    """The gallery that is made with it."""
    return folder / f"gallery-{model_of(folder, name).name}"


def measure_encoding(name: str, data: Path, sketches: list[Path], folder: Path) -> dict[str, Any]:
    """One network: by a plain call and by ours, of the same picture, and from the file on."""
    print(f"encoding with {name}", file=sys.stderr, flush=True)
    backbone, plain = plain_call(name, data)
    encoder = BundleEncoder(save_bundle(backbone, BundleNotes(name), model_of(folder, name)), device="cpu")
    start = time.perf_counter()
    encoder.prepare()
    prepared_s = time.perf_counter() - start
    size = encoder.input_size
    drawn = [load_sketch(path, size=size) for path in sketches]
    for _ in range(3):
        plain(drawn[0])
        encoder.encode_sketches(drawn[:1])
    cosines = [float(normalise(plain(one).numpy())[0] @ encoder.encode_sketches([one])[0]) for one in drawn]

    def plain_file(path: Path) -> None:
        plain(Image.open(path))

    def our_file(path: Path) -> None:
        encoder.encode_sketches([load_sketch(path, size=size)])

    of_picture, of_file = [], []
    for path, one in zip(sketches, drawn, strict=True):
        of_picture.append((timed(plain, one), timed(encoder.encode_sketches, [one])))
        of_file.append((timed(plain_file, path), timed(our_file, path)))
    way = encoder.single_way
    return {
        "way": "plain" if way is None else way.name,
        "prepared in s": round(prepared_s, 1),
        "cosine": {"min": min(cosines), "mean": statistics.fmean(cosines)},
        "a normalised sketch": compared(of_picture),
        "from the file, ours with normalising": compared(of_file),
    }


def timed(call: Callable[..., Any], *arguments: Any, **options: Any) -> float:
    """Its time in ms."""
    start = time.perf_counter()
    call(*arguments, **options)
    return (time.perf_counter() - start) * 1e3


def compared(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of both, in ms, and of how many times as fast the second is."""
    plain, ours = zip(*pairs, strict=True)
    return {
        "plain ms": round(statistics.median(plain), 2),
        "ours ms": round(statistics.median(ours), 2),
        "times as fast": round(statistics.median(one / two for one, two in pairs), 3),
        "times as fast, by the shortest": round(min(plain) / min(ours), 3),
    }


def measure_searching(name: str, folder: Path, photos: list[Path], sketches: list[Path]) -> dict[str, Any]:
    """A sketch's file to its hits, beside encoding it alone; embedded Milvus."""
    print(f"searching, {name}", file=sys.stderr, flush=True)
    gallery = gallery_of(folder, name)
    ingest_into(photos, gallery, Settings(), SilentProgress(), model=model_of(folder, name), name="one")
    with SketchSearch.open(gallery) as search:
        search.prepare()
        search(sketches[0])

        def encode(path: Path) -> None:
            search.encoder.encode_sketches([search.normalise(path)])

        pairs = [(timed(encode, path), timed(search, path)) for path in sketches]
    alone, whole = zip(*pairs, strict=True)
    return {
        "encoding ms": round(statistics.median(alone), 2),
        "searching ms": round(statistics.median(whole), 2),
        "searching over encoding": ratio(list(whole), list(alone)),
    }


def measure_starting(folder: Path, sketch: Path, starts: int) -> dict[str, Any]:
    """Fresh processes: the help beside `import torch`, and a first search beside loading its model."""
    print("starting", file=sys.stderr, flush=True)
    model, gallery = model_of(folder, LAST), gallery_of(folder, LAST)
    sbka = [sys.executable, "-m", "sbka_milvus"]
    load = f"import pathlib, sbka_milvus; sbka_milvus.load_bundle(pathlib.Path({str(model)!r}))"
    programs = {
        "help": [*sbka, "--help"],
        "import torch": [sys.executable, "-c", "import torch"],
        "first search": [*sbka, "search", str(sketch), "--gallery", str(gallery), "--json"],
        "load the model": [sys.executable, "-c", load],
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(starts + 1):
        for name, program in programs.items():
            elapsed = (
                timed(lambda program=program: subprocess.run(program, check=True, stdout=subprocess.DEVNULL)) / 1e3
            )
            if turn > 0:  # the first reads all files from the disk
                times[name].append(elapsed)
    return {
        "median s": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "shortest s": {name: round(min(values), 3) for name, values in times.items()},
        "help over import torch": ratio(times["help"], times["import torch"]),
        "first search over loading the model": ratio(times["first search"], times["load the model"]),
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of a turn."""
    return round(float(np.median(np.array(ours) / np.array(theirs))), 3)


def show(report: dict[str, Any]) -> None:
    """Prints each figure beside what was wanted."""
    for name, row in report["encoding"].items():
        one, whole = row["a normalised sketch"], row["from the file, ours with normalising"]
        print(
            f"{name}: {one['times as fast']:.2f} x as fast ({one['plain ms']:.1f} -> {one['ours ms']:.1f} ms; wanted "
            f"{LEAST_GAIN}), from the file {whole['times as fast']:.2f} x; {row['way']}, least cosine "
            f"{row['cosine']['min']:.6f} (wanted {LEAST_COSINE})"
        )
    searching, starting = report["searching"], report["starting"]
    for name, row in searching.items():
        print(f"a search with {name}: {row['searching ms']:.1f} ms, {row['searching over encoding']:.2f} x of encoding")
    print(
        f"sbka --help: {starting['median s']['help']:.2f} s (wanted {MOST_HELP_S}), "
        f"{starting['help over import torch']:.2f} x of import torch (wanted {MOST_HELP_SHARE})\n"
        f"first search: {starting['median s']['first search']:.2f} s, "
        f"{starting['first search over loading the model']:.2f} x of loading the model (wanted {MOST_FIRST_SEARCH})"
    )


if __name__ == "__main__":
    main()
