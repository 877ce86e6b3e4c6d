"""In which Milvus a gallery is indexed: a server of the settings, that of a running ``sbka up``, or its own folder."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.index_record import read_index_record, write_index_record
from sbka_milvus.errors import GalleryError, OutputError
from sbka_milvus.processes import is_running
from sbka_milvus.settings import Settings

EMBEDDED = "embedded"
_UP = "up:"
_UP_FILE = "up.json"


def milvus_address(settings: Settings, gallery: Gallery | None) -> str:
    """Where Milvus is to be opened: an address, or the directory of the one embedded in a gallery.

    Raises:
        GalleryError: There is neither an address nor a gallery.
    """
    address = settings.milvus.uri or live_up_milvus(settings.workspace)
    if address:
        return address
    if gallery is None:
        raise GalleryError("No Milvus is named.", "Give a gallery folder, or set SBKA_MILVUS__URI.")
    return str(gallery.milvus_folder)


def milvus_place(settings: Settings) -> str:
    """What a gallery's ``index.json`` says of the Milvus that is used now; it stays true when ports change.

    >>> milvus_place(Settings(milvus={"uri": "http://user:secret@milvus:19530"}))
    'http://milvus:19530'
    """
    if settings.milvus.uri:
        return without_password(settings.milvus.uri)
    if live_up_milvus(settings.workspace):
        return _UP + str(settings.workspace.absolute())
    return EMBEDDED


def without_password(place: str) -> str:
    """An address as it may be written down; a directory becomes an absolute path.

    >>> without_password("http://user:secret@milvus:19530")
    'http://milvus:19530'
    """
    if "://" not in place:
        return str(Path(place).expanduser().absolute())
    parts = urlsplit(place)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def live_up_milvus(workspace: Path) -> str:
    """The address of the Milvus that ``sbka up`` runs in a workspace; empty where none is running."""
    try:
        state = json.loads((workspace / _UP_FILE).read_text(encoding="utf-8"))
        return str(state["milvus"] or "") if is_running(int(state["pid"]), float(state["started"])) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def require_index(gallery: Gallery, settings: Settings) -> None:
    """Refuses a gallery whose embedded Milvus does not exist yet: opening it would make an empty one.

    Raises:
        GalleryError: Nothing was indexed there yet.
    """
    if milvus_place(settings) == EMBEDDED and not gallery.milvus_folder.exists():
        raise missing_index(gallery, settings)


def missing_index(gallery: Gallery, settings: Settings) -> GalleryError:
    """Says that the Milvus of the settings has no index of a gallery, and which one has."""
    record = read_index_record(gallery.index_file)
    here = milvus_place(settings)
    if record is None or record.place in ("", here):
        return GalleryError(f"The gallery {gallery.root} has no index yet.", "Run `sbka ingest` on it to the end.")
    return GalleryError(
        f"The gallery {gallery.root} is indexed in {_described(record.place)}, and {_described(here)}, which is used "
        "now, has no index of it.",
        f"{_way_back(record.place)}, or run `sbka ingest` on it to index it here: nothing is embedded again.",
    )


def remember_place(gallery: Gallery, settings: Settings) -> None:
    """Notes where an index was found, for a gallery whose ``index.json`` does not say it."""
    record = read_index_record(gallery.index_file)
    if record is not None and not record.place:
        with suppress(OutputError):  # a folder that cannot be written can be searched all the same
            write_index_record(gallery.index_file, replace(record, place=milvus_place(settings)))


def _described(place: str) -> str:
    if place == EMBEDDED:
        return "the Milvus in its own folder"
    if place.startswith(_UP):
        return f"the Milvus of `sbka up` in {place.removeprefix(_UP)}"
    return f"the Milvus at {place}"


def _way_back(place: str) -> str:
    if place == EMBEDDED:
        return "Unset SBKA_MILVUS__URI and end `sbka up`"
    if place.startswith(_UP):
        return f"Start `sbka up` with SBKA_WORKSPACE={place.removeprefix(_UP)}, and leave SBKA_MILVUS__URI unset"
    return f"Set SBKA_MILVUS__URI={place}"
