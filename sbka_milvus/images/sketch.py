"""Normalises sketches: whatever they are drawn on and with, dark ink on white, filling a square."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from sbka_milvus.errors import EmptySketch, ImageError
from sbka_milvus.images.decode import decode_upright, decoded_image, source_bytes, to_plain_safely
from sbka_milvus.images.drawings import is_drawing, load_drawing
from sbka_milvus.images.ink import counts_of, ink_map, stretched
from sbka_milvus.images.source import MAX_PIXELS, printable
from sbka_milvus.images.strokes import Strokes, render_strokes, require_canvas

_WORKING_SIDE = 1024  # of a larger scan the mean of blocks is looked at: the result has a fifth of these pixels
_MOST_GAIN = 3.0  # for lines that became thin and pale by reduction


def load_sketch(
    source: str | Path | bytes | Image.Image | NDArray[Any] | Strokes,
    *,
    size: int = 224,
    margin: float = 0.08,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """A normalised sketch from whatever holds one.

    Args:
        source: a path, the place of a drawing in an ``.ndjson``, the bytes of a file, a PIL image, strokes
            (:data:`Strokes`), or an array of shape (H, W), (H, W, 3) or (H, W, 4): uint8, float in [0, 1], or bool.
            True may be ink or ground, as in any drawing.
        size: side of the result in pixels.
        margin: share of ``size`` left white on each side.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        RGB, size x size, dark ink on white, as :func:`normalise_sketch` makes it.

    Raises:
        EmptySketch: There is no ink.
        ImageError: Naming the file or the array, what is wrong with it and what to do.
        InvalidValue: ``size`` or ``margin`` is out of range.
    """
    require_canvas(size, margin)
    if isinstance(source, Image.Image):
        name, image = "The image", decoded_image(source, max_pixels)
    elif isinstance(source, np.ndarray):
        name, image = f"The array of shape {source.shape}", _image_of_array(source)
    elif isinstance(source, (str, Path)) and is_drawing(source):
        return _rendered(source, size, margin)
    elif isinstance(source, (str, Path, bytes)):
        name, data = source_bytes(source, max_pixels)
        image, _ = decode_upright(data, name, max_pixels)
    elif isinstance(source, (list, tuple)):
        return render_strokes(source, size, margin=margin)
    else:
        raise ImageError(
            f"A {type(source).__name__} is no sketch.", "Pass a path, bytes, a PIL image, an array or strokes."
        )
    return _normalised(to_plain_safely(_worked_on(image), name), size, margin, name)


def normalise_sketch(image: Image.Image, *, size: int = 224, margin: float = 0.08) -> Image.Image:
    """A drawing as dark ink on white, cropped to its ink and centred in a square with its aspect kept.

    Ink may be in alpha, dark on light, light on dark, coloured, or faint pencil on unevenly lit paper. Strokes keep
    their soft edges; contrast is stretched so that the strongest become black.

    Args:
        image: a drawing in any mode, EXIF orientation included. It is left as it was.
        size: side of the result in pixels, 16 to 4096.
        margin: share of ``size`` left white on each side, at least 0 and below 0.5.

    Returns:
        RGB, size x size.

    Raises:
        EmptySketch: There is no ink.
        ImageError: The image cannot be decoded.
        InvalidValue: ``size`` or ``margin`` is out of range.
    """
    return load_sketch(image, size=size, margin=margin)


def _rendered(place: str | Path, size: int, margin: float) -> Image.Image:
    strokes = load_drawing(place).strokes
    try:
        return render_strokes(strokes, size, margin=margin)
    except ImageError as error:
        raise type(error)(f"{printable(place)}: {error.problem}", error.remedy) from error


def _worked_on(image: Image.Image) -> Image.Image:
    factor = -(-max(image.size) // _WORKING_SIDE)
    # Indices into a palette, single bits and colours that stand for transparency have no mean.
    if factor == 1 or image.mode not in ("L", "RGB", "RGBA") or "transparency" in image.info:
        return image
    return image.reduce(factor)


def _normalised(image: Image.Image, size: int, margin: float, name: str) -> Image.Image:
    ink = ink_map(_worked_on(image))
    if ink is None:
        raise EmptySketch(f"{name} has no ink on it.", "Draw something, or use a darker pen.")
    scale = size * (1 - 2 * margin) / max(ink.size)
    fitted = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    # BICUBIC rings less than LANCZOS, whose second lobe draws a grey ghost beside every line.
    drawn = ink.resize(fitted, Image.Resampling.BICUBIC)
    canvas = Image.new("L", (size, size), 0)
    canvas.paste(drawn, ((size - fitted[0]) // 2, (size - fitted[1]) // 2))
    return ImageChops.invert(stretched(canvas, counts_of(canvas), most=_MOST_GAIN)).convert("RGB")


def _image_of_array(array: NDArray[Any]) -> Image.Image:
    shape = array.shape
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (3, 4))) or min(shape[:2]) < 1:
        raise ImageError(f"An array of shape {shape} is no sketch.", "Pass (H, W), (H, W, 3) or (H, W, 4).")
    if array.ndim == 2 and shape[1] == 2:
        raise ImageError(f"An array of shape {shape} looks like the points of a stroke.", "Pass a list of strokes.")
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    if array.dtype == np.bool_:
        return Image.fromarray(array.astype(np.uint8) * 255)
    if array.dtype.kind != "f":
        raise ImageError(f"An array of {array.dtype} is no sketch.", "Pass uint8, bool, or float in [0, 1].")
    if not ((array >= 0) & (array <= 1)).all():
        raise ImageError("An array of floats has values outside [0, 1].", "Divide it by its largest value.")
    return Image.fromarray(np.rint(array * 255).astype(np.uint8))
