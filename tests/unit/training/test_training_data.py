"""Labelled pictures as pixels, and the pseudo-unseen categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.errors import DatasetError, ImageError
from sbka_milvus.images import LabelledImage, load_photo, load_sketch
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.data import PixelLoaders, PixelSet, TrainingData, hold_out, load_training_data

SIZE = 4
BYTES = SIZE * SIZE * 3


class Reader:
    """Reads pictures whose values are their number; knows how often, and which are bad."""

    def __init__(self, bad: Sequence[str] = ()) -> None:
        self.bad = set(bad)
        self.read: Counter[str] = Counter()

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        self.read[str(path)] += 1
        if str(path) in self.bad:
            raise ImageError(f"{path} is damaged.", "Remove it.")
        pixels = np.full((SIZE, SIZE, 3), int(path.name), dtype=np.uint8)
        pixels[0, 1] = (1, 2, 3)
        return pixels


def images(categories: str, count: int = 3) -> list[LabelledImage]:
    return [LabelledImage(Path(category) / str(number), category) for category in categories for number in range(count)]


def test_pixels_have_channels_first_and_labels_count_the_classes() -> None:
    pictures = PixelSet(images("ba"), ("a", "b"), Reader())
    assert len(pictures) == 6
    assert pictures.labels.dtype == np.int64
    assert pictures.labels.tolist() == [1, 1, 1, 0, 0, 0]
    pixels = pictures.pixels(np.array([5, 0, 5]))
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 3, SIZE, SIZE)
    assert pixels[:, 0, 2, 2].tolist() == [2, 0, 2]
    assert pixels[0, :, 0, 1].tolist() == [1, 2, 3]


def test_bad_files_are_reported_and_left_out() -> None:
    pictures = PixelSet(images("ab"), ("a", "b"), Reader(bad=["a/1", "b/2"]))
    assert pictures.rejected == [(Path("a/1"), "a/1 is damaged."), (Path("b/2"), "b/2 is damaged.")]
    assert pictures.labels.tolist() == [0, 0, 1, 1]
    assert pictures.pixels(np.arange(4))[:, 0, 3, 3].tolist() == [0, 2, 0, 1]


@pytest.mark.parametrize(("held", "rest"), [(0, 7), (2, 5), (7, 0)])
def test_no_more_is_kept_in_memory_than_allowed_and_the_rest_is_read_again(held: int, rest: int) -> None:
    reader = Reader()
    pictures = PixelSet(images("a", 7), ("a",), reader, cache_bytes=held * BYTES + BYTES // 2)
    assert set(reader.read.values()) == {1}
    pixels = pictures.pixels(np.arange(7))
    assert pixels[:, 0, 2, 2].tolist() == list(range(7))
    assert sorted(reader.read.values()) == [1] * held + [2] * rest


def test_a_file_that_became_unreadable_is_an_error() -> None:
    reader = Reader()
    pictures = PixelSet(images("a"), ("a",), reader, cache_bytes=0)
    reader.bad.add("a/2")
    assert len(pictures.pixels(np.array([0, 1]))) == 2
    with pytest.raises(DatasetError, match="a/2 is damaged"):
        pictures.pixels(np.array([1, 2]))


def test_progress_counts_every_file_once() -> None:
    done: list[int] = []
    PixelSet(images("ab", 50), ("a", "b"), Reader(bad=["a/3"]), advance=done.append)
    assert sum(done) == 100
    assert len(done) > 1


@pytest.mark.parametrize(
    ("count", "share", "held"), [(4, 0.1, 2), (100, 0.1, 10), (10, 0.25, 2), (10, 0.5, 5), (2, 0.0, 0), (10, 0.8, 8)]
)
def test_held_out_categories_are_a_share_and_at_least_two(count: int, share: float, held: int) -> None:
    names = [f"c{number:03}" for number in range(count)]
    train, kept_back = hold_out(names, share, seed=0)
    assert len(kept_back) == held
    assert sorted(train + kept_back) == names
    assert list(train) == sorted(train)


def test_the_choice_depends_on_the_seed_alone() -> None:
    names = [f"c{number}" for number in range(30)]
    assert hold_out(names, 0.2, seed=1) == hold_out(names[::-1], 0.2, seed=1)
    assert hold_out(names, 0.2, seed=1) != hold_out(names, 0.2, seed=2)


@pytest.mark.parametrize(("count", "share"), [(0, 0.0), (1, 0.0), (3, 0.1), (10, 0.9)])
def test_too_few_categories_are_an_error(count: int, share: float) -> None:
    with pytest.raises(DatasetError, match=f"{count} seen categories are too few") as caught:
        hold_out([str(number) for number in range(count)], share, seed=0)
    assert "validation share" in caught.value.remedy


def load(
    photos: list[LabelledImage], sketches: list[LabelledImage], reader: Reader, *, validation_share: float = 0.4
) -> TrainingData:
    loaders = PixelLoaders(reader, reader)
    return load_training_data(
        photos, sketches, loaders, validation_share=validation_share, seed=0, progress=SilentProgress()
    )


def test_training_data_are_split_by_category() -> None:
    reader = Reader(bad=["a/0", "d/1"])
    data = load(images("abcde"), images("edcba", 2), reader)
    assert sorted(data.classes + data.validation_classes) == list("abcde")
    assert len(data.validation_classes) == 2
    for names, photos, sketches in (
        (data.classes, data.photos, data.sketches),
        (data.validation_classes, data.validation_photos, data.validation_sketches),
    ):
        bad = len({"a", "d"} & set(names))
        assert (len(photos), len(sketches)) == (3 * len(names) - bad, 2 * len(names) - bad)
        assert set(photos.labels) == set(sketches.labels) == set(range(len(names)))
    assert sorted(str(path) for path, _ in data.rejected) == ["a/0", "a/0", "d/1", "d/1"]
    assert set(reader.read.values()) <= {1, 2}


@pytest.mark.parametrize(
    ("photos", "sketches", "problem"),
    [("abcd", "abc", "1 categories have no sketches, for example 'd'"), ("ab", "abcd", "2 categories have no photos")],
)
def test_a_category_without_photos_or_sketches_is_an_error(photos: str, sketches: str, problem: str) -> None:
    reader = Reader()
    with pytest.raises(DatasetError, match=problem):
        load(images(photos), images(sketches), reader)
    assert not reader.read, "it is noticed before anything is read"


@pytest.mark.parametrize("category", list("abcde"))
def test_a_category_of_which_nothing_can_be_read_is_an_error_wherever_it_falls(category: str) -> None:
    """One of the five is held out for validation, another is trained on."""
    other = "b" if category == "a" else "a"
    reader = Reader(bad=[f"{other}/0", f"{category}/2"])
    sketches = [image for image in images("abcde") if image.path != Path(category) / "2"]
    only = [image for image in images("abcde") if image.category != category or image.path.name == "2"]
    with pytest.raises(DatasetError, match=f"None of the photos of '{category}' can be read: {category}/2 is damaged"):
        load(only, sketches, reader)


PREPARE = Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A checkerboard of single pixels, which 16 pixels cannot show, beside a white strip that makes it wide."""
    board = np.indices((32, 32)).sum(axis=0) % 2 * 255
    path = tmp_path / "board.png"
    Image.fromarray(np.hstack([np.full((32, 4), 255), board, np.full((32, 4), 255)]).astype(np.uint8)).save(path)
    return path


def test_of_the_student_s_size_loaders_read_as_the_model_will_serve(picture: Path) -> None:
    loaders = PixelLoaders.of_sizes(PREPARE, 16, 16)
    assert loaders.held_out is None, "all pictures are read alike"
    assert np.array_equal(loaders.photo(picture), PREPARE.pixels(load_photo(picture, target_size=16)))
    assert np.array_equal(loaders.sketch(picture), PREPARE.pixels(load_sketch(picture, size=16)))


def test_of_a_larger_teacher_s_size_photos_keep_what_the_student_s_cannot_hold(picture: Path) -> None:
    loaders = PixelLoaders.of_sizes(PREPARE, 32, 16)
    small, large = PixelLoaders.of_sizes(PREPARE, 16, 16).photo(picture), loaders.photo(picture)
    assert large.shape == (32, 32, 3)
    assert np.array_equal(large[:, :, 0], np.indices((32, 32)).sum(axis=0) % 2 * 255), "the same centre is cut"
    assert large.std() > 120
    assert small[2:-2, 2:-2].std() < 5, "of the student's size it is grey"
    assert loaders.sketch(picture).shape == (16, 16, 3)
    assert loaders.held_out is not None
    assert np.array_equal(loaders.held_out.photo(picture), small), "the epoch is chosen as the model will serve"


def test_held_out_pictures_are_read_as_they_are_asked_to_be() -> None:
    trained, measured = Reader(), Reader()
    loaders = PixelLoaders(trained, trained, PixelLoaders(measured, measured))
    data = load_training_data(
        images("abcde"), images("abcde"), loaders, validation_share=0.4, seed=0, progress=SilentProgress()
    )
    assert {path[0] for path in trained.read} == set(data.classes)
    assert {path[0] for path in measured.read} == set(data.validation_classes)
