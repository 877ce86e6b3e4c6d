"""How fast a collection gets in: against the ideal, against other programs, a second time, and in how much memory.

    python benchmarks/ingest.py                                          # all, writes benchmarks/results/ingest.json
    python benchmarks/ingest.py --clip-retrieval /other/venv/bin/python  # where clip-retrieval is installed
    python benchmarks/ingest.py --parts again --files 2000               # one part, for a quick look

**whole**: seconds of an ingest (embedding and indexing, as its report says; and of the whole command, start-up and
imports included) over the ideal: processor seconds of decoding all photos alone, plus those of encoding them alone,
over the cores. Real photos, MobileNetV2 at 224 pixels; where more are wanted than there are, parts of them too, cut
from one corner after the other. Loading and clustering cost few of them as much as many.

**clip**: the same with networks of open_clip, for which sketch search is meant, with random weights: speed does not
depend on them.

**peers**: photos a second, from listing the folder to vectors on the disk, of `sbka ingest`, of a plain open_clip loop
with a DataLoader, and of clip-retrieval's inference (benchmarks/ingest_peers.py), with the same open_clip weights,
random as well. Photos as they are (256 pixels) and enlarged to what cameras make.
Ways take turns within a round; the median of the rounds' ratios counts. The cosines are those of the vectors of
`sbka ingest` and of the loop, which computes in fp32 from pictures decoded at full size.

**again**: a second run over an unchanged collection of many small files, over the first run, with a tiny network; and
over what the first run takes with MobileNetV2, which is not run but computed from the photos a second of part whole.

**memory**: peak memory of the command and its children, at two sizes of a collection, with the tiny network.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from recipes import ROOT, data_folder, picked

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import read_embeddings
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.precision import cpu_computes_bf16
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.factory import open_encoder
from sbka_milvus.images import load_photo
from sbka_milvus.memory import keeping_freed_memory
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import MilvusSettings, Settings

PARTS = ("whole", "clip", "peers", "again", "memory")
CAMERA = (4000, 3000)
SMALL_SIDE = 96
TINY = "timm:test_efficientnet"


def main() -> None:
    """Runs the parts, and writes the report after each."""
    arguments = parse()
    photos = sorted((arguments.data / "sketchy-mini" / "photos").rglob("*.jpg"))
    if not photos:
        sys.exit(f"There are no photos in {arguments.data}: set SBKA_REAL_DATA or pass --data.")
    report: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "bf16 in hardware": cpu_computes_bf16(),
        },
    }
    if arguments.out.exists():
        report = json.loads(arguments.out.read_text()) | report
    with tempfile.TemporaryDirectory(prefix="sbka-bench-", dir=arguments.work) as temporary:
        bench = Bench(Path(temporary), photos, arguments, report.get("whole", {}).get("median", {}).get("photos_per_s"))
        for part in arguments.parts:
            print(f"{part} ...", file=sys.stderr, flush=True)
            report[part] = {"command": "python benchmarks/ingest.py " + " ".join(sys.argv[1:])} | getattr(bench, part)()
            print(json.dumps({part: report[part]}, indent=1), flush=True)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, nargs="+", default=[1000], help="of part whole")
    parser.add_argument("--clip-photos", type=int, default=1500, help="of part clip")
    parser.add_argument("--clip-models", nargs="+", default=["ViT-B-32", "RN50"], help="names of open_clip")
    parser.add_argument("--peer-photos", type=int, default=192, help="of part peers, as they are")
    parser.add_argument("--camera-photos", type=int, default=64, help="of part peers, enlarged")
    parser.add_argument("--peer-models", nargs="+", default=["ViT-B-32", "RN50"], help="names of open_clip")
    parser.add_argument("--clip-retrieval", type=Path, help="Python of an environment that has clip-retrieval")
    parser.add_argument("--files", type=int, default=100_000, help="of part again")
    parser.add_argument("--sizes", type=int, nargs=2, default=[5_000, 50_000], help="of part memory")
    parser.add_argument("--work", type=Path, help="folder for collections and galleries; by default a temporary one")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "ingest.json")
    return parser.parse_args()


class Bench:
    """The parts, each over collections and galleries of its own."""

    def __init__(self, folder: Path, photos: list[Path], arguments: argparse.Namespace, rate: float | None) -> None:
        self.folder, self.photos, self.arguments = folder, photos, arguments
        self._galleries = itertools.count()
        self._rate = rate

    def whole(self) -> dict[str, Any]:
        """Against the ideal, by size; the largest stands by itself too."""
        weights = self.arguments.data / "weights" / "mobilenetv2_100_imagenet1k.safetensors"
        model = self._model("timm:mobilenetv2_100", weights, 224)
        sizes = {count: self._whole(model, count) for count in sorted(self.arguments.photos)}
        largest = sizes.pop(max(sizes))
        self._rate = largest["median"]["photos_per_s"]
        return largest | {"fewer": sizes}

    def clip(self) -> dict[str, Any]:
        """Against the ideal, with networks of open_clip."""
        count = self.arguments.clip_photos
        return {name: self._whole(self._clip(name)[0], count) for name in self.arguments.clip_models}

    def _clip(self, name: str) -> tuple[Path, Path]:
        """A network of open_clip with random weights: its bundle, and the weights."""
        weights = self.folder / f"{name}.pt"
        if not weights.exists():
            save_weights(name, weights)
        return self._model(f"open_clip:{name}", weights, None), weights

    def _whole(self, model: Path, count: int) -> dict[str, Any]:
        collection = self.folder / f"whole-{count}"
        if not collection.exists():
            self._linked(picked(self.photos, count), collection.name)
            self._cut(collection, count)
        photos = sorted(collection.iterdir())
        rounds = []
        for _ in range(self.arguments.rounds):
            with keeping_freed_memory():
                decoding, encoding = self._alone(photos, model)
            ideal = (decoding + encoding) / (os.cpu_count() or 1)
            run = self._ingest(collection, model)
            seconds = run["report"]["embed"]["seconds"] + run["report"]["index"]["seconds"]
            rounds.append(
                {
                    "decoding alone, processor s": decoding,
                    "encoding alone, processor s": encoding,
                    "ideal s": ideal,
                    "ingest s": seconds,
                    "command s": run["seconds"],
                    "ingest over ideal": seconds / ideal,
                    "command over ideal": run["seconds"] / ideal,
                    "photos_per_s": len(photos) / seconds,
                    "report": run["report"],
                }
            )
        return {"photos": len(photos), "median": medians(rounds), "rounds": rounds}

    def peers(self) -> dict[str, Any]:
        """Against other programs."""
        enlarged = self.folder / "camera"
        for number, path in enumerate(picked(self.photos, self.arguments.camera_photos)):
            enlarge(path, enlarged / f"{number:05}.jpg")
        sets = {
            "as they are": self._linked(picked(self.photos, self.arguments.peer_photos), "peers"),
            "camera size": enlarged,
        }
        found: dict[str, Any] = {}
        for name in self.arguments.peer_models:
            model, weights = self._clip(name)
            for kind, collection in sets.items():
                found[f"{name}, photos {kind}"] = self._against(collection, model, name, weights)
        return found

    def again(self) -> dict[str, Any]:
        """The second run over an unchanged collection."""
        collection = self._small_files(self.arguments.files)
        model = self._model(TINY, None, 32)
        gallery = self._new_gallery()
        first = self._ingest(collection, model, gallery)
        again = [self._ingest(collection, model, gallery) for _ in range(self.arguments.rounds)]
        second = statistics.median(one["seconds"] for one in again)
        computed = None if self._rate is None else self.arguments.files / self._rate
        return {
            "files": self.arguments.files,
            "first s": first["seconds"],
            "second s": second,
            "embedded in the second run": max(one["report"]["embed"]["embedded"] for one in again),
            "first over second": first["seconds"] / second,
            "first with MobileNetV2, computed, s": computed,
            "that over second": None if computed is None else computed / second,
            "runs": [one["report"] for one in (first, *again)],
        }

    def memory(self) -> dict[str, Any]:
        """Peak memory at two sizes."""
        model = self._model(TINY, None, 32)
        peaks = {}
        for count in self.arguments.sizes:
            run = self._ingest(self._small_files(count), model)
            peaks[str(count)] = {"peak MiB": run["peak_mib"], "report": run["report"]}
        few, many = (peaks[str(count)]["peak MiB"] for count in self.arguments.sizes)
        return {"peaks": peaks, "many over few": many / few}

    def _against(self, collection: Path, model: Path, name: str, weights: Path) -> dict[str, Any]:
        ways: dict[str, Callable[[], dict[str, Any]]] = {
            "sbka": lambda: self._ours(collection, model),
            "loop": lambda: self._peer(sys.executable, "loop", collection, name, weights),
        }
        if self.arguments.clip_retrieval is not None:
            other = str(self.arguments.clip_retrieval)
            ways["clip_retrieval"] = lambda: self._peer(other, "clip_retrieval", collection, name, weights)
        rounds = [{way: run() for way, run in ways.items()} for _ in range(self.arguments.rounds)]
        rates = {way: [one[way]["photos_per_s"] for one in rounds] for way in ways}
        cosines = compare(rounds[-1]["sbka"]["vectors"], rounds[-1]["loop"]["vectors"])
        return {
            "photos": rounds[0]["loop"]["photos"],
            "photos_per_s, median": {way: statistics.median(values) for way, values in rates.items()},
            "sbka over": {
                way: statistics.median(mine / theirs for mine, theirs in zip(rates["sbka"], rates[way], strict=True))
                for way in ways
                if way != "sbka"
            },
            "cosine to the loop's fp32 vectors": cosines,
            "rounds": rates,
        }

    def _ours(self, collection: Path, model: Path) -> dict[str, Any]:
        gallery = self._new_gallery()
        embed = self._ingest(collection, model, gallery)["report"]["embed"]
        opened = Gallery.open(gallery)
        found = read_embeddings(opened.shard_folder, opened.fingerprint)
        assert found is not None
        vectors = {Path(uri).name: row for uri, row in zip(found.uris, found.vectors, strict=True)}
        # As of the others: without the loading of the model.
        return {"photos_per_s": embed["photos_per_s"], "vectors": vectors}

    def _peer(self, python: str, way: str, collection: Path, name: str, weights: Path) -> dict[str, Any]:
        out = self.folder / f"{way}-out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        target = out / "vectors.npz" if way == "loop" else out
        program = str(Path(__file__).with_name("ingest_peers.py"))
        command = [python, program, way, str(collection), "--model", name, "--weights", str(weights)]
        done = subprocess.run([*command, "--out", str(target)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{way} failed:\n{done.stderr[-2000:]}")
        answer = dict(json.loads(done.stdout.strip().splitlines()[-1]))
        if way == "loop":
            with np.load(target) as kept:
                rows = zip(kept["names"], kept["vectors"], strict=True)
                answer["vectors"] = {Path(str(path)).name: row for path, row in rows}
        return answer

    def _alone(self, photos: Sequence[Path], model: Path) -> tuple[float, float]:
        """Processor seconds of decoding and of encoding all photos, each by itself."""
        encoder = open_encoder(model, Settings(_env_file=None, milvus=MilvusSettings()))  # type: ignore[call-arg]
        encoder.expect(len(photos))
        decoding = encoding = 0.0
        for begin in range(0, len(photos), 256):
            start = time.process_time()
            images = [load_photo(path, target_size=encoder.input_size) for path in photos[begin : begin + 256]]
            between = time.process_time()
            for place in range(0, len(images), 32):
                encoder.encode_photos(images[place : place + 32])
            decoding, encoding = decoding + between - start, encoding + time.process_time() - between
        return decoding, encoding

    def _ingest(self, collection: Path, model: Path, gallery: Path | None = None) -> dict[str, Any]:
        """The command, its report, its wall time and the peak of its memory, children included."""
        gallery = gallery or self._new_gallery()
        command = [sys.executable, "-m", "sbka_milvus", "ingest", str(collection), "-g", str(gallery)]
        start = time.perf_counter()
        with (
            subprocess.Popen(
                [*command, "-m", str(model), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process,
            Watch(process.pid) as watch,
        ):
            out, err = process.communicate()
        if process.returncode:
            sys.exit(f"sbka ingest failed:\n{err[-2000:]}")
        seconds = time.perf_counter() - start
        report = json.loads(out)
        report["embed"].pop("quarantined", None)
        return {"report": report, "seconds": seconds, "peak_mib": watch.peak / 2**20}

    def _model(self, backbone: str, weights: Path | None, size: int | None) -> Path:
        folder = self.folder / "models" / backbone.replace(":", "-").replace("/", "-")
        if not folder.exists():
            build(backbone, weights, size, folder)
        return folder

    def _new_gallery(self) -> Path:
        return self.folder / f"gallery-{next(self._galleries)}"

    def _linked(self, photos: Sequence[Path], name: str) -> Path:
        """A folder of just these."""
        folder = self.folder / name
        folder.mkdir()
        for number, path in enumerate(photos):
            shutil.copyfile(path, folder / f"{number:05}.jpg")
        return folder

    def _cut(self, folder: Path, count: int) -> None:
        """Parts of the photos of a folder, until it holds so many files."""
        photos = sorted(folder.iterdir())
        for number in range(count - len(photos)):
            corner, place = divmod(number, len(photos))
            with Image.open(photos[place]) as image:
                width, height = (round(side * (0.9 - 0.1 * (corner // 4))) for side in image.size)
                left, top = (corner % 2) * (image.width - width), (corner // 2 % 2) * (image.height - height)
                part = image.convert("RGB").crop((left, top, left + width, top + height))
            part.save(folder / f"part-{number:06}.jpg", quality=92)

    def _small_files(self, count: int) -> Path:
        """So many small JPEGs, no two of them equal."""
        folder = self.folder / f"small-{count}"
        if folder.exists():
            return folder
        contents = []
        for path in picked(self.photos, 500):
            with Image.open(path) as image:
                image.thumbnail((SMALL_SIDE, SMALL_SIDE))
                image.convert("RGB").save(self.folder / "small.jpg", quality=85)
            contents.append((self.folder / "small.jpg").read_bytes())
        for number in range(count):
            place = folder / f"{number // 1000:04}"
            place.mkdir(parents=True, exist_ok=True)
            # What follows the end of a JPEG is not part of the picture.
            (place / f"{number:07}.jpg").write_bytes(contents[number % len(contents)] + number.to_bytes(8, "big"))
        return folder


class Watch:
    """The most memory that a process and its children had in RAM together, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            total = 0
            try:
                started = self._process.cmdline()
                total += self._process.memory_info().rss
                for one in self._process.children(recursive=True):
                    # Until it runs its own program, a child has its parent's memory, which is there once.
                    total += one.memory_info().rss if one.cmdline() != started else 0
            except psutil.Error:
                continue
            self.peak = max(self.peak, total)


def enlarge(path: Path, target: Path) -> None:
    """A real photo at the size that cameras make."""
    target.parent.mkdir(exist_ok=True)
    with Image.open(path) as image:
        image.convert("RGB").resize(CAMERA, Image.Resampling.BICUBIC).save(target, quality=90)


def build(backbone: str, weights: Path | None, size: int | None, folder: Path) -> None:
    """A bundle, with the given weights or with random ones, always the same."""
    torch.manual_seed(0)
    request = BuildRequest(BackboneSpec.parse(backbone), weights, pretrained=False, size=size)
    import_model(request, folder, "bench", SilentProgress())


def save_weights(name: str, path: Path) -> None:
    """Random weights of a model of open_clip, always the same."""
    import open_clip

    torch.manual_seed(0)
    torch.save(open_clip.create_model(name).state_dict(), path)


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Cosines of two sets of unit vectors, by file name."""
    assert ours.keys() == theirs.keys(), "not the same photos"
    cosines = [float(np.dot(ours[name], theirs[name])) for name in ours]
    return {"min": min(cosines), "median": statistics.median(cosines)}


def medians(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of every figure."""
    return {
        name: statistics.median(one[name] for one in rounds) for name in rounds[0] if isinstance(rounds[0][name], float)
    }


if __name__ == "__main__":
    main()
