"""A share of the seen photos, drawn by seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbka_milvus.errors import DatasetError
from sbka_milvus.images import Split
from sbka_milvus.pipelines.generalised import draw_seen_photos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for category, count in (("ant", 5), ("bee", 20), ("hot-air balloon", 30), ("cow", 10)):
        (tmp_path / category).mkdir()
        for number in range(count):
            (tmp_path / category / f"{number:02d}.jpg").touch()
    return tmp_path


def test_a_fifth_of_the_seen_photos_is_drawn(root):
    split = Split("s", seen=("bee", "Hot Air Balloon"), unseen=("ant",))
    drawn = draw_seen_photos(root, split, 0.2, 0)
    assert len(drawn) == len({image.path for image in drawn}) == 10
    assert {image.category for image in drawn} <= {"bee", "Hot Air Balloon"}
    assert all(image.path.is_file() for image in drawn)


def test_the_seed_chooses_and_the_same_seed_chooses_the_same(root):
    split = Split("s", seen=("bee",), unseen=("ant",))
    first, again, other = (draw_seen_photos(root, split, 0.5, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_where_the_split_names_no_seen_category_all_others_are_seen(root):
    drawn = draw_seen_photos(root, Split("s", (), ("ant", "Hot_Air_Balloon")), 1.0, 0)
    assert {image.category for image in drawn} == {"bee", "cow"}
    assert len(drawn) == 30


def test_a_small_share_is_one_photo(root):
    assert len(draw_seen_photos(root, Split("s", ("cow",), ("ant",)), 0.001, 0)) == 1


def test_no_seen_category_is_an_error(root):
    with pytest.raises(DatasetError, match="no folder of a seen category"):
        draw_seen_photos(root, Split("s", (), ("ant", "bee", "cow", "hot-air balloon")), 0.2, 0)
    with pytest.raises(DatasetError, match="No folder fits 'dog'"):
        draw_seen_photos(root, Split("s", ("dog",), ("ant",)), 0.2, 0)
