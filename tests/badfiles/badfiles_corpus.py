"""Files that break programs, made by code: each with what must become of it."""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

DECODED = ""
"""What is expected of a file that is a photo, however odd."""

MAX_PIXELS = 20_000_000
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: of the file, which says what is wrong with it.
        make: its bytes.
        expected: :data:`DECODED`, or a pattern of the reason why it is refused.
    """

    name: str
    make: Callable[[], bytes]
    expected: str = DECODED


def noise(mode: str = "RGB", width: int = 60, height: int = 40) -> Image.Image:
    """The same noise every time."""
    return Image.frombytes(mode, (width, height), random.Random(3).randbytes(width * height * len(mode)))


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, pixels: bytes, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of these packed rows, with more chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def flat_png(width: int, height: int) -> bytes:
    """A sound PNG of one colour, packed a thousand times and more."""
    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(1 + 3 * width)) for _ in range(height)]
    return png(width, height, b"".join(rows) + packer.flush())


def png_of_more_than_it_says() -> bytes:
    """Eight by eight pixels, and 64 MiB behind them."""
    packer = zlib.compressobj(9)
    return png(8, 8, b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush())


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif(width: int, height: int) -> bytes:
    data = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(saved(noise(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def tiff(*tags: tuple[int, int, int, int], after: bytes = b"") -> bytes:
    """A TIFF of one directory: tag, type, count, value."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + after


def tiff_of(width: int, height: int, **more: int) -> bytes:
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 99}
    values |= {int(tag): value for tag, value in more.items()}
    return tiff(*((tag, 4, 1, value) for tag, value in values.items()))


def tiff_of_itself() -> bytes:
    """Its directory is followed by itself, for ever."""
    data = bytearray(saved(noise("L"), "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    header = (
        b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"".join((n - 1).to_bytes(3, "little") for n in (width, height))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(header)) + b"WEBP" + header


def with_segment(marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment right behind its beginning."""
    data = saved(noise(), "JPEG")
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def exif_in_words() -> bytes:
    """The orientation is a text."""
    return with_segment(0xE1, b"Exif\0\0" + tiff((0x0112, 2, 4, 0x007075)))


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(noise(), "JPEG", exif=exif)


def exif_that_points_at_itself() -> bytes:
    body = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    return with_segment(0xE1, b"Exif\0\0" + body)


def without_tables() -> bytes:
    """A JPEG whose quantisation tables are gone."""
    data = saved(noise(), "JPEG")
    start = data.index(b"\xff\xdb")
    return data[:start] + data[start + 2 + struct.unpack_from(">H", data, start + 2)[0] :]


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes again five thousand times: every one is decoded over all of it."""
    data = saved(Image.new("L", (4000, 4000), 99), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    end = data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * 5000 + data[end:]


def cut(form: str, share: float, **options: object) -> Callable[[], bytes]:
    """The beginning of a sound file."""

    def make() -> bytes:
        data = saved(noise("P" if form == "GIF" else "RGB"), form, **options)
        return data[: max(1, int(len(data) * share))]

    return make


def palette_png(entries: int, index: int, *more: bytes) -> bytes:
    palette = chunk(b"PLTE", bytes(3 * entries))
    rows = zlib.compress(b"".join(b"\0" + bytes([index]) * 8 for _ in range(8)))
    return png(8, 8, rows, palette, *more, colour=3)


def gif_without_colours() -> bytes:
    data = bytearray(saved(noise("P"), "GIF"))
    data[10] &= 0x7F
    return bytes(data)


def deep_tiff(dtype: str) -> bytes:
    values = np.random.default_rng(1).integers(0, 60_000, (40, 60)).astype(dtype)
    return saved(Image.fromarray(values), "TIFF")


DAMAGED = r"is damaged, cut short, or of a rare variant"
UNKNOWN = r"is not an image of a known kind"
TOO_MANY = r"pixels, more than the limit of 20,000,000 \(SBKA_INGEST__MAX_PIXELS\)"
_RGB = noise()
_FRAMES = {"save_all": True, "append_images": [noise("L").convert("RGB"), Image.new("RGB", (60, 40))]}


def _cuts() -> list[Kind]:
    kinds = []
    for form, suffix in (
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
        ("GIF", "gif"),
    ):
        kinds.append(Kind(f"cut-to-1-byte.{suffix}", cut(form, 0.0), UNKNOWN))
        kinds += [Kind(f"cut-to-{share:.0%}.{suffix}", cut(form, share), DAMAGED) for share in (0.1, 0.5, 0.9)]
    kinds += [Kind("cut-progressive.jpg", cut("JPEG", 0.6, progressive=True), DAMAGED)]
    return kinds


KINDS = (
    # Sound files of odd forms.
    Kind("plain.jpg", lambda: saved(_RGB, "JPEG")),
    Kind("grey.jpg", lambda: saved(noise("L"), "JPEG")),
    Kind("cmyk.jpg", lambda: saved(noise("CMYK"), "JPEG")),
    Kind("progressive.jpg", lambda: saved(_RGB, "JPEG", progressive=True)),
    Kind("sideways.jpg", lambda: exif_of(6)),
    Kind("one-pixel.png", lambda: saved(noise("RGB", 1, 1), "PNG")),
    Kind("one-row.png", lambda: saved(noise("RGB", 5000, 1), "PNG")),
    Kind("one-column.jpg", lambda: saved(noise("RGB", 1, 5000), "JPEG")),
    Kind("bits.png", lambda: saved(noise("L").convert("1"), "PNG")),
    Kind(
        "sixteen-bits.png", lambda: saved(Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) * 27), "PNG")
    ),
    Kind("see-through.png", lambda: saved(noise("RGBA"), "PNG")),
    Kind("grey-see-through.png", lambda: saved(noise("LA"), "PNG")),
    Kind("palette.png", lambda: saved(_RGB.quantize(16), "PNG", transparency=b"\0\x80")),
    Kind("colour-that-means-none.png", lambda: saved(_RGB, "PNG", transparency=(0, 0, 0))),
    Kind("animated.png", lambda: saved(_RGB, "PNG", **_FRAMES)),
    Kind("animated.gif", lambda: saved(_RGB, "GIF", **_FRAMES)),
    Kind("animated.webp", lambda: saved(_RGB, "WEBP", **_FRAMES)),
    Kind("lossless.webp", lambda: saved(noise("RGBA"), "WEBP", lossless=True)),
    Kind("palette.bmp", lambda: saved(_RGB.quantize(16), "BMP")),
    Kind("lzw.tif", lambda: saved(_RGB, "TIFF", compression="tiff_lzw")),
    Kind("jpeg-in-it.tif", lambda: saved(_RGB, "TIFF", compression="jpeg")),
    Kind("fax.tif", lambda: saved(noise("L").convert("1"), "TIFF", compression="group4")),
    Kind("cmyk.tif", lambda: saved(noise("CMYK"), "TIFF")),
    Kind("pages.tif", lambda: saved(_RGB, "TIFF", **_FRAMES)),
    Kind("sixteen-bits.tif", lambda: deep_tiff("uint16")),
    Kind("floats.tif", lambda: deep_tiff("float32")),
    Kind("whole-numbers.tif", lambda: deep_tiff("int32")),
    Kind("not-a-number.tif", lambda: saved(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF")),
    # Wrong suffixes: what is in a file counts.
    Kind("png-by-its-content.jpg", lambda: saved(_RGB, "PNG")),
    Kind("jpeg-by-its-content.gif", lambda: saved(_RGB, "JPEG")),
    Kind("text.jpg", lambda: b"this is no picture", UNKNOWN),
    Kind("web-page.jpg", lambda: b"\xef\xbb\xbf\n<!DOCTYPE html><html></html>", "is a web page"),
    Kind("document.png", lambda: b"%PDF-1.7\n", "is a PDF document"),
    Kind("drawing.png", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
    Kind("phone.jpg", lambda: b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC photo"),
    Kind("new.jpg", lambda: b"\0\0\0\x18ftypavif\0\0\0\0", "is an AVIF photo"),
    Kind("archive.png", lambda: b"PK\x03\x04" + bytes(60), UNKNOWN),
    Kind("program.png", lambda: b"\x7fELF" + bytes(60), UNKNOWN),
    Kind("sound.webp", lambda: b"RIFF\x24\0\0\0WAVEfmt ", UNKNOWN),
    Kind("postscript.tif", lambda: b"%!PS-Adobe-3.0\n(x) run\n", UNKNOWN),
    # Nothing, or nothing of sense.
    Kind("empty.jpg", lambda: b"", r"is empty \(0 bytes\)"),
    Kind("zeros.jpg", lambda: bytes(4096), UNKNOWN),
    Kind("random.png", lambda: random.Random(1).randbytes(4096), UNKNOWN),
    Kind("signature-alone.png", lambda: b"\x89PNG\r\n\x1a\n", DAMAGED),
    Kind("signature-alone.jpg", lambda: b"\xff\xd8\xff", DAMAGED),
    Kind("begins-and-ends.jpg", lambda: b"\xff\xd8\xff\xd9", DAMAGED),
    Kind("random-after-signature.jpg", lambda: b"\xff\xd8\xff\xe0" + random.Random(2).randbytes(9999), DAMAGED),
    # Bombs and absurd sizes.
    Kind("claims-2500-million.png", lambda: png(50_000, 50_000, b""), TOO_MANY),
    Kind("claims-2500-million.bmp", lambda: bmp(50_000, 50_000), TOO_MANY),
    Kind("claims-2500-million.gif", lambda: gif(50_000, 50_000), TOO_MANY),
    Kind("claims-2500-million.jpg", lambda: jpeg(50_000, 50_000), TOO_MANY),
    Kind("claims-2500-million.tif", lambda: tiff_of(50_000, 50_000), TOO_MANY),
    Kind("claims-the-most.png", lambda: png(2**31 - 1, 2**31 - 1, b""), TOO_MANY),
    Kind("claims-more-than-there-is.png", lambda: png(2**32 - 1, 1, b""), TOO_MANY),
    Kind("claims-2500-million.webp", lambda: webp_of(50_000, 50_000), "is larger than the decoder allows"),
    Kind("packed-a-thousand-times.png", lambda: flat_png(5000, 3900)),
    Kind("packed-a-thousand-times-too-large.png", lambda: flat_png(5000, 4100), TOO_MANY),
    Kind("more-than-it-says.png", png_of_more_than_it_says),
    Kind(
        "text-bomb.png",
        lambda: png(8, 8, zlib.compress(bytes(200)), chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**25)))),
        DAMAGED,
    ),
    Kind(
        "profile-bomb.png",
        lambda: png(8, 8, zlib.compress(bytes(200)), chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**25)))),
        DAMAGED,
    ),
    Kind("no-width.png", lambda: png(0, 8, zlib.compress(bytes(8))), DAMAGED),
    Kind("no-height.jpg", lambda: jpeg(60, 0), DAMAGED),
    Kind("no-width.gif", lambda: gif(0, 8)),
    Kind("negative.bmp", lambda: bmp(-60, 40), TOO_MANY),
    Kind(
        "many-bytes.png",
        lambda: saved(_RGB, "PNG") + bytes(MAX_BYTES),
        r"bytes, more than the limit of 67,108,864 \(SBKA_INGEST__MAX_BYTES\)",
    ),
    # Broken parts of files that are sound otherwise.
    Kind("exif-garbage.jpg", lambda: with_segment(0xE1, b"Exif\0\0" + random.Random(4).randbytes(200))),
    Kind("exif-cut-short.jpg", lambda: with_segment(0xE1, b"Exif\0\0II*\0")),
    Kind("exif-of-itself.jpg", exif_that_points_at_itself),
    Kind("exif-orientation-99.jpg", lambda: exif_of(99)),
    Kind("exif-orientation-in-words.jpg", exif_in_words),
    Kind("profile-garbage.jpg", lambda: saved(_RGB, "JPEG", icc_profile=random.Random(5).randbytes(500))),
    Kind("profile-garbage.png", lambda: saved(_RGB, "PNG", icc_profile=random.Random(5).randbytes(500))),
    Kind("profile-part-9-of-2.jpg", lambda: with_segment(0xE2, b"ICC_PROFILE\0\x09\x02" + bytes(99))),
    Kind("adobe-cut-short.jpg", lambda: with_segment(0xEE, b"Adobe"), DAMAGED),
    Kind("comment-64k.jpg", lambda: with_segment(0xFE, b"x" * 65_533)),
    Kind(
        "segment-too-long.jpg", lambda: saved(_RGB, "JPEG")[:2] + b"\xff\xe0\xff\xff" + saved(_RGB, "JPEG")[2:], DAMAGED
    ),
    Kind("segment-of-no-length.jpg", lambda: saved(_RGB, "JPEG")[:2] + b"\xff\xe0\0\0" + saved(_RGB, "JPEG")[2:]),
    Kind("no-tables.jpg", without_tables, DAMAGED),
    Kind("palette-of-2-index-200.png", lambda: palette_png(2, 200)),
    Kind("palette-of-none.png", lambda: png(8, 8, zlib.compress(bytes(72)), colour=3), DAMAGED),
    Kind("palette-see-through-too-long.png", lambda: palette_png(2, 1, chunk(b"tRNS", bytes(256)))),
    Kind("palette-of-300.png", lambda: palette_png(300, 1), DAMAGED),
    Kind("palette-cut.bmp", lambda: saved(_RGB.quantize(16), "BMP")[:70], DAMAGED),
    Kind("no-colours.gif", gif_without_colours),
    Kind(
        "wrong-checksum.png",
        lambda: saved(_RGB, "PNG").replace(b"IHDR", b"IHDR", 1)[:29] + b"\0\0\0\0" + saved(_RGB, "PNG")[33:],
        DAMAGED,
    ),
    Kind("wrong-packing.png", lambda: png(8, 8, b"this is not packed"), DAMAGED),
    Kind("chunk-of-4-gigabytes.png", lambda: saved(_RGB, "PNG")[:33] + b"\xff\xff\xff\xffIDAT" + bytes(99), DAMAGED),
    Kind("depth-of-3-bits.png", lambda: png(8, 8, zlib.compress(bytes(200)), depth=3), DAMAGED),
    Kind("frame-beyond-the-screen.gif", lambda: gif(4, 4)),
    Kind("directory-of-itself.tif", tiff_of_itself),
    Kind("directory-far-away.tif", lambda: b"II*\0\xf0\xff\xff\x7f", DAMAGED),
    Kind("directory-of-none.tif", tiff, DAMAGED),
    Kind("strips-far-away.tif", lambda: tiff_of(100, 100, **{"273": 2**31}), DAMAGED),
    Kind("thousand-samples.tif", lambda: tiff_of(100, 100, **{"277": 1000}), DAMAGED),
    Kind("unknown-packing.tif", lambda: tiff_of(100, 100, **{"259": 60_000}), DAMAGED),
    Kind("trailing-megabyte.jpg", lambda: saved(_RGB, "JPEG") + random.Random(6).randbytes(2**20)),
    Kind("leading-byte.jpg", lambda: b"\0" + saved(_RGB, "JPEG"), UNKNOWN),
    *_cuts(),
)

ODD_NAMES = (
    *("two words.png", "line\nbreak.png", "tab\t.png", "caf\u00e9.png", "cafe\u0301.png", "\U0001f408.png", "-rf.png"),
    *(
        "\u0645\u0631\u062d\u0628\u0627.png",
        "\u202egnp.exe.png",
        'quote".png',
        "quote'.png",
        "back\\slash.png",
        "star*.png",
    ),
    *("[a].png", "{1..3}.png", "100%.png", "a#1.png", "a?b=c.png", "semi;colon.png", "$(reboot).png", "UPPER.PNG"),
    *("two.suffixes.jpg.png", f"{'long' * 60}.png", "\x01\x7f.png", "[red]markup.png"),
)
"""Names that are text and can be kept; each is a sound picture."""

NOT_TEXT = b"latin-\xe9.png"
"""A name that is no UTF-8."""


def write_corpus(folder: Path) -> dict[str, str]:
    """Writes all kinds into a folder.

    Returns:
        By name, what is expected of it.
    """
    folder.mkdir(parents=True)
    for kind in KINDS:
        (folder / kind.name).write_bytes(kind.make())
    return {kind.name: kind.expected for kind in KINDS}


def write_oddities(folder: Path) -> dict[str, str]:
    """Writes what no bytes make: names, links, devices, sizes, permissions.

    Returns:
        By name, what is expected of it: :data:`DECODED`, or a pattern of the reason.
    """
    folder.mkdir(parents=True)
    expected = dict.fromkeys(ODD_NAMES, DECODED)
    sound = saved(_RGB, "PNG")
    for name in ODD_NAMES:
        (folder / name).write_bytes(sound)
    Path(os.fsdecode(os.fsencode(folder) + b"/" + NOT_TEXT)).write_bytes(sound)
    expected[os.fsdecode(NOT_TEXT)] = "has a name that is not valid UTF-8"
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        # A path of a socket may be 107 bytes long.
        here = os.open(folder, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket.jpg")
        os.close(here)
    (folder / "device.jpg").symlink_to("/dev/zero")
    expected |= dict.fromkeys(("pipe.jpg", "socket.jpg", "device.jpg"), "is a pipe, socket or device")
    (folder / "to-itself.jpg").symlink_to("to-itself.jpg")
    (folder / "to-the-other.jpg").symlink_to("and-back.jpg")
    (folder / "and-back.jpg").symlink_to("to-the-other.jpg")
    expected |= dict.fromkeys(("to-itself.jpg", "to-the-other.jpg", "and-back.jpg"), "symbolic link|broken link")
    (folder / "to-nowhere.jpg").symlink_to("nowhere")
    expected["to-nowhere.jpg"] = "is a broken link"
    (folder / "around").mkdir()
    (folder / "around" / "and-around").symlink_to("..")
    (folder / "around" / "inside.png").write_bytes(sound)
    expected["around/inside.png"] = DECODED
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "inside.png").write_bytes(sound)
    expected["folder.jpg/inside.png"] = DECODED
    with (folder / "terabyte.png").open("wb") as file:
        file.write(sound)
        file.truncate(2**40)
    expected["terabyte.png"] = r"1,099,511,627,776 bytes, more than"
    (folder / "unreadable.png").write_bytes(sound)
    (folder / "unreadable.png").chmod(0)
    readable = os.access(folder / "unreadable.png", os.R_OK)
    expected["unreadable.png"] = DECODED if readable else "cannot be read: Permission denied"
    deep = folder.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / "deep.png").write_bytes(sound)
    expected[str((deep / "deep.png").relative_to(folder))] = DECODED
    for name in (".hidden.png", "notes.txt"):
        (folder / name).write_bytes(sound)
    return expected
