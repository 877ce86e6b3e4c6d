"""Files of the workspace that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path

from sbka_milvus.files import replacing

_OWNER_ONLY = 0o600


def write_secret(path: Path, text: str) -> None:
    """Replaces a file that nobody else may read, at no moment.

    Raises:
        OutputError: It cannot be written.
    """
    with replacing(path) as file:
        os.fchmod(file.fileno(), _OWNER_ONLY)
        file.write(text.encode())
