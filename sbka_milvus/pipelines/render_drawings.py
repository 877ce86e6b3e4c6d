"""Render drawings: the strokes of ``.ndjson`` files become pictures, one folder a file."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sbka_milvus.errors import DatasetError, ImageError, InvalidValue
from sbka_milvus.images import Drawing, read_drawings, render_strokes
from sbka_milvus.images.drawings import DRAWINGS_SUFFIX, BadLine
from sbka_milvus.images.stroke_changes import vary
from sbka_milvus.pipelines.drawn_folder import DrawnFolder
from sbka_milvus.progress import Advance, Progress

_KEY = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How to render.

    Attributes:
        size: side of a picture in pixels.
        limit: drawings of each file; none: all.
        recognised_only: pass over drawings that the game did not recognise.
        variants: pictures of each drawing: itself, and others with strokes dropped and moved.
        seed: of the variants.

    Raises:
        InvalidValue: ``limit`` or ``variants`` is below 1.
    """

    size: int = 224
    limit: int | None = None
    recognised_only: bool = False
    variants: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("variants", self.variants)):
            if value is not None and value < 1:
                raise InvalidValue(f"{name} must be at least 1, not {value}.")


@dataclass(slots=True)
class RenderReport:
    """What was rendered.

    Attributes:
        made: pictures that are new.
        kept: pictures that were there.
        passed_over: drawings that the game had not recognised.
        bad: lines of which there is no picture.
        seconds: wall time.
    """

    made: int = 0
    kept: int = 0
    passed_over: int = 0
    bad: list[BadLine] = field(default_factory=list)
    seconds: float = 0.0


def drawing_files(sources: Sequence[Path]) -> list[Path]:
    """The ``.ndjson`` files that are named, and those of the folders that are named, sorted within each.

    Raises:
        DatasetError: A source does not exist, is of another kind, or is a folder without any; or two files have one
            name, which is that of the category.
    """
    files: dict[str, Path] = {}
    for source in sources:
        found = sorted(source.glob(f"*{DRAWINGS_SUFFIX}")) if source.is_dir() else [source]
        if not found:
            raise DatasetError(f"{source} has no {DRAWINGS_SUFFIX} files.", "Name files, or a folder of them.")
        for path in found:
            if not path.is_file():
                raise DatasetError(f"{path} does not exist or is no file.", "Check the path.")
            if path.suffix != DRAWINGS_SUFFIX:
                raise DatasetError(f"{path} is no {DRAWINGS_SUFFIX} file.", "Name files of Quick, Draw!.")
            if path.name in files:
                raise DatasetError(f"{files[path.name]} and {path} are of one category.", "Render one at a time.")
            files[path.name] = path
    return list(files.values())


def render_drawings(files: Sequence[Path], out: Path, options: RenderOptions, progress: Progress) -> RenderReport:
    """Renders ``<category>.ndjson`` into ``out/<category>/<key>.png``; what is rendered already is kept.

    Files are read as streams, so they may be of any size. A bad line is reported and the others are rendered.

    Raises:
        DatasetError: A file is missing, or ``out`` holds pictures made with another size or seed.
        OutputError: A picture cannot be written.
        InvalidValue: The size is out of range.
    """
    start = time.perf_counter()
    settings: dict[str, object] = {"drawings": 1, "size": options.size, "seed": options.seed}
    report = RenderReport()
    folder = DrawnFolder(out, settings)
    for path in files:
        total = options.limit
        with progress.stage(f"Rendering {path.name}", total, "drawings") as advance:
            _render(path, folder, options, report, advance)
    report.seconds = time.perf_counter() - start
    return report


def _render(path: Path, folder: DrawnFolder, options: RenderOptions, report: RenderReport, advance: Advance) -> None:
    category = path.name.removesuffix(DRAWINGS_SUFFIX)
    done: set[str] = set()
    for drawing in read_drawings(path, report.bad.append):
        if options.limit is not None and len(done) >= options.limit:
            return
        if options.recognised_only and not drawing.recognised:
            report.passed_over += 1
            continue
        name = drawing.key if _KEY.fullmatch(drawing.key) else f"line{drawing.line:08d}"
        try:
            if name in done:
                raise ImageError(f"{path}, line {drawing.line} has the key {name} of a line before it.")
            _render_one(drawing, folder, category, name, options, report)
        except ImageError as error:
            where = f"{path}, line {drawing.line}"
            report.bad.append(BadLine(path, drawing.line, _located(error.problem, where)))
            continue
        done.add(name)
        advance()


def _render_one(
    drawing: Drawing, folder: DrawnFolder, category: str, name: str, options: RenderOptions, report: RenderReport
) -> None:
    for number in range(options.variants):
        target = folder.target(category, name if number == 0 else f"{name}-v{number}")
        if folder.holds(target):
            report.kept += 1
            continue
        strokes = drawing.strokes
        if number:
            # Depends on the drawing's own line and on nothing that was drawn before.
            strokes = vary(strokes, np.random.default_rng([options.seed, drawing.line, number]))
        folder.write(target, render_strokes(strokes, options.size))
        report.made += 1


def _located(problem: str, where: str) -> str:
    return problem if problem.startswith(where) else f"{where}: {problem}"
