"""What handing work to workers costs and brings: embedding inline, by one worker, by two.

    python benchmarks/background.py                 # 3 rounds, writes benchmarks/results/background.json
    python benchmarks/background.py --rounds 1 --photos 300

Each round takes the same real photos into three fresh galleries, one after the other: inline (`sbka ingest` without its
start-up), by `sbka up --embed-workers 1`, and by `sbka up --embed-workers 2`; workers have loaded the model before. Two
figures each: photos a second of the embedding alone (from the first chunk's start to the last one's end), and the
seconds from asking to being searchable. Ratios are taken within a round; the median of the rounds is reported.

The overhead of queueing is what a photo costs beside its own work: the time between one worker's chunks, divided by the
photos.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.factory import open_encoder, open_store, prepare_gallery
from sbka_milvus.images import IMAGE_SUFFIXES
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.index import IndexOptions
from sbka_milvus.pipelines.ingest import IngestOptions, ingest_photos
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings
from workers.services.state import live_up
from workers.steps import Plan
from workers.submit import submit_ingest

ROOT = Path(__file__).resolve().parents[1]
READY_S = 90.0
JOB_S = 1800.0


def main() -> None:
    """Runs the benchmark and writes its report."""
    arguments = parse()
    photos = sorted(path for path in (arguments.data / "sketchy-mini" / "photos").rglob("*") if is_image(path))
    if not photos:
        sys.exit(f"There are no pictures in {arguments.data}: set SBKA_REAL_DATA or pass --data.")
    # Every n-th: all categories, in the order of the folders.
    photos = photos[:: max(1, len(photos) // arguments.photos)][: arguments.photos]
    with tempfile.TemporaryDirectory(prefix="sbka-bench-") as temporary:
        bench = Bench(Path(temporary), photos, arguments)
        rounds = [bench.round(number) for number in range(arguments.rounds)]
    report = {
        "command": "python benchmarks/background.py " + " ".join(sys.argv[1:]),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__},
        "data": {"photos": len(photos), "from": "sketchy-mini/photos", "model": f"MobileNetV2 at {arguments.size} px"},
        "chunk_size": arguments.chunk,
        "median": medians(rounds),
        "rounds": rounds,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["median"], indent=1))


class Bench:
    """The same photos into fresh galleries, in three ways."""

    def __init__(self, folder: Path, photos: list[Path], arguments: argparse.Namespace) -> None:
        self.folder = folder
        self.photos = photos
        self.arguments = arguments
        self.model = folder / "model"
        weights = arguments.data / "weights" / "mobilenetv2_100_imagenet1k.safetensors"
        spec = BackboneSpec.parse("timm:mobilenetv2_100")
        import_model(BuildRequest(spec, weights, size=arguments.size), self.model, "bench", SilentProgress())

    def round(self, number: int) -> dict[str, Any]:
        """One round: all three ways, and their ratios."""
        inline = self.inline(self.folder / f"inline-{number}")
        one = self.fleet(number, 1)
        two = self.fleet(number, 2)
        result = {
            "inline": inline,
            "one_worker": one,
            "two_workers": two,
            "one_worker_over_inline": one["photos_per_s"] / inline["photos_per_s"],
            "two_workers_over_one": two["photos_per_s"] / one["photos_per_s"],
            "job_seconds_over_inline": one["seconds"] / inline["seconds"],
        }
        print(f"round {number + 1}: {json.dumps({k: v for k, v in result.items() if isinstance(v, float)})}")
        return result

    def inline(self, root: Path) -> dict[str, float]:
        """In this process, with the model loaded and tried out before."""
        settings = Settings(_env_file=None)  # type: ignore[call-arg]
        gallery = prepare_gallery(root, self.model, None, settings, SilentProgress())
        encoder = open_encoder(gallery.model_folder, settings)
        options = EmbedOptions(decode_size=encoder.input_size)
        warm = prepare_gallery(root.with_name(f"{root.name}-warm"), self.model, None, settings, SilentProgress())
        store = open_store(warm, settings)
        ingest_photos(self.photos[:200], warm, encoder, store, IngestOptions(options, IndexOptions()), SilentProgress())
        store.close()
        start = time.perf_counter()
        store = open_store(gallery, settings)
        report = ingest_photos(
            self.photos, gallery, encoder, store, IngestOptions(options, IndexOptions()), SilentProgress()
        )
        store.close()
        assert report.index.photos == len(self.photos), report
        seconds = time.perf_counter() - start
        return {"photos_per_s": len(self.photos) / report.embed.seconds, "seconds": seconds}

    def fleet(self, number: int, workers: int) -> dict[str, float]:
        """By workers of `sbka up`, which have loaded the model before."""
        workspace = self.folder / f"workspace-{number}-{workers}"
        with up(workspace, workers, self.arguments.chunk) as settings:
            # Enough chunks for every worker to get some and to load the model.
            self.ingest(workspace / "warm", self.photos[: 6 * self.arguments.chunk], settings)
            return self.ingest(workspace / "gallery", self.photos, settings)

    def ingest(self, root: Path, photos: list[Path], settings: Settings) -> dict[str, float]:
        """One background ingest, and what its records say."""
        listing = root.with_name(f"{root.name}-photos")
        listing.mkdir(parents=True)
        for place, photo in enumerate(photos):
            (listing / f"{place:06d}{photo.suffix}").symlink_to(photo)
        start = time.perf_counter()
        job = submit_ingest([listing], root, model=self.model, settings=settings)
        status = job.wait(timeout_s=JOB_S, every_s=0.05)
        seconds = time.perf_counter() - start
        assert status.state == "done", status.message
        plan = Plan.read(job.folder)
        assert plan is not None
        chunks = [job.folder.read("done", unit) or {} for unit in plan.units]
        began = min(chunk["at"] - chunk["seconds"] for chunk in chunks)
        ended = max(chunk["at"] for chunk in chunks)
        working = sum(chunk["seconds"] for chunk in chunks)
        return {
            "photos_per_s": len(photos) / (ended - began),
            "seconds": seconds,
            "chunks": len(chunks),
            # Only of one worker do the chunks follow one another.
            "queueing_ms_per_photo": 1000.0 * max(0.0, ended - began - working) / len(photos),
        }


@contextmanager
def up(workspace: Path, workers: int, chunk: int) -> Iterator[Settings]:
    """A running `sbka up`, ended at the end."""
    workspace.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SBKA_")}
    environment |= {"SBKA_WORKSPACE": str(workspace), "SBKA_WORKER__CHUNK_SIZE": str(chunk)}
    log = (workspace / "up.log").open("wb")
    command = [sys.executable, "-m", "sbka_milvus", "up", "--no-train", "--embed-workers", str(workers)]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_S
        while live_up(workspace) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"`sbka up` did not start: {(workspace / 'up.log').read_text()}")
            time.sleep(0.1)
        yield Settings(workspace=workspace, _env_file=None)  # type: ignore[call-arg]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        log.close()


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median over the rounds of every figure."""
    result: dict[str, Any] = {}
    for name, value in rounds[0].items():
        if isinstance(value, dict):
            result[name] = medians([one[name] for one in rounds])
        else:
            result[name] = round(statistics.median(one[name] for one in rounds), 4)
    return result


def is_image(path: Path) -> bool:
    """Whether it is taken for a photo."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("SBKA_REAL_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "background.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
