"""What a bundle knows of its training's pictures: kept whole, or told to be damaged."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.encoders.backbones import BuiltBackbone
from sbka_milvus.encoders.bundle import BundleNotes, check_target, copy_bundle, load_bundle, save_bundle
from sbka_milvus.encoders.statistics import (
    MAX_ROWS,
    STATISTICS_FILE,
    ModelStatistics,
    read_statistics,
    write_statistics,
)
from sbka_milvus.errors import BundleError, InvalidValue
from sbka_milvus.types import FloatArray, normalise

Build = Callable[..., BuiltBackbone]


def rows(count: int, dim: int, seed: int = 0) -> FloatArray:
    return normalise(np.random.default_rng(seed).normal(size=(count, dim)))


@pytest.fixture
def folder(build: Build, tmp_path: Path) -> Path:
    save_bundle(build().backbone, BundleNotes("tiny"), tmp_path / "models" / "tiny")
    return tmp_path / "models" / "tiny"


def statistics_of(folder: Path, confidence: dict[str, Any] | None = None) -> ModelStatistics:
    dim = load_bundle(folder).dim
    return ModelStatistics(rows(3, dim), rows(5, dim, 1), confidence)


def test_what_is_written_is_read(folder: Path) -> None:
    for confidence in (None, {"form": 1, "regression": {"bias": -0.5, "weights": [1.0, 2.5]}}):
        written = statistics_of(folder, confidence)
        write_statistics(folder, written)
        read = read_statistics(folder)
        assert read is not None
        assert np.array_equal(read.sketches, written.sketches)
        assert np.array_equal(read.photos, written.photos)
        assert read.confidence == confidence
        assert {str(read.sketches.dtype), str(read.photos.dtype)} == {"float32"}


def test_a_bundle_may_have_none(folder: Path) -> None:
    assert read_statistics(folder) is None
    with pytest.raises(BundleError, match="no model bundle"):
        read_statistics(folder.parent)


def test_equal_statistics_make_equal_files(folder: Path) -> None:
    contents = []
    for _ in range(2):
        write_statistics(folder, statistics_of(folder, {"form": 1}))
        contents.append((folder / STATISTICS_FILE).read_bytes())
    assert contents[0] == contents[1]


def test_they_change_no_fingerprint(folder: Path) -> None:
    before = load_bundle(folder).fingerprint
    write_statistics(folder, statistics_of(folder))
    assert load_bundle(folder).fingerprint == before


def test_the_mean_of_the_sketches() -> None:
    sketches = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    mean = ModelStatistics(sketches, sketches).sketch_mean
    assert mean.dtype == np.float64
    assert mean == pytest.approx([0.8, 0.4])


@pytest.mark.parametrize(
    ("sketches", "photos", "match"),
    [
        (rows(2, 4), rows(2, 5), "dimension 4 do not fit photos of 5"),
        (np.empty((0, 4), np.float32), rows(2, 4), "0 sketches"),
        (rows(2, 4), rows(MAX_ROWS + 1, 4), "2001 photos"),
        (rows(2, 4) * np.float32(2), rows(2, 4), "unit L2 norm"),
        (rows(2, 4).astype(np.float64), rows(2, 4), "float32"),
    ],
)
def test_a_bad_state_is_refused(sketches: Any, photos: Any, match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        ModelStatistics(sketches, photos)


def test_vectors_of_another_length_are_not_written(folder: Path) -> None:
    with pytest.raises(BundleError, match="do not fit the model"):
        write_statistics(folder, ModelStatistics(rows(2, 3), rows(2, 3)))
    assert read_statistics(folder) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(np.load(path)["photos"].tobytes())] ^= 0x01  # the rows stay unit rows
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    np.savez(path, sketches=np.array([{}], dtype=object), photos=rows(2, 2), confidence=np.zeros(1), fingerprint="x")


def incomplete(path: Path) -> None:
    np.savez(path, sketches=rows(2, 2))


def no_table(path: Path) -> None:
    content = dict(np.load(path))
    np.savez(path, **{**content, "confidence": np.frombuffer(b"[1]", dtype=np.uint8)})


def boundless(path: Path) -> None:
    """The head of each array claims some terabytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("sketches", "photos", "confidence", "fingerprint"):
            archive.writestr(f"{name}.npy", head.getvalue())


@pytest.mark.parametrize("damage", [cut, flip, empty, pickled, incomplete, no_table, boundless])
def test_a_damaged_file_is_told_by_name(folder: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_statistics(folder, statistics_of(folder))
    damage(folder / STATISTICS_FILE)
    with pytest.raises(BundleError, match=r"statistics\.npz is damaged: .*sbka model statistics"):
        read_statistics(folder)
    with pytest.raises(BundleError, match=r"statistics\.npz is damaged"):
        copy_bundle(folder, tmp_path / "gallery" / "model")


def test_statistics_of_another_model_are_told(folder: Path, build: Build, tmp_path: Path) -> None:
    write_statistics(folder, statistics_of(folder))
    other = tmp_path / "other"
    save_bundle(build("test_vit").backbone, BundleNotes("other"), other)
    shutil.copy2(folder / STATISTICS_FILE, other)
    with pytest.raises(BundleError, match="is of the model"):
        read_statistics(other)


def test_a_copied_bundle_keeps_them(folder: Path, tmp_path: Path) -> None:
    write_statistics(folder, statistics_of(folder, {"form": 1}))
    copy_bundle(folder, tmp_path / "gallery" / "model")
    read = read_statistics(tmp_path / "gallery" / "model")
    assert read is not None
    assert read.confidence == {"form": 1}


def test_statistics_made_later_are_brought_after_the_copy(folder: Path, build: Build, tmp_path: Path) -> None:
    target = tmp_path / "gallery" / "model"
    copy_bundle(folder, target)
    write_statistics(folder, statistics_of(folder, {"form": 1}))
    copy_bundle(folder, target)
    read = read_statistics(target)
    assert read is not None
    write_statistics(folder, statistics_of(folder, {"form": 2}))
    copy_bundle(folder, target)
    assert (read_statistics(target) or read).confidence == {"form": 1}, "those that are there stay"
    assert sorted(path.name for path in target.parent.iterdir()) == ["model"]
    other = tmp_path / "other"
    save_bundle(build("test_vit").backbone, BundleNotes("other"), other)
    copy_bundle(folder, other)
    assert read_statistics(other) is None, "another model's are not brought"


def test_a_bundle_with_statistics_may_be_replaced_and_loses_them(folder: Path, build: Build) -> None:
    write_statistics(folder, statistics_of(folder))
    check_target(folder)
    save_bundle(build("test_vit").backbone, BundleNotes("next"), folder)
    assert read_statistics(folder) is None
