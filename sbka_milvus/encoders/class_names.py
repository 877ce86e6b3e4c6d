"""The names of the classes that a text tower is asked about."""

from __future__ import annotations

from pathlib import Path

from sbka_milvus.errors import DatasetError


def read_class_names(path: Path) -> tuple[str, ...]:
    """Reads a text file of one name a line; ``_`` stands for a space, empty lines do not count.

    Raises:
        DatasetError: The file cannot be read, names fewer than two classes, or one of them twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"The file of class names {path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            "It must be a text file (UTF-8) of one name a line.",
        ) from error
    names = [" ".join(line.replace("_", " ").split()) for line in lines]
    names = [name for name in names if name]
    twice = next((name for name in names if names.count(name) > 1), None)
    if len(names) < 2 or twice is not None:
        what = f"names {twice!r} twice" if twice is not None else f"names {len(names)} classes"
        raise DatasetError(f"The file of class names {path} {what}.", "Give at least two names, each once.")
    return tuple(names)
