"""Brings every pixel form that a decoder hands out to upright 8-bit RGB or RGBA."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

_Turn = Image.Transpose
# EXIF 2.32, tag 0x0112: what undoes each orientation.
_UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
_SMOOTH = ("L", "RGB", "RGBA", "CMYK")
FIRST_SIDEWAYS = 5
"""From this orientation on, width and height change places."""


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or where it cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # Cameras and editors write all kinds of broken EXIF, which must not cost the photo.
        return 1
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image as it was seen when it was taken."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def shrink(image: Image.Image, target: int) -> Image.Image:
    """The image, made smaller where its short side has more than twice ``target`` pixels: to exactly that many.

    What scales it further then gives nearly what it would give of the whole image.
    """
    short = min(image.size)
    if short <= 2 * target:
        return image
    if image.mode not in _SMOOTH or "transparency" in image.info:
        # There is nothing between two entries of a palette, or between a colour and the one that means "none".
        image = to_rgb(image)
    scale = 2 * target / short
    size = (max(2 * target, round(image.width * scale)), max(2 * target, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def to_rgb(image: Image.Image) -> Image.Image:
    """A new 8-bit RGB image without metadata; what is transparent becomes white."""
    image = _eight_bits(image)
    if image.has_transparency_data:
        rgba = _rgba(image)
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(rgba, mask=rgba.getchannel("A"))
        return rgb
    return _bare(image.convert("RGB"))


def to_plain(image: Image.Image) -> Image.Image:
    """A new 8-bit image without metadata: RGBA where anything may be transparent, else L or RGB."""
    image = _eight_bits(image)
    if image.has_transparency_data:
        rgba = _rgba(image)
        if sum(rgba.getchannel("A").histogram()[:255]):
            return _bare(rgba)
        image = rgba
    return _bare(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"))


def _rgba(image: Image.Image) -> Image.Image:
    # Pillow knows no direct way from grey with premultiplied alpha.
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _bare(image: Image.Image) -> Image.Image:
    # An EXIF orientation left behind would turn the image a second time.
    image.info = {}
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep grey (I;16, I, F) scaled to 8 bits by its range, where Pillow would clip it."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    grey = np.asarray(image).astype(np.float64)
    grey[~np.isfinite(grey)] = 0.0
    low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else _range_of(grey, image.mode)
    scaled = (grey - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _range_of(grey: NDArray[Any], mode: str) -> tuple[float, float]:
    """The range that 32-bit grey was most likely meant to have; its own where it fits no usual one."""
    low, high = float(grey.min()), float(grey.max())
    usual = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
    for top in usual:
        if low >= 0 and high <= top:
            return 0.0, top
    return low, high
