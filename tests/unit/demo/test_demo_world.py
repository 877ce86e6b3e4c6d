"""The demo world on disk: what is drawn, when it is kept, when it is drawn again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.demo import CATEGORIES, World, draw_world
from sbka_milvus.errors import DatasetError, SettingsError

SIZE = 40
COUNTS = {"photos": 2, "sketches": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return draw_world(tmp_path_factory.mktemp("world"), **COUNTS, size=SIZE)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob("*/*")}


def test_every_category_has_its_photos_and_sketches(world: World) -> None:
    assert not world.reused
    assert names(world.photos) == {f"{spec.name}/{i:03d}.jpg" for spec in CATEGORIES for i in range(2)}
    assert names(world.sketches) == {f"{spec.name}/000.png" for spec in CATEGORIES}


def test_pictures_are_rgb_of_the_size_asked_for(world: World) -> None:
    for path in [*world.photos.glob("*/000.jpg"), *world.sketches.glob("*/000.png")]:
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("RGB", (SIZE, SIZE)), path


def test_split_has_the_form_of_a_data_set_split(world: World) -> None:
    split = json.loads(world.split.read_text(encoding="utf-8"))
    assert sorted(split) == ["name", "seen", "unseen"]
    seen, unseen = set(split["seen"]), set(split["unseen"])
    assert len(seen) >= 24
    assert len(unseen) >= 6
    assert not seen & unseen
    assert seen | unseen == {folder.name for folder in world.photos.iterdir()}


def test_unseen_categories_are_fixed_and_spread_over_the_families() -> None:
    unseen = [spec for spec in CATEGORIES if spec.unseen]
    assert {spec.name for spec in unseen} == {
        "bicycle",
        "butterfly",
        "cactus",
        "fish",
        "lighthouse",
        "mushroom",
        "teapot",
        "umbrella",
    }
    for family in {spec.family for spec in unseen}:
        assert any(spec.family == family and not spec.unseen for spec in CATEGORIES), family


def test_category_names_are_distinct() -> None:
    assert len({spec.name for spec in CATEGORIES}) == len(CATEGORIES) >= 32


def test_two_processes_draw_the_same_bytes_as_one(world: World, tmp_path: Path) -> None:
    draw_world(tmp_path, **COUNTS, size=SIZE, processes=2)
    assert digests(tmp_path) == digests(world.root)


def test_a_picture_does_not_depend_on_how_many_there_are(world: World, tmp_path: Path) -> None:
    other = draw_world(tmp_path, photos=1, sketches=1, size=SIZE)
    theirs = digests(world.root)
    drawn = {name: digest for name, digest in digests(other.root).items() if name.endswith((".jpg", ".png"))}
    assert drawn == {name: theirs[name] for name in drawn}


def test_another_seed_draws_other_pictures(world: World, tmp_path: Path) -> None:
    other = draw_world(tmp_path, photos=1, sketches=1, size=SIZE, seed=1)
    theirs = digests(world.root)
    changed = [name for name, digest in digests(other.root).items() if digest != theirs[name]]
    assert len(changed) == 2 * len(CATEGORIES) + 1


def test_instances_of_a_category_differ(world: World) -> None:
    for folder in world.photos.iterdir():
        first, second = (np.asarray(Image.open(folder / f"{i:03d}.jpg"), dtype=np.int16) for i in range(2))
        assert np.abs(first - second).mean() > 5, folder.name


class TestAFinishedWorld:
    """Kept where it is whole and wanted, drawn again where it is not. Each test mends the world it harms."""

    @pytest.fixture
    def small(self, tmp_path_factory: pytest.TempPathFactory) -> World:
        return draw_world(tmp_path_factory.getbasetemp() / "small", photos=1, sketches=1, size=32)

    def again(self, small: World, **changes: int) -> tuple[World, list[tuple[int, int]]]:
        calls: list[tuple[int, int]] = []
        wanted = {"photos": 1, "sketches": 1, "size": 32} | changes
        return draw_world(small.root, **wanted, progress=lambda done, total: calls.append((done, total))), calls

    def test_is_kept(self, small: World) -> None:
        stamp = (small.root / "world.json").stat().st_mtime_ns
        world, calls = self.again(small)
        assert world.reused
        assert calls == []
        assert (small.root / "world.json").stat().st_mtime_ns == stamp

    @pytest.mark.parametrize("lost", ["sketches/fish/000.png", "split.json", "world.json"])
    def test_is_drawn_again_where_a_file_is_empty(self, small: World, lost: str) -> None:
        before = digests(small.root)
        (small.root / lost).write_bytes(b"")
        world, calls = self.again(small)
        assert not world.reused
        assert calls == [(2 * (i + 1), 2 * len(CATEGORIES)) for i in range(len(CATEGORIES))]
        assert digests(small.root) == before

    def test_is_drawn_again_where_a_file_is_missing(self, small: World) -> None:
        (small.photos / "car" / "000.jpg").unlink()
        world, _ = self.again(small)
        assert not world.reused
        assert (small.photos / "car" / "000.jpg").is_file()

    def test_is_drawn_again_after_it_was_broken_off(self, small: World) -> None:
        stamp = json.loads((small.root / "world.json").read_text(encoding="utf-8"))
        (small.root / "world.json").write_text(json.dumps(stamp | {"complete": False}), encoding="utf-8")
        world, _ = self.again(small)
        assert not world.reused
        assert json.loads((small.root / "world.json").read_text(encoding="utf-8")) == stamp

    def test_gives_way_to_one_of_other_parameters_and_leaves_nothing_behind(self, small: World) -> None:
        more, _ = self.again(small, photos=2)
        assert not more.reused
        assert len(names(more.photos)) == 2 * len(CATEGORIES)
        (more.photos / "car" / "notes.txt").write_text("mine", encoding="utf-8")
        fewer, _ = self.again(small)
        assert not fewer.reused
        assert names(fewer.photos) == {f"{spec.name}/000.jpg" for spec in CATEGORIES} | {"car/notes.txt"}


def test_pictures_of_something_else_are_not_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "photos" / "car" / "000.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"a holiday")
    with pytest.raises(DatasetError, match="no demo world"):
        draw_world(tmp_path, photos=1, sketches=1, size=32)
    assert mine.read_bytes() == b"a holiday"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(DatasetError, match="file"):
        draw_world(tmp_path / "file" / "world", photos=1, sketches=1, size=32)


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos" / "car" / "000.jpg").mkdir(parents=True)
    (tmp_path / "world.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"car/000\.jpg"):
        draw_world(tmp_path, photos=1, sketches=1, size=32)


@pytest.mark.parametrize(
    ("name", "value"),
    [("photos", 0), ("sketches", 0), ("photos", 1000), ("size", 31), ("size", 4096), ("seed", -1), ("processes", 0)],
)
def test_a_number_out_of_range_is_refused_by_name(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {value}"):
        draw_world(tmp_path / "w", **({"photos": 1, "sketches": 1} | {name: value}))
    assert not (tmp_path / "w").exists()
