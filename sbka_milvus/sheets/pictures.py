"""Any image as plain RGB, and fitted into a square tile."""

from __future__ import annotations

from PIL import Image

from sbka_milvus.errors import ImageError

_WHITE = (255, 255, 255)


def flatten(image: Image.Image, name: str) -> Image.Image:
    """A fresh RGB image on white ground, with none of the metadata of the old one.

    Args:
        image: of any mode.
        name: names it in an error.

    Raises:
        ImageError: The image has no pixels or cannot be read.
    """
    if 0 in image.size:
        raise ImageError(f"The image of {name!r} has no pixels.", "Leave it off the sheet.")
    plain = Image.new("RGB", image.size, _WHITE)
    try:
        if image.has_transparency_data:
            coloured = image.convert("RGBA")
            plain.paste(coloured, mask=coloured.getchannel("A"))
        elif image.mode.startswith("I;16"):
            plain.paste(image.point(lambda value: value * (1 / 256)).convert("L"))
        else:
            plain.paste(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"The image of {name!r} cannot be read: {error}.", "Leave it off the sheet.") from error
    return plain


def fit_tile(image: Image.Image, side: int, ground: tuple[int, int, int]) -> Image.Image:
    """The whole image, scaled to touch the edges of a square tile and centred on its ground.

    Args:
        image: RGB.
        side: of the tile, pixels.
        ground: colour of what the image leaves free.
    """
    scaled = resize_within(image, side, enlarge=True)
    tile = Image.new("RGB", (side, side), ground)
    tile.paste(scaled, ((side - scaled.width) // 2, (side - scaled.height) // 2))
    return tile


def resize_within(image: Image.Image, side: int, *, enlarge: bool) -> Image.Image:
    """The image scaled so that its longer side is ``side`` pixels; smaller ones stay as they are unless ``enlarge``."""
    scale = side / max(image.size)
    if scale == 1 or (scale > 1 and not enlarge):
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)
