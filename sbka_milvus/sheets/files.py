"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from sbka_milvus.errors import SettingsError


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes its place at ``path`` when the block ends well, and vanishes when it does not.

    Raises:
        SettingsError: The file cannot be written.
    """
    target = Path(path)
    # Not tempfile: its files are readable by their owner alone, and a sheet is made to be shown.
    draft = target.parent / f".{uuid4().hex}.tmp"
    try:
        with draft.open("xb") as file:
            yield file
        draft.replace(target)
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(
            f"The file {target} cannot be written: {reason}.", "Name a file in a folder that exists and takes files."
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()
