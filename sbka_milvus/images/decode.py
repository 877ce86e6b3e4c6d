"""Decodes photos that may be anything: the result is an upright RGB image, or an ImageError that names the file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from sbka_milvus.errors import ImageError, InvalidValue
from sbka_milvus.images.find import PhotoFile
from sbka_milvus.images.pixels import FIRST_SIDEWAYS, orientation_of, shrink, to_plain, to_rgb, turn_upright
from sbka_milvus.images.quiet import no_warnings
from sbka_milvus.images.source import MAX_PIXELS, content_hash, printable, read_image_file
from sbka_milvus.images.sources.read import read_photo

JPEG_START = b"\xff\xd8\xff"
"""What every JPEG begins with."""

# The plugins are called directly, not through Image.open: it would judge the size by a global limit that belongs
# to the application, and would fill its table of formats on the first call, from whichever thread comes first.
_READERS: tuple[tuple[str, tuple[bytes, ...], Callable[[IO[bytes]], ImageFile.ImageFile]], ...] = (
    ("JPEG", (JPEG_START,), JpegImagePlugin.JpegImageFile),
    ("PNG", (b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ("WebP", (b"RIFF",), WebPImagePlugin.WebPImageFile),
    ("GIF", (b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ("BMP", (b"BM",), BmpImagePlugin.BmpImageFile),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
)
_KNOWN = "JPEG, PNG, WebP, BMP, TIFF or GIF"
_FOREIGN = (
    (b"%PDF", 0, "a PDF document"),
    (b"<svg", 0, "an SVG drawing"),
    (b"8BPS", 0, "a Photoshop document"),
    (b"ftypheic", 4, "a HEIC photo"),
    (b"ftypmif1", 4, "a HEIF photo"),
    (b"ftypavif", 4, "an AVIF photo"),
    (b"<html", 0, "a web page"),
    (b"<!doctype html", 0, "a web page"),
)


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """A photo, read once.

    Attributes:
        file: where it came from.
        content_hash: :func:`content_hash` of the file's bytes.
        width: of the upright original in pixels, whatever ``target_size`` made of it.
        height: as ``width``.
        image: upright, RGB.
    """

    file: PhotoFile
    content_hash: str
    width: int
    height: int
    image: Image.Image


def load_photo(
    source: str | Path | bytes | Image.Image, *, max_pixels: int = MAX_PIXELS, target_size: int | None = None
) -> Image.Image:
    """An upright RGB image from a file, the bytes of a file, or a PIL image. Safe to call from many threads.

    JPEG, PNG, WebP, BMP, TIFF and GIF are read (the first frame); EXIF orientation is applied; what is transparent
    becomes white; 16-bit grey is scaled to 8 bits. Colour profiles are not applied.

    Args:
        source: a path, bytes, or an image, which is left as it was.
        max_pixels: images whose header claims more are refused before they are decoded.
        target_size: pixels that the short side must keep at least. A large JPEG is then decoded at 1/2, 1/4 or 1/8
            of its size, which is several times faster; other formats keep their size.

    Raises:
        ImageError: Naming the file, what is wrong with it and what to do.
        InvalidValue: ``max_pixels`` or ``target_size`` is below 1.
    """
    _require_positive(max_pixels=max_pixels, target_size=target_size)
    if isinstance(source, Image.Image):
        return to_rgb_safely(decoded_image(source, max_pixels), "The image")
    name, data = source_bytes(source, max_pixels)
    image, _ = decode_upright(data, name, max_pixels, target_size)
    return to_rgb_safely(image, name)


def load_photo_file(file: PhotoFile, *, max_pixels: int = MAX_PIXELS, target_size: int | None = None) -> DecodedPhoto:
    """As :func:`load_photo`, with the content's hash and the original size, from one reading of the file.

    The file is found by its URI alone: on the disk, in an archive or at an address.

    Raises:
        ImageError: Naming the file, what is wrong with it and what to do.
        InvalidValue: ``max_pixels`` or ``target_size`` is below 1.
    """
    _require_positive(max_pixels=max_pixels, target_size=target_size)
    name, data = printable(file.uri), read_photo(file.uri, max_pixels)
    image, (width, height) = decode_upright(data, name, max_pixels, target_size)
    return DecodedPhoto(file, content_hash(data), width, height, to_rgb_safely(image, name))


def load_photo_uri(uri: str, *, max_pixels: int = MAX_PIXELS, target_size: int | None = None) -> Image.Image:
    """As :func:`load_photo`, for a photo that a gallery names: on the disk, in an archive or at an address.

    Raises:
        ImageError: Naming the photo, what is wrong with it and what to do.
        InvalidValue: ``max_pixels`` or ``target_size`` is below 1.
    """
    _require_positive(max_pixels=max_pixels, target_size=target_size)
    name = printable(uri)
    image, _ = decode_upright(read_photo(uri, max_pixels), name, max_pixels, target_size)
    return to_rgb_safely(image, name)


def source_bytes(source: str | Path | bytes, max_pixels: int) -> tuple[str, bytes]:
    """How messages name a source, and its bytes.

    Raises:
        ImageError: The file cannot be read, or the source is of no known kind.
    """
    if isinstance(source, bytes):
        return f"The image of {len(source)} bytes", source
    if isinstance(source, (str, Path)):
        return printable(source), read_image_file(source, max_pixels)
    raise ImageError(f"A {type(source).__name__} is no image.", "Pass a path, the bytes of a file, or a PIL image.")


def decode_upright(
    data: bytes, name: str, max_pixels: int, target_size: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """The upright image in the file's own mode, and the upright size of the original (width, height).

    Raises:
        ImageError: The bytes are no image, a damaged one, or one of more than ``max_pixels``.
    """
    form, reader = _reader_of(data, name)
    with _damage_reported(f"{name} is a {form} image that"):
        image = reader(io.BytesIO(data))
        size = image.size
        _refuse_size(name, size, max_pixels)
        if target_size is not None and form == "JPEG":
            image.draft(None, (target_size, target_size))
        image.load()
        orientation = orientation_of(image)
        pixels = ImageChops.invert(image) if _is_plain_cmyk(image) else image
        upright = turn_upright(pixels, orientation)
    # Pillow turns TIFF by itself while loading: then no orientation is left, and no draft has changed the size.
    original = upright.size if form != "JPEG" else size[::-1] if orientation >= FIRST_SIDEWAYS else size
    return upright, original


def decoded_image(image: Image.Image, max_pixels: int) -> Image.Image:
    """A caller's PIL image, loaded and upright.

    Raises:
        ImageError: It has no pixels, too many, or comes from a damaged file.
    """
    if min(image.size) < 1:
        raise ImageError(f"The image has no pixels ({image.width} x {image.height}).", "Pass one with some.")
    _refuse_size("The image", image.size, max_pixels)
    with _damage_reported("The image"):
        image.load()
        return turn_upright(image, orientation_of(image))


def to_rgb_safely(image: Image.Image, name: str) -> Image.Image:
    """:func:`to_rgb`, with an ImageError for a palette or mode that cannot be converted."""
    with _damage_reported(name):
        return to_rgb(image)


def shrink_safely(image: Image.Image, target: int, name: str) -> Image.Image:
    """:func:`~sbka_milvus.images.pixels.shrink`, with an ImageError for what cannot be converted."""
    with _damage_reported(name):
        return shrink(image, target)


def to_plain_safely(image: Image.Image, name: str) -> Image.Image:
    """:func:`to_plain`, with an ImageError for a palette or mode that cannot be converted."""
    with _damage_reported(name):
        return to_plain(image)


@contextmanager
def _damage_reported(subject: str) -> Iterator[None]:
    """Makes an ImageError of whatever the decoders raise: there is no end to what they do with broken files."""
    try:
        with no_warnings():
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{subject} is larger than the decoder allows.", "Make it smaller.") from error
    except MemoryError as error:
        raise ImageError(f"{subject} needs more memory than there is.", "Make it smaller.") from error
    except Exception as error:
        raise ImageError(
            f"{subject} is damaged, cut short, or of a rare variant that cannot be decoded.",
            "Download or export it again.",
        ) from error


def _reader_of(data: bytes, name: str) -> tuple[str, Callable[[IO[bytes]], ImageFile.ImageFile]]:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes).", "Download or export it again.")
    for form, starts, reader in _READERS:
        if data.startswith(starts) and (form != "WebP" or data[8:12] == b"WEBP"):
            return form, reader
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, offset, what in _FOREIGN:
        if head[offset : offset + len(magic)] == magic.lower():
            raise ImageError(f"{name} is {what}, which cannot be read.", f"Export it as {_KNOWN}.")
    raise ImageError(f"{name} is not an image of a known kind.", f"Use {_KNOWN}.")


def _refuse_size(name: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} = {width * height:,} pixels, more than the limit of {max_pixels:,} "
            "(SBKA_INGEST__MAX_PIXELS).",
            "Make it smaller, or raise max_pixels.",
        )


def _is_plain_cmyk(image: Image.Image) -> bool:
    # Adobe stores CMYK inverted and says so in a marker. Pillow assumes it of every JPEG, with the marker or without.
    return image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info


def _require_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise InvalidValue(f"{name} must be at least 1, not {value}.")
