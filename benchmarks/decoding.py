"""What it costs, and brings, to decode photos in processes of their own instead of threads.

    python benchmarks/decoding.py                     # 5 rounds, writes benchmarks/results/decoding.json
    python benchmarks/decoding.py --rounds 1 --photos 200 --out -

Each round decodes the same real photos (SBKA_REAL_DATA) for an encoder's input in four ways, one after the other, in an
order that changes from round to round: by threads of this process and by processes, one and several of each. The
processes' own start is part of their time, and is also told alone. Ratios are taken within a round; the median of the
rounds is reported. ``large`` are the same photos enlarged, as a camera makes them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import PIL
from PIL import Image
from recipes import ROOT, data_folder, picked

from sbka_milvus.files import replacing
from sbka_milvus.images import DecodeLimits, Decoders, PhotoFile, find_photos, load_photo_file

OUT = ROOT / "benchmarks" / "results" / "decoding.json"
TARGET = 224
LARGE = (3000, 2250)
_LARGE_PHOTOS = 40

Decode = Callable[[PhotoFile], object]


def main() -> None:
    """Runs the benchmark and writes its report."""
    arguments = parse()
    found = list(find_photos([arguments.data / "sketchy-mini" / "photos"]))
    small = picked(found, arguments.photos)
    with tempfile.TemporaryDirectory(prefix="sbka-decoding-") as folder:
        sets = {"small": small, "large": enlarge(small[:_LARGE_PHOTOS], Path(folder))}
        report: dict[str, Any] = {
            "rounds": arguments.rounds,
            "photos": {name: len(files) for name, files in sets.items()},
            "target": TARGET,
            "several": arguments.several,
            **{name: compare(files, arguments.rounds, arguments.several) for name, files in sets.items()},
            "start of a process in s": round(statistics.median(start_s(small[0]) for _ in range(5)), 3),
            "machine": {
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "pillow": PIL.__version__,
            },
        }
    text = json.dumps(report, indent=2) + "\n"
    if str(arguments.out) == "-":
        sys.stdout.write(text)
        return
    with replacing(arguments.out) as stream:
        stream.write(text.encode())
    print(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--several", type=int, default=max(2, os.cpu_count() or 1), help="threads or processes at once")
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


def enlarge(files: Sequence[PhotoFile], folder: Path) -> list[PhotoFile]:
    """The photos as large JPEGs."""
    for number, file in enumerate(files):
        with Image.open(file.path) as image:
            image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(folder / f"{number:03}.jpg", quality=90)
    return list(find_photos([folder]))


def compare(files: Sequence[PhotoFile], rounds: int, several: int) -> dict[str, Any]:
    """Photos a second in each way, and the ratios of processes to threads."""
    ways: dict[str, Callable[[], float]] = {}
    for count in (1, several):
        ways[f"{count} threads"] = lambda count=count: by_threads(files, count)  # type: ignore[misc]
        ways[f"{count} processes"] = lambda count=count: by_processes(files, count)  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    by_threads(files, 1)  # the disk's cache
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(ways[name]())
    ratios = {
        f"{count} processes over {count} threads": [
            threads / processes
            for threads, processes in zip(seconds[f"{count} threads"], seconds[f"{count} processes"], strict=True)
        ]
        for count in (1, several)
    }
    return {
        "photos a second": {
            name: round(statistics.median(len(files) / each for each in values), 1) for name, values in seconds.items()
        },
        "speed": {name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "speed, lowest and highest": {
            name: [round(min(values), 3), round(max(values), 3)] for name, values in ratios.items()
        },
    }


def by_threads(files: Sequence[PhotoFile], count: int) -> float:
    """Seconds that threads of this process take."""
    start = time.perf_counter()
    _all(files, count, lambda file: load_photo_file(file, target_size=TARGET))
    return time.perf_counter() - start


def by_processes(files: Sequence[PhotoFile], count: int) -> float:
    """Seconds that processes take, their start included."""
    start = time.perf_counter()
    with Decoders(DecodeLimits(target=TARGET), count) as decoders:
        # As an ingest does: a second thread keeps each process at work.
        _all(files, 2 * count, decoders.decode)
    return time.perf_counter() - start


def start_s(file: PhotoFile) -> float:
    """Seconds until a first photo is decoded, over those of a second one."""
    with Decoders(DecodeLimits(target=TARGET), 1) as decoders:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            decoders.decode(file)
            times.append(time.perf_counter() - start)
    return times[0] - times[1]


def _all(files: Sequence[PhotoFile], count: int, decode: Decode) -> None:
    def one(file: PhotoFile) -> None:
        decode(file)

    with ThreadPoolExecutor(count) as pool:
        for _ in pool.map(one, files):
            pass


if __name__ == "__main__":
    main()
