"""Drawings kept as strokes, one JSON object a line: the ``.ndjson`` files of Quick, Draw!.

Both published forms are read: *simplified*, ``"drawing": [[[x, ...], [y, ...]], ...]`` in whole numbers of 0 to 255,
and *raw*, with a third row of times. A drawing has a place that stands where a file's path stands,
``cat.ndjson/<offset>``, the offset of its line in bytes: it is found again without reading what comes before it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import DatasetError, ImageError, InvalidValue
from sbka_milvus.images.source import printable
from sbka_milvus.images.strokes import strokes_from_quickdraw

DRAWINGS_SUFFIX = ".ndjson"
DRAWINGS_PER_CATEGORY = 1000
"""So many drawings of a file count as a category's sketches where no others are asked for."""
MAX_LINE = 8 * 2**20
"""Bytes of a line: the longest of the raw drawings have some hundred thousand."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing.

    Attributes:
        place: the file, and in it the offset of its line.
        line: number of the line, from 1; 0 where the drawing was found by its place.
        key: ``key_id``; empty where there is none.
        word: what the player was asked to draw; empty where it is not said.
        recognised: whether the game guessed it; taken for granted where it is not said.
        strokes: in the order of drawing, each of shape (n, 2), float64.
    """

    place: Path
    line: int
    key: str
    word: str
    recognised: bool
    strokes: list[NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no drawing.

    Attributes:
        file: the ``.ndjson``.
        line: its number, from 1.
        reason: one sentence.
    """

    file: Path
    line: int
    reason: str


def read_drawings(path: str | Path, on_bad: Callable[[BadLine], None]) -> Iterator[Drawing]:
    """The drawings of a file in their order, one in memory at a time. Blank lines are passed over.

    Args:
        path: an ``.ndjson`` file.
        on_bad: is told of each line that is no drawing; the reading goes on.

    Raises:
        DatasetError: The file is missing or cannot be read.
    """
    for number, offset, raw in _lines(Path(path)):
        try:
            yield _drawing(raw, Path(path) / str(offset), number)
        except ImageError as error:
            on_bad(BadLine(Path(path), number, error.problem))


def list_drawings(path: Path, limit: int = DRAWINGS_PER_CATEGORY) -> list[Path]:
    """The places of the first drawings that the game recognised.

    A line that is no JSON is listed, too: whoever loads it says what is wrong with it.

    Raises:
        DatasetError: The file is missing, cannot be read, or holds none.
    """
    wanted = (path / str(offset) for _, offset, raw in _lines(path) if _may_be_recognised(raw))
    places = list(itertools.islice(wanted, limit))
    if not places:
        raise DatasetError(f"{printable(path)} has no recognised drawing.", "Remove it, or add drawings.")
    return places


def is_drawing(path: str | Path) -> bool:
    """Whether a path is the place of a drawing.

    >>> is_drawing("quickdraw/cat.ndjson/1024"), is_drawing("cat.ndjson"), is_drawing("cat/1024")
    (True, False, False)
    """
    place = Path(path)
    return place.parent.suffix == DRAWINGS_SUFFIX and place.name.isascii() and place.name.isdecimal()


def file_of(path: Path) -> Path:
    """The file that holds what is at ``path``: for a drawing the ``.ndjson``."""
    return path.parent if is_drawing(path) else path


def load_drawing(place: str | Path) -> Drawing:
    """The drawing at a place.

    Raises:
        ImageError: The file is missing or has changed, or there is no drawing at that place.
    """
    path = Path(place)
    try:
        with path.parent.open("rb") as file:
            file.seek(int(path.name))
            raw = file.readline(MAX_LINE + 1)
    except (OSError, ValueError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ImageError(f"{printable(path)} cannot be read: {reason}.", "Check the path.") from error
    return _drawing(raw, path, 0)


def partial(strokes: list[NDArray[np.float64]], share: float) -> list[NDArray[np.float64]]:
    """A drawing as it was when a share of it was drawn, counted in points.

    Args:
        strokes: in the order of drawing, each of shape (n, 2).
        share: from 0 (nothing) to 1 (all); what it makes of the number of points is rounded up.

    Returns:
        The first strokes, the last of them perhaps cut short; strokes without points are left out.

    Raises:
        InvalidValue: ``share`` is not from 0 to 1.

    >>> cross = [np.array([[0, 0], [9, 9]]), np.array([[0, 9], [9, 0]])]
    >>> [stroke.tolist() for stroke in partial(cross, 0.6)]
    [[[0, 0], [9, 9]], [[0, 9]]]
    """
    if not 0 <= share <= 1:
        raise InvalidValue(f"share must be from 0 to 1, not {share}.")
    total = sum(len(stroke) for stroke in strokes)
    # 0.1 * 30 is a little above 3, which is no fourth point.
    left = int(np.ceil(share * total - 1e-9))
    drawn = []
    for stroke in strokes:
        if left > 0 and len(stroke):
            drawn.append(stroke[:left])
        left -= len(stroke)
    return drawn


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and bytes of each line that is not blank; of one that is too long, its beginning."""
    try:
        with path.open("rb") as file:
            number, offset = 0, 0
            while raw := file.readline(MAX_LINE + 1):
                number, start = number + 1, offset
                offset += len(raw)
                part = raw
                while len(part) > MAX_LINE and not part.endswith(b"\n"):
                    part = file.readline(MAX_LINE + 1)
                    offset += len(part)
                if raw.strip():
                    yield number, start, raw
    except FileNotFoundError:
        raise DatasetError(f"{printable(path)} does not exist.", "Check the path.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{printable(path)} cannot be read: {reason}.", "Name a readable file.") from error


def _may_be_recognised(raw: bytes) -> bool:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return True
    return not (isinstance(content, dict) and content.get("recognized") is False)


def _drawing(raw: bytes, place: Path, number: int) -> Drawing:
    where = f"{printable(place.parent)}, line {number}" if number else printable(place)
    if len(raw) > MAX_LINE:
        raise ImageError(f"{where} is longer than {MAX_LINE:,} bytes.", "Remove the line.")
    try:
        content: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{where} is not valid JSON.", "Download the file again, or remove the line.") from error
    if not isinstance(content, dict) or not isinstance(content.get("drawing"), list):
        raise ImageError(f"{where} has no 'drawing'.", 'Write {"word": "cat", "drawing": [[[x, ...], [y, ...]], ...]}.')
    try:
        strokes = strokes_from_quickdraw(content["drawing"])
    except ImageError as error:
        raise ImageError(f"{where}: {error.problem}", error.remedy) from error
    if not any(len(stroke) for stroke in strokes):
        raise ImageError(f"{where} has a drawing without points.", "Remove the line.")
    key, word = (content.get(name) for name in ("key_id", "word"))
    return Drawing(
        place,
        number,
        str(key) if isinstance(key, (str, int)) else "",
        word if isinstance(word, str) else "",
        content.get("recognized") is not False,
        strokes,
    )
