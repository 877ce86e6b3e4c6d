import numpy as np
import pytest
from PIL import Image

from sbka_milvus.errors import ImageError
from sbka_milvus.sheets.pictures import fit_tile, flatten, resize_within


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_images_of_every_mode_become_rgb(mode):
    plain = flatten(Image.new(mode, (3, 2)), "photo")
    assert (plain.mode, plain.size) == ("RGB", (3, 2))


def test_transparent_parts_become_white():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (200, 0, 0, 255))
    plain = flatten(image, "sketch")
    assert [plain.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 0, 0)]


def test_sixteen_bits_are_scaled_to_eight():
    image = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16))
    plain = flatten(image, "photo")
    assert [plain.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_metadata_stays_behind():
    image = Image.new("RGB", (2, 2))
    image.info["comment"] = "taken at home"
    assert flatten(image, "photo").info == {}


def test_images_that_cannot_be_read_are_named(tmp_path):
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:500])
    with Image.open(cut) as image, pytest.raises(ImageError, match="The image of 'cut one' cannot be read"):
        flatten(image, "cut one")
    with pytest.raises(ImageError, match="'thin' has no pixels"):
        flatten(Image.new("RGB", (0, 5)), "thin")


def test_a_tile_shows_the_whole_image_in_its_middle():
    tile = fit_tile(Image.new("RGB", (100, 50), (9, 9, 9)), 40, (255, 0, 0))
    assert tile.size == (40, 40)
    assert [tile.getpixel((20, y)) for y in (0, 9, 10, 29, 30, 39)] == [
        (255, 0, 0),
        (255, 0, 0),
        (9, 9, 9),
        (9, 9, 9),
        (255, 0, 0),
        (255, 0, 0),
    ]


@pytest.mark.parametrize(
    ("size", "enlarge", "expected"),
    [
        ((100, 50), False, (40, 20)),
        ((20, 10), False, (20, 10)),
        ((20, 10), True, (40, 20)),
        ((1000, 1), False, (40, 1)),
        ((40, 3), True, (40, 3)),
    ],
)
def test_images_are_scaled_by_their_longer_side(size, enlarge, expected):
    assert resize_within(Image.new("RGB", size), 40, enlarge=enlarge).size == expected
