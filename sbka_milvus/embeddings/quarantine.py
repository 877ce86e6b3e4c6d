"""Files that could not be used, each with the reason: nothing is left out in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sbka_milvus.errors import GalleryError
from sbka_milvus.files import replacing


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file that could not be embedded.

    Attributes:
        uri: the file.
        reason: one sentence.
    """

    uri: str
    reason: str

    @property
    def kind(self) -> str:
        """The reason without what belongs to this file alone: files of one fault have the same.

        >>> QuarantinedFile("/a.png", "/a.png has 50000 x 50000 = 2,500,000,000 pixels, more than the limit.").kind
        'has N x N = N pixels, more than the limit'
        """
        printable = self.uri.encode("utf-8", "backslashreplace").decode()
        bare = self.reason.replace(printable, "").strip().rstrip(".")
        return re.sub(r"(?<![\w-])\d[\d.,]*(?<![.,])", "N", bare)


def read_quarantine(path: Path) -> list[QuarantinedFile]:
    """The files listed, in order of URI; empty where there is no list.

    Raises:
        GalleryError: The list is damaged.
    """
    try:
        return [_parse(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise GalleryError(
            f"The quarantine list {path} is damaged or unreadable: {error}.", "Delete it and ingest again."
        ) from error


def _parse(line: str) -> QuarantinedFile:
    file = QuarantinedFile(**json.loads(line))
    if not (isinstance(file.uri, str) and isinstance(file.reason, str)):
        raise TypeError("a line holds something else than texts")
    return file


def write_quarantine(path: Path, files: Iterable[QuarantinedFile]) -> None:
    """Replaces the list, one JSON object a line.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    lines = [json.dumps(asdict(file)) + "\n" for file in sorted(files, key=lambda file: file.uri)]
    with replacing(path) as stream:
        stream.write("".join(lines).encode("utf-8"))
