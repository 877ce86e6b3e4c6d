"""Draws the demo world to disk: a data set of photos and sketches with its split."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sbka_milvus.demo.categories import CATEGORIES, CategorySpec
from sbka_milvus.demo.photo import draw_photo
from sbka_milvus.demo.sketch import draw_sketch
from sbka_milvus.errors import DatasetError, SettingsError

SPLIT_NAME = "sbka_demo"

# Raised whenever the pictures change, so that worlds of an older drawing are drawn again.
_EDITION = 1
_LARGEST_COUNT = 999
_SIZES = range(32, 1025)
_NUMBERED = re.compile(r"\d{3}\.(jpg|png)")


@dataclass(frozen=True, slots=True)
class World:
    """Where a finished world is.

    Attributes:
        root: its folder.
        photos: folder of ``<category>/<nnn>.jpg``.
        sketches: folder of ``<category>/<nnn>.png``.
        split: JSON file with ``name``, ``unseen`` and ``seen``.
        reused: whether it was found finished, and not drawn now.
    """

    root: Path
    photos: Path
    sketches: Path
    split: Path
    reused: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    photos: int
    sketches: int
    size: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("photos", "sketches"):
            count = getattr(self, name)
            if not 1 <= count <= _LARGEST_COUNT:
                raise SettingsError(f"{name} is {count}.", f"Ask for 1 to {_LARGEST_COUNT} of each category.")
        if self.size not in _SIZES:
            raise SettingsError(f"size is {self.size} pixels.", f"Choose {_SIZES[0]} to {_SIZES[-1]}.")
        if self.seed < 0:
            raise SettingsError(f"seed is {self.seed}.", "Choose a seed of 0 or above.")

    def files(self, category: str) -> Iterator[str]:
        """The category's files, relative to the world's folder."""
        yield from (f"photos/{category}/{i:03d}.jpg" for i in range(self.photos))
        yield from (f"sketches/{category}/{i:03d}.png" for i in range(self.sketches))


def draw_world(
    out: Path,
    *,
    photos: int,
    sketches: int,
    size: int = 128,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
) -> World:
    """Draws ``photos`` photos and ``sketches`` sketches of every category of :data:`CATEGORIES`.

    The same arguments draw the same bytes, in any number of processes. A finished world of the same arguments is
    recognised and kept; any other world in the folder is replaced.

    Args:
        out: The world's folder; made if it is not there.
        photos: How many photos of each category, 1 to 999.
        sketches: How many sketches of each category, 1 to 999.
        size: Side of the pictures, pixels, 32 to 1024.
        seed: Chooses the world, 0 or above.
        progress: Called with the pictures drawn so far and in all, after each category; not for a world that is kept.
        processes: How many processes draw. Above 1, a script must guard its start with ``if __name__ == "__main__"``.

    Raises:
        SettingsError: A number is out of its range.
        DatasetError: The folder holds pictures of something else, or cannot be written.
    """
    plan = _Plan(photos, sketches, size, seed)
    if processes < 1:
        raise SettingsError(f"processes is {processes}.", "Choose 1 or more.")
    stamp = _stamp(plan)
    try:
        found = _read_stamp(out / "world.json")
        reused = found == stamp and _all_there(out, plan)
        if not reused:
            _prepare(out, plan, found)
            (out / "world.json").write_text(json.dumps(stamp | {"complete": False}), encoding="utf-8")
            _draw_all(out, plan, processes, progress)
            _write_split(out / "split.json")
            (out / "world.json").write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    except OSError as error:
        raise _disk_error(out, error) from error
    return World(out, out / "photos", out / "sketches", out / "split.json", reused)


def _stamp(plan: _Plan) -> dict[str, Any]:
    names = [spec.name for spec in CATEGORIES]
    return {"edition": _EDITION, **asdict(plan), "categories": names, "complete": True}


def _read_stamp(path: Path) -> dict[str, Any] | None:
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _all_there(out: Path, plan: _Plan) -> bool:
    files = ["split.json", *(file for spec in CATEGORIES for file in plan.files(spec.name))]
    return all((out / file).is_file() and (out / file).stat().st_size > 0 for file in files)


def _prepare(out: Path, plan: _Plan, found: dict[str, Any] | None) -> None:
    """Makes the folders, and takes away the pictures of a former world that this one does not have."""
    kept = {out / file for spec in CATEGORIES for file in plan.files(spec.name)}
    old = [file for kind in ("photos", "sketches") for file in (out / kind).glob("*/*")]
    if old and found is None:
        raise DatasetError(f"{out} holds pictures that are no demo world.", "Choose an empty folder.")
    for file in old:
        if file not in kept and _NUMBERED.fullmatch(file.name):
            file.unlink()
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)


def _draw_all(out: Path, plan: _Plan, processes: int, progress: Callable[[int, int], None] | None) -> None:
    done, each = 0, plan.photos + plan.sketches
    for _ in _drawn(out, plan, processes):
        done += each
        if progress is not None:
            progress(done, each * len(CATEGORIES))


def _drawn(out: Path, plan: _Plan, processes: int) -> Iterator[None]:
    """Draws a category at a time; yields after each."""
    if processes == 1:
        for index in range(len(CATEGORIES)):
            _draw_category(out, plan, index)
            yield
        return
    # A forked child would inherit the locks of whatever threads (torch's, gRPC's) run here.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for future in as_completed([pool.submit(_draw_category, out, plan, i) for i in range(len(CATEGORIES))]):
            future.result()
            yield


def _draw_category(out: Path, plan: _Plan, index: int) -> None:
    spec = CATEGORIES[index]
    for number in range(plan.photos):
        rng = _rng(plan.seed, spec, "photo", number)
        photo = draw_photo(spec.sample(rng), rng, plan.size)
        photo.save(out / f"photos/{spec.name}/{number:03d}.jpg", quality=int(rng.integers(80, 93)))
    for number in range(plan.sketches):
        rng = _rng(plan.seed, spec, "sketch", number)
        sketch = draw_sketch(spec.sample(rng), rng, plan.size)
        sketch.save(out / f"sketches/{spec.name}/{number:03d}.png")


def _rng(seed: int, spec: CategorySpec, kind: str, number: int) -> np.random.Generator:
    """A generator of a picture's own, so that neither order nor number of the others changes it."""
    digest = hashlib.blake2b(f"{kind}/{spec.name}".encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big"), number])


def _write_split(path: Path) -> None:
    unseen = [spec.name for spec in CATEGORIES if spec.unseen]
    seen = [spec.name for spec in CATEGORIES if not spec.unseen]
    path.write_text(json.dumps({"name": SPLIT_NAME, "unseen": unseen, "seen": seen}, indent=1), encoding="utf-8")


def _disk_error(out: Path, error: OSError) -> DatasetError:
    where = error.filename or out
    return DatasetError(
        f"The demo world cannot be written: {where}: {error.strerror or error}.",
        "Choose another folder, or free some space.",
    )
