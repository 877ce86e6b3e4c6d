"""The sketches of a training: by hand, made from photos, or mixed in a share; never where an epoch is chosen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from sbka_milvus.errors import DatasetError, SettingsError
from sbka_milvus.images import LabelledImage, Split, list_images
from sbka_milvus.pipelines.training_sketches import (
    TrainingSketches,
    remove_cache,
    require_sketches,
    training_sketches,
)
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.data import hold_out
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions

CATEGORIES = ("bar", "box", "disc", "pole", "ring")
BY_HAND = 4


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Eight photos and four sketches a category."""
    for category in CATEGORIES:
        for kind, count in (("photos", 8), ("sketches", BY_HAND)):
            folder = tmp_path / kind / category
            folder.mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (64, 64), "white")
                ImageDraw.Draw(image).rectangle((16, 16 + number, 48, 48), outline="black", fill="grey", width=2)
                image.save(folder / f"{number}.png")
    return tmp_path


def sketches_of(
    world: Path, *, by_hand: bool = True, photos: list[LabelledImage] | None = None, **options: Any
) -> TrainingSketches:
    return training_sketches(
        world / "sketches" if by_hand else None,
        list_images(world / "photos") if photos is None else photos,
        Split("toy", CATEGORIES, ("moon",)),
        TrainingOptions(**{"validation_share": 0.0, **options}),
        world / "cache",
        Team(torch.device("cpu")),
        SilentProgress(),
    )


def made_of(world: Path, found: TrainingSketches) -> Counter[str]:
    return Counter(image.category for image in found.images if image.path.is_relative_to(world / "cache"))


def test_without_the_wish_no_sketch_is_made(world: Path) -> None:
    found = sketches_of(world)
    assert found == TrainingSketches(list_images(world / "sketches", CATEGORIES))
    assert not (world / "cache").exists()


def test_without_sketches_all_are_made_and_the_user_is_told_what_that_means(world: Path) -> None:
    found = sketches_of(world, by_hand=False, pseudo_sketches=True, validation_share=0.4)
    assert made_of(world, found) == dict.fromkeys(CATEGORIES, 8)
    assert len(found.images) == 40
    (note,) = found.notes
    assert note.startswith("40 of 40 sketches were made from photos.")
    assert "says nothing of drawings by hand" in note


@pytest.mark.parametrize(("share", "each"), [(0.5, 4), (0.2, 1), (0.6, 6), (0.9, 8)])
def test_the_share_says_how_many_join_each_category(share: float, each: int, world: Path) -> None:
    found = sketches_of(world, pseudo_sketches=True, pseudo_share=share)
    assert made_of(world, found) == dict.fromkeys(CATEGORIES, each), "0.9 would be 36, and there are 8 photos"
    assert found.images[:20] == list_images(world / "sketches")
    assert found.notes == (f"{5 * each} of {20 + 5 * each} sketches were made from photos.",)


def test_categories_that_choose_the_epoch_get_none(world: Path) -> None:
    _, held = hold_out(CATEGORIES, 0.4, 7)
    found = sketches_of(world, pseudo_sketches=True, validation_share=0.4, seed=7)
    assert len(held) == 2
    assert set(made_of(world, found)) == set(CATEGORIES) - set(held)


def test_a_category_without_sketches_by_hand_gets_all(world: Path) -> None:
    for kind in ("photos",):
        (world / kind / "moon").mkdir()
        Image.open(world / kind / "box" / "0.png").save(world / kind / "moon" / "0.png")
    found = sketches_of(world, pseudo_sketches=True, validation_share=0.9 / 6)
    assert made_of(world, found)["moon"] == 1


def test_the_choice_is_the_same_again_and_other_by_another_seed(world: Path) -> None:
    def chosen(seed: int) -> list[Path]:
        found = sketches_of(world, pseudo_sketches=True, pseudo_share=0.3, seed=seed).images
        remove_cache(world / "cache")
        return [image.path for image in found]

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    assert not (world / "cache").exists()


def test_doubles_of_the_extended_photos_make_one_sketch(world: Path) -> None:
    photos = list_images(world / "photos", ["box", "bar"])
    doubles = [LabelledImage(world / "EXTEND_x" / one.category / one.path.name, one.category) for one in photos]
    found = sketches_of(world, by_hand=False, photos=[*doubles, *photos], pseudo_sketches=True)
    assert len(found.images) == 16
    assert found.rejected == ()


def test_photos_that_cannot_be_drawn_are_told(world: Path) -> None:
    bad = world / "photos" / "box" / "0.png"
    bad.write_bytes(b"no photo")
    found = sketches_of(world, by_hand=False, pseudo_sketches=True)
    assert [path for path, _ in found.rejected] == [bad]
    assert made_of(world, found)["box"] == 7
    with pytest.raises(DatasetError, match=r"No sketch could be made of the 1 photos: .*0.png is not an image"):
        sketches_of(world, by_hand=False, pseudo_sketches=True, photos=[LabelledImage(bad, "box")])


def test_there_must_be_sketches_or_leave_to_make_them(world: Path) -> None:
    with pytest.raises(SettingsError, match="no sketches to train on") as caught:
        sketches_of(world, by_hand=False)
    assert "--pseudo-sketches" in caught.value.remedy
    require_sketches("/sketches", TrainingOptions())
    require_sketches(None, TrainingOptions(pseudo_sketches=True))
