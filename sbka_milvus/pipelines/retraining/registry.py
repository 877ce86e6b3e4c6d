"""Which galleries have a retraining policy: what the clock of background work looks through."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import OutputError
from sbka_milvus.files import replacing

_FOLDER = "retraining"
_log = logging.getLogger(__name__)


def register(workspace: Path, gallery: Gallery) -> Path:
    """Makes a gallery known to background work; again changes nothing.

    Raises:
        OutputError: The workspace cannot be written.
    """
    path = _entry(workspace, gallery)
    with replacing(path) as file:
        file.write((json.dumps({"gallery": str(gallery.root.absolute())}) + "\n").encode())
    return path


def unregister(workspace: Path, gallery: Gallery) -> None:
    """Undoes :func:`register`.

    Raises:
        OutputError: The workspace cannot be written.
    """
    path = _entry(workspace, gallery)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror}.", "Check its permissions.") from error


def registered(workspace: Path) -> list[Path]:
    """The folders of the galleries that were registered; they may have been moved or deleted since.

    An entry that cannot be read is logged and passed over, so that it does not keep the others from their turn.
    """
    folders = []
    for path in sorted((workspace / _FOLDER).glob("*.json")):
        try:
            folders.append(Path(json.loads(path.read_text(encoding="utf-8"))["gallery"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged (%s): run `sbka retrain set` on its gallery again.", path, error)
    return folders


def _entry(workspace: Path, gallery: Gallery) -> Path:
    # Two galleries may have one name.
    digest = hashlib.blake2b(str(gallery.root.absolute()).encode("utf-8", "surrogateescape"), digest_size=6)
    return workspace / _FOLDER / f"{gallery.name}-{digest.hexdigest()}.json"
