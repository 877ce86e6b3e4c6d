"""Contact sheets of search results, sketches with their hits; and of photos that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sbka_milvus.errors import ImageError
from sbka_milvus.images import load_photo_uri
from sbka_milvus.images.datasets import name_key
from sbka_milvus.images.source import printable
from sbka_milvus.pipelines.duplicates import Duplicate, DuplicateGroup
from sbka_milvus.sheets import SheetHit, SheetRow
from sbka_milvus.types import Hit

THUMBNAIL = 256
_MISSING_GREY = (225, 225, 225)


def sheet_row(
    sketch: Image.Image, label: str, hits: Sequence[Hit], category: str | None = None, *, note: str = ""
) -> SheetRow:
    """One sketch with its hits.

    Args:
        sketch: normalised.
        label: what stands under it.
        hits: best first.
        category: the sketch's, to mark hits right or wrong by the name of their folder; none: no marks.
        note: a few words on the result as a whole.
    """
    return SheetRow(
        sketch,
        label,
        tuple(
            SheetHit(
                image=thumbnail(hit.uri),
                caption=f"{hit.score:.3f}",
                correct=None if category is None else name_key(Path(hit.uri).parent.name) == name_key(category),
            )
            for hit in hits
        ),
        note=note,
    )


def duplicates_row(group: DuplicateGroup, number: int) -> SheetRow:
    """One group of photos that are alike: the first stands where a sketch does.

    Args:
        group: the photos.
        number: of the group, for its label.
    """
    first, *others = group.photos
    return SheetRow(
        thumbnail(first.uri),
        f"{number}: {_what(first)}",
        tuple(SheetHit(thumbnail(photo.uri), f"{photo.cosine:.3f}, {_what(photo)}") for photo in others),
        note="equal" if group.kind == "exact" else "",
    )


def _what(photo: Duplicate) -> str:
    return f"{printable(photo.uri.rpartition('/')[2])}, {photo.width} x {photo.height}, {photo.size:,} bytes"


def thumbnail(uri: str) -> Image.Image:
    """A small picture of a photo; plain grey where the file is gone."""
    try:
        image = load_photo_uri(uri, target_size=THUMBNAIL)
    except ImageError:
        return Image.new("RGB", (THUMBNAIL, THUMBNAIL), _MISSING_GREY)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image
