"""Every form of photo comes out upright, RGB and of the right colours."""

from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from sbka_milvus.errors import ImageError, InvalidValue
from sbka_milvus.images import content_hash, find_photos, load_photo, load_photo_file
from sbka_milvus.images.quiet import no_warnings

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
QUARTERS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 40))  # top left, top right, bottom left and right


def picture(width: int = 64, height: int = 48) -> Image.Image:
    image = Image.new("RGB", (width, height))
    for index, colour in enumerate(QUARTERS):
        left, top = index % 2 * width // 2, index // 2 * height // 2
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def assert_picture(image: Image.Image, tolerance: int = 25) -> None:
    assert image.mode == "RGB"
    for index, colour in enumerate(QUARTERS):
        spot = (image.width * (1 + index % 2 * 2) // 4, image.height * (1 + index // 2 * 2) // 4)
        assert np.abs(np.subtract(image.getpixel(spot), colour)).max() <= tolerance, (index, image.getpixel(spot))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_from_bytes_and_from_a_file_whatever_its_suffix(form: str, tmp_path: Path) -> None:
    data = saved(picture(), form)
    path = tmp_path / "photo.dat"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        image = load_photo(source)
        assert image.size == (64, 48)
        assert_picture(image)


@pytest.mark.parametrize("form", ["PPM", "TGA", "ICO", "PCX", "SGI", "EPS", "JPEG2000", "AVIF"])
def test_other_formats_are_refused_though_the_decoder_knows_them(form: str) -> None:
    with pytest.raises(ImageError, match="JPEG, PNG, WebP, BMP, TIFF or GIF"):
        load_photo(saved(picture(), form))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7 ...", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\xef\xbb\xbf <svg xmlns=''/>", "SVG"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "known kind"),
    ],
)
def test_a_foreign_file_is_called_by_its_name(data: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=what):
        load_photo(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_undone(form: str, orientation: int) -> None:
    stored_from_upright = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = picture() if stored_from_upright is None else picture().transpose(stored_from_upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_photo(saved(stored, form, exif=exif))
    assert image.size == (64, 48)
    assert_picture(image)
    assert_picture(load_photo(image))  # nothing is left behind that would turn it again


def test_broken_exif_does_not_cost_the_photo() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x07\0\xff\xff\xff\xff\x01\0\0\0" * 3
    assert_picture(load_photo(saved(picture(), "JPEG", exif=exif)))


def test_transparency_becomes_white() -> None:
    clear_left = Image.new("L", (64, 48), 255)
    clear_left.paste(0, (0, 0, 32, 48))
    rgba = picture()
    rgba.putalpha(clear_left)
    grey = Image.merge("LA", [Image.new("L", (64, 48), 90), clear_left])
    palette = picture().quantize(8)
    left_top = palette.getpixel((0, 0))
    for source in (
        rgba,
        saved(rgba, "PNG"),
        saved(rgba, "WEBP", lossless=True),
        saved(rgba, "TIFF"),
        saved(grey, "PNG"),
        saved(palette, "PNG", transparency=left_top),
        saved(palette, "GIF", transparency=left_top),
        saved(palette, "PNG", transparency=bytes(0 if i == left_top else 255 for i in range(8))),
        saved(picture(), "PNG", transparency=QUARTERS[0]),
    ):
        image = load_photo(source)
        assert image.mode == "RGB"
        assert image.getpixel((5, 5)) == (255, 255, 255)
        assert image.getpixel((60, 5)) != (255, 255, 255)


def test_half_transparency_is_mixed_with_white() -> None:
    assert load_photo(Image.new("RGBA", (4, 4), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)


def test_palettes_bits_and_other_colour_spaces() -> None:
    assert_picture(load_photo(saved(picture().quantize(4), "PNG")))
    bits = Image.new("1", (8, 8), 1)
    assert load_photo(saved(bits, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    for mode in ("HSV", "YCbCr", "LAB", "RGBX"):
        assert_picture(load_photo(picture().convert("RGB").convert(mode) if mode != "LAB" else _lab()))


def _lab() -> Image.Image:
    from PIL import ImageCms

    return ImageCms.profileToProfile(
        picture(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )


def test_cmyk_is_read_in_both_polarities() -> None:
    cmyk = picture().convert("CMYK")
    assert_picture(load_photo(saved(cmyk, "TIFF")))
    adobe = saved(cmyk, "JPEG", quality=95)
    marker = adobe.index(b"\xff\xee\x00\x0eAdobe")
    assert_picture(load_photo(adobe))
    # Without Adobe's marker the values are stored as they are.
    inverted = saved(ImageChops.invert(cmyk), "JPEG", quality=95)
    assert inverted[marker : marker + 2] == b"\xff\xee"
    assert_picture(load_photo(inverted[:marker] + inverted[marker + 16 :]))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(form: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    image = load_photo(saved(Image.fromarray(ramp), form))
    assert np.abs(np.asarray(image)[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_thirty_two_bit_grey_is_scaled_by_the_range_it_fits() -> None:
    def brightest(values: list[float], kind: type[np.generic]) -> list[int]:
        image = load_photo(saved(Image.fromarray(np.array([values], dtype=kind)), "TIFF"))
        return np.asarray(image)[0, :, 0].tolist()

    assert brightest([0, 128, 255], np.int32) == [0, 128, 255]
    assert brightest([0, 32768, 65535], np.int32) == [0, 128, 255]
    assert brightest([-100, -20, 100], np.int32) == [0, 102, 255]
    assert brightest([0.0, 0.5, 1.0], np.float32) == [0, 128, 255]
    assert brightest([0.0, 255.0, np.nan], np.float32) == [0, 255, 0]
    assert brightest([7.0, 7.0, 7.0], np.float32) == [7, 7, 7]


def test_an_animation_gives_its_first_frame() -> None:
    frames = [picture(), Image.new("RGB", (64, 48), "black")]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        assert_picture(load_photo(saved(frames[0], form, save_all=True, append_images=frames[1:])))


def test_a_large_jpeg_is_decoded_smaller_and_never_below_the_target() -> None:
    data = saved(picture(1600, 1200), "JPEG")
    for target, size in ((150, (200, 150)), (151, (400, 300)), (700, (1600, 1200)), (5000, (1600, 1200))):
        image = load_photo(data, target_size=target)
        assert image.size == size
        assert_picture(image)
    assert load_photo(saved(picture(1600, 1200), "PNG"), target_size=150).size == (1600, 1200)


def test_a_photo_file_knows_its_hash_and_its_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(picture(1600, 1200), "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "b.tif").write_bytes(saved(picture(), "TIFF", exif=exif))
    jpeg, tiff = (load_photo_file(file, target_size=150) for file in find_photos(tmp_path))
    assert (jpeg.width, jpeg.height, jpeg.image.size) == (1200, 1600, (150, 200))
    assert jpeg.content_hash == content_hash(data)
    assert jpeg.file.size == len(data)
    assert (tiff.width, tiff.height, tiff.image.size) == (48, 64, (48, 64))


def test_the_callers_image_is_left_alone() -> None:
    image = picture()
    load_photo(image).paste("black", (0, 0, 64, 48))
    assert_picture(image, 0)


def test_a_path_that_is_no_readable_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello, I am no image")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name, reason in (
        ("missing.jpg", "does not exist"),
        ("", "is a folder"),
        ("pipe.jpg", "is a pipe"),
        ("empty.jpg", "is empty"),
        ("text.jpg", "not an image of a known kind"),
        ("loop.jpg", "cannot be read"),
        ("nul\0.jpg", "cannot be read"),
        ("x" * 300 + ".jpg", "cannot be read"),
    ):
        with pytest.raises(ImageError, match=reason) as caught:
            load_photo(tmp_path / name)
        assert str(tmp_path / name) in caught.value.problem
        assert caught.value.remedy
    with pytest.raises(ImageError, match="is a pipe, socket or device"):
        load_photo("/dev/zero")


def test_a_name_that_is_not_utf8_can_be_printed(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        load_photo(tmp_path / "caf\udce9.png")
    assert str(caught.value).encode("utf-8")


def test_a_file_too_big_for_its_pixels_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(2**34)
    with pytest.raises(ImageError, match=r"17,179,869,184 bytes"):
        load_photo(path)


def test_what_is_no_source_at_all() -> None:
    for source in (None, 3, ["a.jpg"], np.zeros((4, 4))):
        with pytest.raises(ImageError, match="is no image"):
            load_photo(source)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="no pixels"):
        load_photo(Image.new("RGB", (0, 5)))
    with pytest.raises(ImageError, match="is empty"):
        load_photo(b"")
    with pytest.raises(InvalidValue, match="target_size"):
        load_photo(picture(), target_size=0)
    with pytest.raises(InvalidValue, match="max_pixels"):
        load_photo(picture(), max_pixels=0)


def test_warnings_of_one_thread_are_not_lost_by_another() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with no_warnings(), ThreadPoolExecutor(1) as pool:
            warnings.warn("hidden", stacklevel=1)
            pool.submit(warnings.warn, "spoken").result()
        warnings.warn("afterwards", stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["spoken", "afterwards"]


def test_many_threads_decode_at_once() -> None:
    sources = [saved(picture(), form) for form in FORMATS] * 20
    with ThreadPoolExecutor(8) as pool:
        for image in pool.map(load_photo, sources):
            assert_picture(image)
