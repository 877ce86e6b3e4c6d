"""A drawing gives nearly the same raster whatever it is drawn on and with."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from sbka_milvus.errors import EmptySketch, ImageError, InvalidValue
from sbka_milvus.images import load_sketch, normalise_sketch

Ink = NDArray[np.float64]
SIDE = 256
ACROSS = np.linspace(0, 1, SIDE)[None, :]
DOWN = np.linspace(0, 1, SIDE)[:, None]


def drawing() -> Ink:
    """A cat of a kind: shape (256, 256), 0 for ground to 1 for ink, soft edges."""
    canvas = Image.new("L", (SIDE * 4, SIDE * 4), 0)
    pen = ImageDraw.Draw(canvas)
    pen.ellipse((280, 360, 760, 800), outline=255, width=12)
    pen.line(
        [(320, 460), (300, 240), (440, 380), (600, 380), (740, 240), (720, 460)], fill=255, width=12, joint="curve"
    )
    pen.ellipse((420, 500, 480, 560), outline=255, width=10)
    pen.ellipse((560, 500, 620, 560), outline=255, width=10)
    pen.line([(460, 680), (520, 640), (580, 680)], fill=255, width=12)
    return np.asarray(canvas.reduce(4)) / 255.0


INK = drawing()


def image_of(levels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def coloured(ground: tuple[int, int, int], ink: tuple[int, int, int]) -> Image.Image:
    return image_of(np.array(ground) * (1 - INK[..., None]) + np.array(ink) * INK[..., None])


def transparent(ink: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGBA", (SIDE, SIDE), ink)
    image.putalpha(image_of(INK * 255))
    return image


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def sheet() -> Image.Image:
    """White paper with round corners on a transparent canvas."""
    image = Image.new("RGBA", (SIDE, SIDE))
    ImageDraw.Draw(image).rounded_rectangle((2, 2, 253, 253), 40, fill=(255, 255, 255, 255))
    image.paste((20, 20, 90, 255), mask=image_of(INK * 255))
    return image


def noise(sigma: float) -> NDArray[np.float64]:
    return np.random.default_rng(7).normal(0, sigma, (SIDE, SIDE))


FORMS: dict[str, Callable[[], Image.Image]] = {
    "light on dark": lambda: image_of(255 * INK),
    "one band": lambda: image_of(255 - 255 * INK).convert("L"),
    "grey with alpha": lambda: image_of(255 - 255 * INK).convert("LA"),
    "palette": lambda: image_of(255 - 255 * INK).quantize(32),
    "black on transparent": lambda: transparent((0, 0, 0)),
    "white on transparent": lambda: transparent((255, 255, 255)),
    "orange on transparent": lambda: transparent((250, 160, 20)),
    "half-transparent ink": lambda: Image.merge("RGBA", [*Image.new("RGB", (SIDE, SIDE)).split(), image_of(INK * 90)]),
    "paper with transparent corners": sheet,
    "yellow on white": lambda: coloured((255, 255, 255), (255, 225, 40)),
    "red on blue": lambda: coloured((0, 0, 255), (255, 0, 0)),
    "white on sky blue": lambda: coloured((150, 190, 230), (255, 255, 255)),
    "grey ground": lambda: coloured((128, 128, 128), (20, 20, 20)),
    "JPEG": lambda: jpeg(image_of(255 - 255 * INK), 30),
    "faint pencil": lambda: image_of(240 - 30 * INK),
    "faint pencil, grain": lambda: image_of(235 - 40 * INK + noise(3)),
    "uneven light, grain": lambda: image_of(250 - 80 * ACROSS * DOWN - 80 * INK + noise(3)),
    "vignette, JPEG": lambda: jpeg(image_of(240 - 150 * ((ACROSS - 0.5) ** 2 + (DOWN - 0.5) ** 2) - 90 * INK), 40),
    "bold ink, coarse grain": lambda: image_of(220 - 200 * INK + noise(9)),
    "black and white chalk on grey": lambda: image_of(140 - INK * np.where(ACROSS < 0.5, 130, -110)),
    "dust": lambda: image_of(250 - 250 * np.maximum(INK, np.random.default_rng(7).random((SIDE, SIDE)) < 0.0008)),
    "large canvas": lambda: image_of(np.pad(255 - 255 * INK, 120, constant_values=255)),
    "sixteen bits": lambda: Image.fromarray(((1 - INK) * 65535).astype(np.uint16)),
}


def darkness(image: Image.Image) -> NDArray[np.float64]:
    assert image.mode == "RGB"
    assert np.ptp(np.asarray(image), axis=2).max() == 0
    return 1 - np.asarray(image)[:, :, 0] / 255.0


REFERENCE = darkness(normalise_sketch(image_of(255 - 255 * INK)))


def widened(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each pixel as dark as the darkest within two: a crop that differs by a pixel moves a line by as much."""
    return np.asarray(image_of(levels * 255).filter(ImageFilter.MaxFilter(5))) / 255.0


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_nearly_the_same_raster(form: str) -> None:
    found = darkness(normalise_sketch(FORMS[form]()))
    kept = np.minimum(REFERENCE, widened(found)).sum() / REFERENCE.sum()
    true = np.minimum(found, widened(REFERENCE)).sum() / found.sum()
    assert kept > 0.95
    assert true > 0.95
    assert found.sum() == pytest.approx(REFERENCE.sum(), rel=0.3)  # faint ink is as dark as bold ink


@pytest.mark.parametrize(
    "form", ["light on dark", "black on transparent", "white on transparent", "one band", "red on blue"]
)
def test_clean_forms_agree_pixel_by_pixel(form: str) -> None:
    assert np.abs(darkness(normalise_sketch(FORMS[form]())) - REFERENCE).max() < 0.03


def test_what_compression_leaves_around_strokes_is_not_ink() -> None:
    found = darkness(normalise_sketch(jpeg(image_of(255 - 255 * INK), 15)))
    assert ((found > 0) & (REFERENCE == 0)).mean() < 0.022


def test_the_ground_is_white_and_the_ink_fills_the_square_inside_the_margin() -> None:
    for size, margin in ((224, 0.08), (128, 0.2), (64, 0.0)):
        found = darkness(normalise_sketch(image_of(255 - 255 * INK), size=size, margin=margin))
        assert found.shape == (size, size)
        rows, columns = np.nonzero(found > 0.2)
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        assert extent == pytest.approx(size * (1 - 2 * margin), abs=3)
        for places in (rows, columns):
            assert places.min() + places.max() + 1 == pytest.approx(size, abs=3)
        assert (found[: int(size * margin)] == 0).all()
        assert np.median(found) == 0


def test_the_aspect_is_kept() -> None:
    canvas = Image.new("L", (400, 300), 255)
    ImageDraw.Draw(canvas).rectangle((20, 100, 339, 180), outline=0, width=3)
    rows, columns = np.nonzero(darkness(normalise_sketch(canvas)) > 0.2)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(320 / 81, rel=0.05)


def test_thin_lines_of_a_large_canvas_survive() -> None:
    canvas = Image.new("L", (2400, 2400), 255)
    ImageDraw.Draw(canvas).line([(200, 300), (2200, 700), (900, 2100), (200, 300)], fill=0, width=2)
    found = darkness(normalise_sketch(canvas))
    middle = found[:, 60:160].max(axis=0)
    assert middle.min() > 0.4


def test_soft_edges_stay_soft() -> None:
    share = ((REFERENCE > 0.1) & (REFERENCE < 0.9)).sum() / (REFERENCE > 0.1).sum()
    assert share > 0.2


def test_silhouettes_are_ink_and_not_ground() -> None:
    opaque = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(opaque).ellipse((20, 20, 180, 180), fill=30)
    clear = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(clear).ellipse((20, 20, 180, 180), fill=(10, 120, 10, 255))
    for image in (opaque, clear):
        found = darkness(normalise_sketch(image))
        assert found[112, 112] == 1
        assert found[2, 2] == 0


def test_a_dark_frame_does_not_turn_the_sheet_into_ink() -> None:
    framed = np.pad(255 - 255 * INK, 6, constant_values=0)
    assert darkness(normalise_sketch(image_of(framed))).mean() < 0.2


def blank_sheets() -> dict[str, Image.Image]:
    paper = 235 - 40 * ACROSS + 0 * DOWN
    tinted = np.stack([paper + noise(4) + tint for tint in (0, -5, -20)], axis=2)
    return {
        "white": Image.new("RGB", (64, 64), "white"),
        "black": Image.new("L", (64, 64), 0),
        "transparent": Image.new("RGBA", (64, 64)),
        "transparent white": Image.new("RGBA", (64, 64), (255, 255, 255, 0)),
        "one pixel": Image.new("RGB", (1, 1), "white"),
        "a row": Image.new("RGB", (300, 1), "white"),
        "grain": image_of(235 + noise(4)),
        "grain, uneven": image_of(paper + noise(5)),
        "tinted": image_of(tinted),
        "tinted JPEG": jpeg(image_of(tinted), 30),
        "dust": image_of(250 - 250.0 * (np.random.default_rng(7).random((SIDE, SIDE)) < 0.0005)),
    }


@pytest.mark.parametrize("sheet_name", blank_sheets())
def test_a_sheet_without_ink_is_an_empty_sketch(sheet_name: str) -> None:
    with pytest.raises(EmptySketch, match="no ink") as caught:
        normalise_sketch(blank_sheets()[sheet_name])
    assert caught.value.remedy


def test_arrays_of_every_kind() -> None:
    grey = np.rint(255 - 255 * INK).astype(np.uint8)
    clear = np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), 255 - grey])
    exact = [grey, np.dstack([grey] * 3), grey.astype(np.float32) / 255, grey / 255.0, clear, np.asfortranarray(grey)]
    for array in exact:
        assert np.abs(darkness(load_sketch(array)) - REFERENCE).max() < 0.03
    ink, ground = (darkness(load_sketch(mask)) for mask in (INK > 0.5, INK <= 0.5))
    assert np.array_equal(ink, ground)
    assert np.abs(ink - REFERENCE).mean() < 0.05  # without soft edges lines are wider


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4,)), r"shape \(4,\)"),
        (np.zeros((4, 4, 2)), r"shape \(4, 4, 2\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros((9, 2)), "points of a stroke"),
        (np.zeros((8, 8), np.int64), "int64"),
        (np.full((8, 8), "a"), "<U1"),
        (np.full((8, 8), 2.0), r"outside \[0, 1\]"),
        (np.full((8, 8), np.nan), r"outside \[0, 1\]"),
    ],
)
def test_bad_arrays_are_refused(array: NDArray[np.generic], reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        load_sketch(array)
    assert caught.value.remedy


def test_files_and_bytes_keep_their_transparency_and_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    transparent((255, 255, 255)).save(path)
    for source in (path, str(path), path.read_bytes()):
        assert np.abs(darkness(load_sketch(source)) - REFERENCE).max() < 0.03
    Image.new("RGBA", (64, 64)).save(path)
    with pytest.raises(EmptySketch, match=r"cat\.png has no ink"):
        load_sketch(path)
    with pytest.raises(ImageError, match="does not exist"):
        load_sketch(tmp_path / "dog.png")


def test_a_sketch_photographed_sideways_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image_of(255 - 255 * INK).transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    for source in (buffer.getvalue(), Image.open(buffer)):
        assert np.abs(darkness(load_sketch(source)) - REFERENCE).max() < 0.03


def test_the_callers_image_is_left_alone() -> None:
    image = image_of(255 - 255 * INK)
    before = image.tobytes()
    normalise_sketch(image)
    assert image.tobytes() == before


def test_normalising_twice_changes_little() -> None:
    once = normalise_sketch(image_of(235 - 40 * INK))
    assert np.abs(darkness(normalise_sketch(once)) - darkness(once)).mean() < 0.01


def test_what_is_no_sketch_and_no_canvas() -> None:
    for source in (None, 3, {"a": 1}):
        with pytest.raises(ImageError, match="is no sketch"):
            load_sketch(source)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="size"):
        normalise_sketch(image_of(INK), size=0)
    with pytest.raises(InvalidValue, match="margin"):
        load_sketch(image_of(INK), margin=0.5)
