"""Make sketches from photos: for training where there are photos and no sketches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.errors import DatasetError, ImageError
from sbka_milvus.images import LabelledImage, load_photo, pseudo_sketch
from sbka_milvus.images.pseudo import WORKING_SIDE
from sbka_milvus.images.source import MAX_PIXELS, content_hash
from sbka_milvus.pipelines.drawn_folder import DrawnFolder
from sbka_milvus.progress import Progress

FORM = 1
"""Raised where the same photo and options would give another drawing than before."""
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class MakeOptions:
    """How to draw.

    Attributes:
        size: side of a sketch in pixels.
        seed: of the hand's unsteadiness.
        wobble: how unsteady it is; 0 follows the photo exactly.
        threads: that draw at once.
        max_pixels: larger photos are left out.
    """

    size: int = 256
    seed: int = 0
    wobble: float = 1.0
    threads: int = 2
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True, slots=True)
class MakeReport:
    """What was drawn.

    Attributes:
        sketches: those that are there now, labelled as their photos, in their order.
        made: how many of them are new.
        rejected: photos of which there is no sketch, each with the reason.
        seconds: wall time.
    """

    sketches: tuple[LabelledImage, ...]
    made: int
    rejected: tuple[tuple[Path, str], ...]
    seconds: float


def make_sketches(photos: Sequence[LabelledImage], out: Path, options: MakeOptions, progress: Progress) -> MakeReport:
    """Draws each photo into ``out/<category>/<file name>.png``; what is drawn already is kept.

    A photo's drawing depends on the options and on the photo's place in its category alone, and gets the photo's time
    of change: a photo that changed is drawn anew.

    Raises:
        DatasetError: ``out`` holds drawings made with other options, or two photos of one category and file name.
        OutputError: A drawing cannot be written.
        InvalidValue: The size or the wobble is out of range.
    """
    start = time.perf_counter()
    settings: dict[str, object] = {
        "form": FORM, "size": options.size, "seed": options.seed, "wobble": options.wobble,
    }  # fmt: skip
    folder = DrawnFolder(out, settings)
    jobs = list(_jobs(photos, folder))
    sketches: list[LabelledImage] = []
    rejected: list[tuple[Path, str]] = []
    made = 0

    def draw(job: tuple[LabelledImage, Path]) -> bool | str:
        return _draw(job[0].path, job[1], folder, options)

    with (
        progress.stage("Drawing photos", len(jobs), "photos") as advance,
        ThreadPoolExecutor(options.threads, thread_name_prefix="sbka-draw") as pool,
    ):
        for first in range(0, len(jobs), _CHUNK):
            chunk = jobs[first : first + _CHUNK]
            for (photo, target), outcome in zip(chunk, pool.map(draw, chunk), strict=True):
                if isinstance(outcome, str):
                    rejected.append((photo.path, outcome))
                else:
                    made += outcome
                    sketches.append(LabelledImage(target, photo.category))
            advance(len(chunk))
    return MakeReport(tuple(sketches), made, tuple(rejected), time.perf_counter() - start)


def _jobs(photos: Sequence[LabelledImage], folder: DrawnFolder) -> Iterator[tuple[LabelledImage, Path]]:
    owners: dict[Path, Path] = {}
    for photo in photos:
        target = folder.target(photo.category, photo.path.name)
        if target in owners:
            raise DatasetError(
                f"{owners[target]} and {photo.path} have one category and file name, so one sketch.",
                "Rename one of them, or leave it out.",
            )
        owners[target] = photo.path
        yield photo, target


def _draw(path: Path, target: Path, folder: DrawnFolder, options: MakeOptions) -> bool | str:
    """Whether a sketch was made rather than kept, or why there is none."""
    try:
        mtime_ns = path.stat().st_mtime_ns
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."
    if folder.holds(target, mtime_ns):
        return False
    # Each photo has its own hand, the same wherever the data set lies.
    name = f"{options.seed}/{target.parent.name}/{target.name}"
    hand = int(content_hash(name.encode("utf-8", "surrogateescape"))[:8], 16)
    try:
        photo = load_photo(path, max_pixels=options.max_pixels, target_size=WORKING_SIDE)
        sketch = pseudo_sketch(photo, size=options.size, seed=hand, wobble=options.wobble)
    except ImageError as error:
        return error.problem if str(path) in error.problem else f"{path}: {error.problem}"
    folder.write(target, sketch, mtime_ns)
    return True
