"""A folder of sketches that the program draws: it knows with which options, and each drawing is whole or not there."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from PIL import Image

from sbka_milvus.errors import DatasetError, OutputError
from sbka_milvus.files import replacing

RECORD_FILE = ".drawn.json"
"""Hidden, so that it is no part of the data set."""


class DrawnFolder:
    """Where drawings go.

    Args:
        root: the folder; made where there is none.
        options: all that decides what is drawn, as plain values.

    Raises:
        DatasetError: The folder holds drawings that were made with other options, or its record is damaged.
        OutputError: It cannot be written.
    """

    def __init__(self, root: Path, options: dict[str, object]) -> None:
        self.root = root
        record = root / RECORD_FILE
        try:
            before = json.loads(record.read_bytes())
        except FileNotFoundError:
            with replacing(record) as file:
                file.write(json.dumps(options).encode())
            return
        except (OSError, ValueError) as error:
            raise DatasetError(f"{record} is damaged or unreadable.", "Delete the folder, or name another.") from error
        if before != options:
            raise DatasetError(
                f"The drawings in {root} were made with other options ({before}, now {options}).",
                "Name another folder, delete this one, or give the same options.",
            )

    def target(self, category: str, name: str) -> Path:
        """Where a drawing goes: names that would leave the folder, or hide in it, are made harmless."""
        return self.root / _harmless(category) / f"{_harmless(name)}.png"

    def write(self, path: Path, picture: Image.Image, mtime_ns: int | None = None) -> None:
        """Writes a drawing.

        Args:
            path: a :meth:`target`.
            picture: the drawing, dark on white.
            mtime_ns: time of change that the file gets: that of its original, by which :meth:`holds` knows it.

        Raises:
            OutputError: The disk is full or the folder cannot be written.
        """
        content = io.BytesIO()
        picture.convert("L").save(content, "PNG")
        with replacing(path, durable=False) as file:
            file.write(content.getvalue())
        if mtime_ns is not None:
            try:
                os.utime(path, ns=(mtime_ns, mtime_ns))
            except OSError as error:
                raise OutputError(f"{path} cannot be given its time: {error.strerror}.", "Check the folder.") from error

    def holds(self, path: Path, mtime_ns: int | None = None) -> bool:
        """Whether a drawing is there, and of the thing as it was at that time."""
        try:
            found = path.stat()
        except OSError:
            return False
        return mtime_ns is None or _same_time(found.st_mtime_ns, mtime_ns)


def _same_time(kept_ns: int, wanted_ns: int) -> bool:
    """Whether a file system that was given a time may have kept this one: some know only every other second.

    >>> _same_time(7, 7), _same_time(4_000_000_000, 5_100_000_000), _same_time(4_000_000_001, 5_100_000_000)
    (True, True, False)
    """
    coarse = kept_ns % 1_000_000_000 == 0
    return kept_ns == wanted_ns or (coarse and 0 <= wanted_ns - kept_ns < 2_000_000_000)


def _harmless(name: str) -> str:
    r"""A name as one step of a path.

    >>> _harmless("../cat"), _harmless("wine bottle"), _harmless(".hidden")
    ('_.._cat', 'wine bottle', '_.hidden')
    """
    flat = name.replace("/", "_").replace("\\", "_").replace("\0", "_")
    return f"_{flat}" if flat.startswith(".") or not flat else flat
