"""Whatever the bytes, the answer is an image or an ImageError, without a sound."""

from __future__ import annotations

import io
import random
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from sbka_milvus.errors import ImageError
from sbka_milvus.images import load_photo, load_sketch

STARTS = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x80\0\0\0WEBPVP8L", b"BM", b"II*\0", b"MM\0*", b"GIF89a")


def noise(mode: str = "RGB", side: int = 40) -> Image.Image:
    data = random.Random(5).randbytes(side * side * len(mode))
    return Image.frombytes(mode, (side, side), data)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def seeds() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    return {
        "jpeg": saved(noise(), "JPEG", exif=exif),
        "jpeg progressive": saved(noise(), "JPEG", progressive=True),
        "jpeg cmyk": saved(noise("CMYK"), "JPEG"),
        "png": saved(noise(), "PNG", exif=exif),
        "png palette": saved(noise().quantize(16), "PNG", transparency=b"\0\1\2"),
        "png animated": saved(noise(), "PNG", save_all=True, append_images=[Image.new("RGB", (40, 40))]),
        "webp": saved(noise(), "WEBP", exif=exif),
        "webp lossless": saved(noise("RGBA"), "WEBP", lossless=True),
        "bmp": saved(noise(), "BMP"),
        "bmp palette": saved(noise().quantize(16), "BMP"),
        "tiff": saved(noise(), "TIFF", exif=exif),
        "tiff lzw": saved(noise(), "TIFF", compression="tiff_lzw"),
        "tiff jpeg": saved(noise(), "TIFF", compression="jpeg"),
        "gif": saved(noise().quantize(16), "GIF", save_all=True, append_images=[noise("L")]),
    }


SEEDS = seeds()


def outcome(data: bytes) -> Image.Image | None:
    """The image, or None for an ImageError with a remedy; anything else fails the test."""
    results: list[Image.Image | None] = []
    for load in (lambda: load_photo(data, max_pixels=10**6), lambda: load_sketch(data, size=32, max_pixels=10**6)):
        try:
            results.append(load())
        except ImageError as error:
            assert error.problem
            assert error.remedy
            results.append(None)
    return results[0]


@pytest.mark.parametrize("name", SEEDS)
def test_the_whole_image_is_read(name: str) -> None:
    assert outcome(SEEDS[name]) is not None


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5])
def test_a_truncated_image_is_refused_with_a_reason(name: str, share: float) -> None:
    # Animations keep their first frame, which load_photo wants, in their first half.
    data = SEEDS[name][: max(12, int(len(SEEDS[name]) * share * (0.5 if name in ("gif", "png animated") else 1)))]
    with pytest.raises(ImageError, match=r"damaged, cut short|not an image|known kind"):
        load_photo(data)


@pytest.mark.parametrize("name", SEEDS)
def test_an_image_cut_anywhere_gives_nothing_but_an_image_error(name: str) -> None:
    data = SEEDS[name]
    for length in [*range(0, min(200, len(data)), 4), *range(200, len(data), max(1, len(data) // 30))]:
        outcome(data[:length])


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_bytes_give_nothing_but_an_image_error(name: str) -> None:
    dice = random.Random(name)
    for _ in range(60):
        data = bytearray(SEEDS[name])
        for _ in range(dice.choice((1, 2, 8, 40))):
            # Headers are where it hurts, so half of the hits land there.
            place = dice.randrange(min(150, len(data)) if dice.random() < 0.5 else len(data))
            data[place] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
        outcome(bytes(data))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(STARTS), st.binary(max_size=200))
def test_any_bytes_after_a_signature_give_nothing_but_an_image_error(start: bytes, rest: bytes) -> None:
    outcome(start + rest)


def test_the_decoders_say_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    # TIFF is left out: its C library writes to the stream by itself, and nothing in Python can stop it.
    dice = random.Random(1)
    for data in (data for name, data in SEEDS.items() if "tiff" not in name):
        for _ in range(10):
            spoilt = bytearray(data)
            spoilt[dice.randrange(len(data))] ^= 0xFF
            outcome(bytes(spoilt))
    assert capfd.readouterr() == ("", "")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claims(width: int, height: int) -> dict[str, bytes]:
    """Small files whose headers claim a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + _chunk(b"IEND", b"")
    )
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    gif = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    jpeg = bytearray(saved(noise(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 99)]
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    tiff += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + b"\0\0\0\0"
    return {"png": png, "bmp": bmp, "gif": bytes(gif), "jpeg": bytes(jpeg), "tiff": tiff}


@pytest.mark.parametrize("form", claims(1, 1))
def test_a_bomb_is_refused_by_its_header(form: str) -> None:
    for load in (load_photo, load_sketch):
        with pytest.raises(ImageError, match=r"50000 x 50000 = 2,500,000,000 pixels.*limit of 178,956,970"):
            load(claims(50000, 50000)[form])


def test_a_webp_bomb_is_refused() -> None:
    header = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + (49999).to_bytes(3, "little") * 2
    with pytest.raises(ImageError, match="larger than the decoder allows"):
        load_photo(b"RIFF" + struct.pack("<I", 4 + len(header)) + b"WEBP" + header)


def test_the_limit_is_the_callers_and_holds_for_every_source() -> None:
    image = noise(side=40)
    for source in (image, saved(image, "PNG"), saved(image, "WEBP"), saved(image, "JPEG")):
        assert load_photo(source, max_pixels=1600).size == (40, 40)
        with pytest.raises(ImageError, match=r"40 x 40 = 1,600 pixels.*limit of 1,599"):
            load_photo(source, max_pixels=1599)


def test_between_the_decoders_warning_and_its_limit_there_is_no_warning() -> None:
    # Warnings are errors in this suite. A TIFF of 100 million pixels makes the decoder warn while it loads.
    with pytest.raises(ImageError, match="damaged, cut short"):
        load_photo(claims(10000, 10000)["tiff"])


def test_the_decoders_global_settings_are_untouched() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    load_photo(SEEDS["png"])
    outcome(SEEDS["jpeg"][:300])
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
