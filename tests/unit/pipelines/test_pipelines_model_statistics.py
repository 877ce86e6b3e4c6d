"""What a bundle keeps of its training: an even sample of readable pictures of seen categories."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.encoders.statistics import read_statistics
from sbka_milvus.errors import BundleError, DatasetError
from sbka_milvus.images import LabelledImage
from sbka_milvus.pipelines.model_statistics import KnownPictures, make_statistics, sample_images
from sbka_milvus.progress import SilentProgress


def images(category: str, count: int) -> list[LabelledImage]:
    return [LabelledImage(Path(category) / f"{number:03d}.png", category) for number in range(count)]


def test_a_sample_is_even_over_categories() -> None:
    everything = images("ant", 100) + images("bee", 3) + images("cat", 50)
    chosen = sample_images(everything, 23, 0)
    assert Counter(image.category for image in chosen) == {"ant": 10, "bee": 3, "cat": 10}
    assert len(set(chosen)) == 23


def test_a_sample_is_the_same_in_any_order_and_another_by_seed() -> None:
    everything = images("ant", 30) + images("bee", 30)
    assert sample_images(everything, 20, 0) == sample_images(everything[::-1], 20, 0)
    assert sample_images(everything, 20, 0) != sample_images(everything, 20, 1)


def test_a_sample_of_few_is_all_of_them() -> None:
    everything = images("ant", 3) + images("bee", 2)
    assert sample_images(everything[::-1], 10, 0) == everything
    assert sample_images([], 10, 0) == []


def test_of_more_categories_than_places_other_ones_are_drawn_by_seed() -> None:
    everything = [image for number in range(40) for image in images(f"c{number:02d}", 2)]
    one, other = (sample_images(everything, 10, seed) for seed in (0, 1))
    assert [len({image.category for image in chosen}) for chosen in (one, other)] == [10, 10]
    assert one != other


def test_pictures_are_parted_by_category_whatever_the_spelling() -> None:
    everything = images("Polar Bear", 2) + images("ant", 2) + images("moon", 2)
    known = KnownPictures.of_training(everything, everything, ["polar_bear"], ["ANT"])
    assert {image.category for image in known.sketches} == {"Polar Bear"}
    assert {image.category for image in known.held_photos} == {"ant"}
    assert not any(image.category == "moon" for part in (known.photos, known.held_sketches) for image in part)


def test_folders_of_other_categories_are_refused_by_name() -> None:
    with pytest.raises(DatasetError, match=r"None of the sketches .* 'ant'"):
        KnownPictures.of_training(images("moon", 2), images("ant", 2), ["ant"], [])
    with pytest.raises(DatasetError, match=r"None of the photos .* 'ant'"):
        KnownPictures.of_training(images("ant", 2), images("moon", 2), ["ant"], [])


@pytest.fixture
def encoder(make_encoder: Any) -> Any:
    return make_encoder()


@pytest.fixture
def folder(tmp_path: Path, encoder: Any) -> Path:
    """A bundle's folder as far as statistics know it."""
    manifest = Manifest(
        name="grid", backbone="timm:grid", preprocessing={}, dim=encoder.dim, fingerprint="grid-1", weights_digest="-"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text(manifest.model_dump_json())
    return tmp_path / "model"


def draw(root: Path, kind: str, category: int, number: int) -> LabelledImage:
    """A line of the category's own slope; a photo has a coloured ground."""
    rng = np.random.default_rng([category, number, kind == "photos"])
    ground = tuple(rng.integers(170, 250, 3).tolist()) if kind == "photos" else (255, 255, 255)
    picture = Image.new("RGB", (32, 32), ground)
    x, y = rng.integers(-3, 4, 2).tolist()
    turn = category / 18 * np.pi
    away = 13 * np.array([np.cos(turn), np.sin(turn)])
    ImageDraw.Draw(picture).line((16 + x - away[0], 16 + y - away[1], 16 + x + away[0], 16 + y + away[1]), 0, 4)
    path = root / kind / f"c{category:02d}" / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return LabelledImage(path, path.parent.name)


@pytest.fixture
def world(tmp_path: Path) -> dict[str, list[LabelledImage]]:
    return {
        kind: [draw(tmp_path, kind, category, number) for category in range(18) for number in range(4)]
        for kind in ("sketches", "photos")
    }


def known(world: dict[str, list[LabelledImage]], n_trained: int = 12) -> KnownPictures:
    names = [f"c{number:02d}" for number in range(18)]
    return KnownPictures.of_training(world["sketches"], world["photos"], names[:n_trained], names[n_trained:])


def test_vectors_of_trained_categories_and_the_confidence_are_kept(
    folder: Path, world: dict[str, list[LabelledImage]], encoder: Any
) -> None:
    report = make_statistics(folder, known(world), encoder, 32, SilentProgress())
    kept = read_statistics(folder)
    assert kept is not None
    assert report.notes == ()
    assert (len(kept.sketches), len(kept.photos), kept.dim) == (48, 48, encoder.dim)
    assert kept.confidence is not None
    assert (kept.confidence["trained_categories"], kept.confidence["scaled_on"]) == (12, 6)
    assert json.loads(json.dumps(kept.confidence)) == kept.confidence
    before = (folder / "statistics.npz").read_bytes()
    make_statistics(folder, known(world), encoder, 32, SilentProgress())
    assert (folder / "statistics.npz").read_bytes() == before, "the same pictures make the same file"


def test_a_model_of_few_categories_knows_sketches_and_no_confidence(
    folder: Path, world: dict[str, list[LabelledImage]], encoder: Any
) -> None:
    report = make_statistics(folder, known(world, 4), encoder, 32, SilentProgress())
    assert report.statistics.confidence is None
    assert "too few" in report.notes[0]
    kept = read_statistics(folder)
    assert kept is not None
    assert len(kept.sketches) == 16


def test_pictures_that_cannot_be_read_are_left_out(
    folder: Path, world: dict[str, list[LabelledImage]], encoder: Any
) -> None:
    world["photos"][0].path.write_text("no picture")
    report = make_statistics(folder, known(world), encoder, 32, SilentProgress())
    assert len(report.statistics.photos) == 47


def test_what_cannot_be_made_is_told(folder: Path, world: dict[str, list[LabelledImage]], encoder: Any) -> None:
    for image in world["sketches"]:
        image.path.write_text("no picture")
    with pytest.raises(DatasetError, match="None of the 48 pictures"):
        make_statistics(folder, known(world), encoder, 32, SilentProgress())
    with pytest.raises(DatasetError, match="no sketches or no photos"):
        make_statistics(folder, KnownPictures([], world["photos"]), encoder, 32, SilentProgress())
    assert read_statistics(folder) is None
    with pytest.raises(BundleError):
        read_statistics(folder.parent)
