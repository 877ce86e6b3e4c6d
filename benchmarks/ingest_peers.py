"""Other ways to turn a folder of photos into vectors with an open_clip model, for benchmarks/ingest.py to time.

    python benchmarks/ingest_peers.py loop FOLDER --model ViT-B-32 --weights w.pt --out vectors.npz
    /other/venv/bin/python benchmarks/ingest_peers.py clip_retrieval FOLDER --model ViT-B-32 --weights w.pt --out DIR

``loop`` is what open_clip's documents show, with a DataLoader: PIL, the model's own transform, batches, fp32.
``clip_retrieval`` is the inference of clip-retrieval (from PyPI): its files reader, its mapper, its numpy writer, put
together as its own ``clip_inference`` does. It wants older packages than this project, so it runs in an environment of
its own, in which this file imports nothing of the project. The time is that of all photos, from the listing of the
folder to the vectors on the disk; imports and the loading of the model are not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

CLIP_RETRIEVAL = ("reader", "mapper", "writer", "logger", "runner")
SUFFIXES = (".jpg", ".jpeg", ".png")


def main() -> None:
    """Runs one of them, and prints what it took as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("loop", "clip_retrieval"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    seconds, photos = WAYS[arguments.way](arguments)
    print(json.dumps({"seconds": seconds, "photos": photos, "photos_per_s": photos / seconds}))


def load(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The model with the given weights, and its transform."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(arguments.model)
    model.load_state_dict(torch.load(arguments.weights, weights_only=True))
    return model.eval(), transform


def loop(arguments: argparse.Namespace) -> tuple[float, int]:
    """A DataLoader, the transform, the image tower, and the vectors in one file."""
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    model, transform = load(arguments)

    class Photos(Dataset):  # type: ignore[type-arg]
        def __init__(self, paths: list[Path]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, place: int) -> torch.Tensor:
            made: torch.Tensor = transform(Image.open(self.paths[place]).convert("RGB"))
            return made

    start = time.perf_counter()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    rows = []
    with torch.inference_mode():
        for batch in DataLoader(Photos(paths), batch_size=arguments.batch, num_workers=arguments.workers):
            rows.append(torch.nn.functional.normalize(model.encode_image(batch), dim=-1).numpy())
    np.savez(arguments.out, vectors=np.concatenate(rows), names=np.array([str(path) for path in paths]))
    return time.perf_counter() - start, len(paths)


def clip_retrieval(arguments: argparse.Namespace) -> tuple[float, int]:
    """Its own reader, mapper, writer and runner; the model is put where it would fetch one."""
    # It is not there where this project's types are checked.
    parts = {name: import_module(f"clip_retrieval.clip_inference.{name}") for name in CLIP_RETRIEVAL}
    model, transform = load(arguments)
    parts["mapper"].load_clip = lambda **_: (model, transform, None)  # type: ignore[attr-defined]

    def reader(sampler: Any) -> Any:
        return parts["reader"].FilesReader(
            sampler, transform, None, str(arguments.folder), arguments.batch, arguments.workers,
            enable_text=False, enable_image=True, enable_metadata=False,
        )  # fmt: skip

    def mapper() -> Any:
        return parts["mapper"].ClipMapper(
            enable_image=True, enable_text=False, enable_metadata=False, use_mclip=False, clip_model=arguments.model,
            use_jit=False, mclip_model="", warmup_batch_size=1,
        )  # fmt: skip

    def writer(number: int) -> Any:
        return parts["writer"].NumpyWriter(
            partition_id=number, output_folder=str(arguments.out), enable_text=False, enable_image=True,
            enable_metadata=False, output_partition_count=1,
        )  # fmt: skip

    def logger(number: int) -> Any:
        return parts["logger"].LoggerWriter(partition_id=number, stats_folder=str(arguments.out / "stats"))

    start = time.perf_counter()
    parts["runner"].Runner(reader, mapper, writer, logger, 1)(0)
    seconds = time.perf_counter() - start
    import numpy as np

    return seconds, sum(len(np.load(path)) for path in (arguments.out / "img_emb").glob("*.npy"))


WAYS = {"loop": loop, "clip_retrieval": clip_retrieval}

if __name__ == "__main__":
    main()
