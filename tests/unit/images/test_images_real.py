"""Real photos and human sketches, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.images import Split, find_photos, list_categories, list_images, load_photo_file, load_sketch

pytestmark = pytest.mark.real_data


def test_photos_are_decoded(real_data: Path) -> None:
    files = list(find_photos([real_data / "sketchy-mini" / "photos"]))
    assert len(files) == 3125
    for file in files[::60]:
        photo = load_photo_file(file)
        assert (photo.width, photo.height) == photo.image.size == (256, 256)


@pytest.mark.parametrize("folder", ["sketchy-mini/sketches", "quickdraw-seen"])
def test_sketches_are_normalised(real_data: Path, folder: str) -> None:
    for drawn in list_images(real_data / folder)[::40]:
        found = 1 - np.asarray(load_sketch(drawn.path))[:, :, 0] / 255.0
        rows, columns = np.nonzero(found > 0.2)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(224 * 0.84, abs=4), drawn.path
        assert 0.005 < found.mean() < 0.5, drawn.path
        assert found.max() == 1, drawn.path


@pytest.mark.parametrize(("name", "unseen"), [("sketchy_ext_25", 25), ("sketchy_ext_21", 21)])
def test_splits_fit_the_folders(real_data: Path, name: str, unseen: int) -> None:
    split = Split.load(real_data / "splits" / f"{name}.json")
    assert (split.name, len(split.unseen), len(split.seen)) == (name, unseen, 125 - unseen)
    photos = real_data / "sketchy-mini" / "photos"
    assert len(list_images(photos, split.unseen)) == unseen * 25
    assert len(list_images(photos, split.seen)) == len(split.seen) * 25
    assert set(split.seen) | set(split.unseen) == set(list_categories(photos))


@pytest.mark.parametrize("name", ["tuberlin_ext_30", "quickdraw_ext_30"])
def test_splits_of_other_data_sets_are_read(real_data: Path, name: str) -> None:
    assert len(Split.load(real_data / "splits" / f"{name}.json").unseen) == 30
