"""Sketches made from photos: mirrored folders, kept work, bad photos named, one seed one drawing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from sbka_milvus.errors import DatasetError, InvalidValue
from sbka_milvus.images import LabelledImage, list_images, load_sketch
from sbka_milvus.pipelines.make_sketches import MakeOptions, MakeReport, make_sketches
from sbka_milvus.progress import Advance, SilentProgress

SMALL = MakeOptions(size=64)


class Counting(SilentProgress):
    """Remembers the stages and how far they came."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        self.stages.append((name, total))

        def advance(steps: int = 1, note: str = "") -> None:
            self.done += steps

        yield advance


def save(path: Path, number: int = 0, size: tuple[int, int] = (120, 90)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (200, 210, 220))
    ImageDraw.Draw(image).ellipse((20 + number, 20, 90, 70 + number), (90, 40, 30))
    image.save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number, name in enumerate(("cat/1.jpg", "cat/1.png", "wine bottle/x.jpg")):
        save(root / name, number)
    return root


def make(photos: Path, out: Path, options: MakeOptions = SMALL) -> MakeReport:
    return make_sketches(list_images(photos), out, options, SilentProgress())


def test_sketches_mirror_the_photos(photos: Path, tmp_path: Path) -> None:
    progress = Counting()
    out = tmp_path / "sketches"
    report = make_sketches(list_images(photos), out, SMALL, progress)
    assert report.sketches == (
        LabelledImage(out / "cat" / "1.jpg.png", "cat"),
        LabelledImage(out / "cat" / "1.png.png", "cat"),
        LabelledImage(out / "wine bottle" / "x.jpg.png", "wine bottle"),
    )
    assert list_images(out) == list(report.sketches), "a data set that training reads"
    assert (report.made, report.rejected) == (3, ())
    assert (progress.stages, progress.done) == ([("Drawing photos", 3)], 3)
    assert load_sketch(report.sketches[0].path, size=64).size == (64, 64)


def test_what_is_drawn_is_kept_and_what_changed_is_drawn_anew(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "sketches"
    first = make(photos, out)
    before = {image.path: (image.path.stat().st_ino, image.path.read_bytes()) for image in first.sketches}
    first.sketches[1].path.unlink()
    changed = save(photos / "wine bottle" / "x.jpg", 30)
    os.utime(changed, ns=(10**18, 10**18))
    again = make(photos, out)
    assert again.sketches == first.sketches
    assert again.made == 2
    kept, restored, redrawn = (image.path for image in again.sketches)
    assert kept.stat().st_ino == before[kept][0]
    assert restored.read_bytes() == before[restored][1]
    assert redrawn.read_bytes() != before[redrawn][1]
    assert make(photos, out).made == 0


def test_bad_photos_are_named_and_the_others_are_drawn(photos: Path, tmp_path: Path) -> None:
    (photos / "cat" / "bad.jpg").write_bytes(b"no photo")
    Image.new("RGB", (90, 90), "grey").save(photos / "cat" / "blank.png")
    Image.new("RGB", (5, 5), "grey").save(photos / "cat" / "tiny.png")
    report = make_sketches(
        [*list_images(photos), LabelledImage(photos / "cat" / "gone.jpg", "cat")],
        tmp_path / "s", SMALL, SilentProgress(),
    )  # fmt: skip
    assert report.made == 3
    reasons = {path.name: reason for path, reason in report.rejected}
    assert set(reasons) == {"bad.jpg", "blank.png", "tiny.png", "gone.jpg"}
    assert all(str(path) in reason for path, reason in report.rejected)
    assert "shows no lines" in reasons["blank.png"]
    assert "too small" in reasons["tiny.png"]
    assert "No such file" in reasons["gone.jpg"]


def test_a_drawing_depends_on_seed_and_place_in_its_category_alone(photos: Path, tmp_path: Path) -> None:
    def drawn(out: str, root: Path = photos, **options: int) -> bytes:
        chosen = MakeOptions(size=64, **options)
        return make(root, tmp_path / out, chosen).sketches[0].path.read_bytes()

    elsewhere = tmp_path / "elsewhere"
    for name in ("cat/1.jpg", "dog/2.jpg"):
        save(elsewhere / name)
    first = drawn("a")
    assert first == drawn("b", threads=1) == drawn("c", elsewhere)
    assert first != drawn("d", seed=1)


def test_photos_that_would_share_a_sketch_are_refused(tmp_path: Path) -> None:
    images = [LabelledImage(save(tmp_path / folder / "1.jpg"), "cat") for folder in "ab"]
    with pytest.raises(DatasetError, match=r"a/1.jpg and .*b/1.jpg have one category and file name"):
        make_sketches(images, tmp_path / "s", SMALL, SilentProgress())


def test_sizes_that_make_no_sense_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="size"):
        make(photos, tmp_path / "s", MakeOptions(size=8))
