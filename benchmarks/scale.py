"""What a large gallery costs: vectors made beforehand, taken in by `sbka import`, opened again, searched, verified.

    python benchmarks/scale.py --rows 1000000        # writes benchmarks/results/scale.json
    python benchmarks/scale.py --rows 20000 --out /tmp/scale.json

The vectors are drawn by a seed: kinds within families, as overlapping as a real encoder's (a photo's cosine with its
kind's centre is about 0.7, with another kind of its family 0.5). Every step is a process of its own, so that its peak
of resident memory is known; the embedded Milvus runs inside it. Rates are of whole steps: reading, checking, writing.
A run is added to the report's runs under its number of rows, in the place of an earlier one of that number.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
DIM = 512
BLOCK = 50_000
QUERIES = 50


@dataclass(frozen=True)
class Ran:
    """How a step went: its standard output, wall time, and peak of resident memory."""

    out: str
    seconds: float
    peak_mb: int
    code: int


def main() -> None:
    """Runs the benchmark and adds to its report."""
    arguments = parse()
    if arguments.opened is not None:
        print(json.dumps(open_again(arguments.opened, arguments.seed)))
        return
    with tempfile.TemporaryDirectory(prefix="sbka-scale-", dir=arguments.folder) as temporary:
        found = measure(Path(temporary), arguments.rows, arguments.seed)
    report = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    runs = {str(run["rows"]): run for run in report.get("runs", [])} | {str(arguments.rows): found}
    report = {
        "command": "python benchmarks/scale.py --rows ROWS",
        "data": {"dim": DIM, "kind": "drawn by a seed: kinds within families"},
        "runs": sorted(runs.values(), key=lambda run: int(run["rows"])),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def measure(folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """All steps, one after the other."""
    path, gallery = folder / "vectors.parquet", folder / "gallery"
    load = round(os.getloadavg()[0], 1)  # of whatever else the machine does
    say(f"Drawing {rows} vectors")
    draw(path, rows, seed)
    make_model(folder / "model")
    sbka = [sys.executable, "-m", "sbka_milvus"]
    say("Importing")
    took_in = step([*sbka, "import", path, "-g", gallery, "--model", folder / "model", "--json"])
    report = json.loads(took_in.out)
    shards, milvus = size_of(gallery / "shards"), size_of(gallery / "milvus")
    say("Importing the same again")
    again = step([*sbka, "import", path, "-g", gallery, "--json"])
    repeated = json.loads(again.out)
    if repeated["import"]["imported"] or repeated["index"]["rebuilt"]:
        sys.exit("The second import of the same rows changed something.")
    say("Opening it again")
    opened = step([sys.executable, Path(__file__), "--opened", gallery, "--seed", seed])
    say("Status and verify")
    status = step([*sbka, "status", "-g", gallery, "--json"])
    verified = step([*sbka, "verify", "-g", gallery, "--json"], accept=(0, 5))
    checked = json.loads(verified.out)
    index = report["index"]
    return {
        "rows": rows,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load_before": load},
        "import": {
            "seconds": round(took_in.seconds, 1),
            "rows_per_s": round(rows / took_in.seconds, 1),
            "shards_seconds": round(report["import"]["seconds"], 1),
            "shards_rows_per_s": round(rows / report["import"]["seconds"], 1),
            "index_seconds": round(index["seconds"], 1),
            "index_rows_per_s": round(rows / index["seconds"], 1),
            "clusters": index["clusters"],
            "peak_mb": took_in.peak_mb,
        },
        "import_again": {"seconds": round(again.seconds, 1), "peak_mb": again.peak_mb},
        "disk_mb": {"shards": shards, "milvus": milvus},
        "open_again": json.loads(opened.out) | {"peak_mb": opened.peak_mb},
        "status": {"seconds": round(status.seconds, 1), "peak_mb": status.peak_mb},
        "verify": {
            "seconds": round(verified.seconds, 1),
            "peak_mb": verified.peak_mb,
            "clean": checked["clean"],
            "milvus_rows": checked["milvus_rows"],
            "findings": {finding["kind"]: finding["count"] for finding in checked["findings"]},
        },
    }


def draw(path: Path, rows: int, seed: int) -> None:
    """Writes a parquet file of vectors, a block at a time."""
    rng = np.random.default_rng(seed)
    kinds = max(20, rows // 400)
    centres = directions(rng, max(4, kinds // 20))[rng.integers(max(4, kinds // 20), size=kinds)]
    centres = centres + directions(rng, kinds)
    kind = pa.list_(pa.float32(), DIM)
    schema = pa.schema([("uri", pa.string()), ("vector", kind)])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            of = rng.integers(kinds, size=count)
            vectors = centres[of] + 1.4 * directions(rng, count)
            uris = [f"/photos/{of[row]:06d}/{start + row:08d}.jpg" for row in range(count)]
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).reshape(-1)), DIM)
            writer.write_table(pa.table([pa.array(uris), column], schema=schema))


def directions(rng: np.random.Generator, count: int) -> Any:
    """Unit rows of shape (count, DIM)."""
    found = rng.standard_normal(size=(count, DIM), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def make_model(folder: Path) -> None:
    """A small network of random weights whose vectors have the right length; it encodes nothing here."""
    program = (
        "import sys; from pathlib import Path\n"
        "from sbka_milvus.encoders.backbones import BuildRequest\n"
        "from sbka_milvus.encoders.spec import BackboneSpec\n"
        "from sbka_milvus.pipelines.import_model import import_model\n"
        "from sbka_milvus.progress import SilentProgress\n"
        "request = BuildRequest(BackboneSpec.parse('timm:resnet10t'), pretrained=False, size=64)\n"
        "import_model(request, Path(sys.argv[1]), 'scale', SilentProgress())\n"
    )
    step([sys.executable, "-c", program, folder])


def step(command: Sequence[object], accept: tuple[int, ...] = (0,)) -> Ran:
    """Runs a process; what it says on standard error is passed on."""
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    ran = Ran(out, time.perf_counter() - start, round(usage.ru_maxrss * 1024 / 1e6), process.returncode)
    if ran.code not in accept:
        sys.exit(f"{' '.join(map(str, command))} ended with {ran.code}.")
    return ran


def open_again(folder: Path, seed: int) -> dict[str, float]:
    """Opens a gallery that is on the disk, and searches it by vectors: seconds, and milliseconds a search."""
    from sbka_milvus.factory import open_gallery
    from sbka_milvus.search import GallerySearcher, SearchOptions
    from sbka_milvus.settings import Settings
    from sbka_milvus.types import normalise

    rng = np.random.default_rng(seed + 1)
    start = time.perf_counter()
    with open_gallery(folder, Settings()) as (gallery, store):
        opened = time.perf_counter() - start
        searcher = GallerySearcher(store, gallery.name)
        query = directions(rng, 1)
        first = timed(partial(searcher.search, query, 10, SearchOptions()))
        # Queries as far from a cluster's centre as a sketch is from the photos that it means.
        centroids = store.clusters(store.served(gallery.name)).centroids
        drawn = normalise(centroids[rng.integers(len(centroids), size=QUERIES)] + directions(rng, QUERIES))
        times = [timed(partial(searcher.search, one[None], 10, SearchOptions())) for one in drawn]
    return {
        "open_s": round(opened, 3),
        "first_search_s": round(first, 3),
        "search_p50_ms": round(1000 * statistics.median(times), 1),
        "search_p95_ms": round(1000 * float(np.quantile(times, 0.95)), 1),
    }


def timed(do: Callable[[], object]) -> float:
    """Seconds that something takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def size_of(folder: Path) -> int:
    """Megabytes of a folder's files."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


def say(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where the gallery is made; 10 GB for a million rows")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "scale.json")
    parser.add_argument("--opened", type=Path, default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
