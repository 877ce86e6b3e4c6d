from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.evaluation import drawn_photo, number_photos


@pytest.mark.parametrize(
    ("sketch", "photo"),
    [
        ("n01887787_1-3.png", "n01887787_1"),
        ("/s/cow/n01887787_1-12.png", "n01887787_1"),
        ("a-b-2.png", "a-b"),
        ("17.png", ""),
        ("-1.png", ""),
        ("2-dir/17.png", ""),
    ],
)
def test_the_stem_before_the_last_hyphen_is_the_photo(sketch, photo):
    assert drawn_photo(sketch) == photo


def test_sketches_get_the_number_of_their_photo():
    photos = [("cow", "p/cow/a.jpg"), ("cow", "p/cow/b.jpg"), ("ant", "p/ant/a.jpg"), ("cow", "extend/cow/a.jpg")]
    sketches = [("cow", "a-1.png"), ("ant", "a-7.png"), ("ant", "b-1.png"), ("cow", "5.png")]
    numbers, drawn = number_photos(photos, sketches)
    assert numbers.tolist() == [0, 1, 2, 0]
    assert drawn.tolist() == [0, 2, -1, -1]
    assert numbers.dtype == drawn.dtype == np.int64


def test_a_name_that_tells_nothing_is_not_the_photo_of_no_name():
    # Path(".jpg") has the stem ".jpg", so no photo is ever numbered by an empty stem.
    numbers, drawn = number_photos([("cow", ".jpg")], [("cow", "5.png")])
    assert (numbers.tolist(), drawn.tolist()) == ([0], [-1])


@pytest.mark.real_data
def test_every_sketch_of_sketchy_names_its_photo(real_data: Path):
    def files(kind: str) -> list[tuple[str, str]]:
        return [(path.parent.name, str(path)) for path in sorted((real_data / "sketchy-mini" / kind).glob("[ab]*/*"))]

    photos, sketches = files("photos"), files("sketches")
    numbers, drawn = number_photos(photos, sketches)
    assert len(set(numbers.tolist())) == len(photos)
    assert len(sketches) > 300
    assert (drawn >= 0).all()
    for (category, path), number in zip(sketches, drawn.tolist(), strict=True):
        photo = Path(photos[number][1])
        assert photos[number][0] == category
        assert Path(path).name.startswith(f"{photo.stem}-")
