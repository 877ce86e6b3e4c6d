"""A folder of drawings knows its options, keeps what is drawn, and lets no name out."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sbka_milvus.errors import DatasetError, OutputError
from sbka_milvus.images import list_categories
from sbka_milvus.pipelines.drawn_folder import RECORD_FILE, DrawnFolder

PICTURE = Image.new("RGB", (20, 20), "white")


def test_a_drawing_is_written_where_it_belongs_and_is_known_by_its_time(tmp_path: Path) -> None:
    folder = DrawnFolder(tmp_path / "a" / "sketches", {"size": 20})
    target = folder.target("wine bottle", "1.jpg")
    assert target == tmp_path / "a" / "sketches" / "wine bottle" / "1.jpg.png"
    assert not folder.holds(target)
    folder.write(target, PICTURE, mtime_ns=1_500_000_000_123_456_789)
    assert folder.holds(target)
    assert folder.holds(target, target.stat().st_mtime_ns)
    assert not folder.holds(target, 1_500_000_009_000_000_000)
    with Image.open(target) as image:
        assert (image.mode, image.size) == ("L", (20, 20))
    assert [path.name for path in target.parent.iterdir()] == ["1.jpg.png"], "no draft is left"
    assert list_categories(folder.root) == ["wine bottle"], "its record is no category"


def test_names_cannot_leave_the_folder_or_hide_in_it(tmp_path: Path) -> None:
    folder = DrawnFolder(tmp_path, {})
    for category, name in (("..", "x"), ("../..", "x"), ("/etc", "x"), (".git", "x"), ("", ""), ("a\\b\0", "../../y")):
        target = folder.target(category, name)
        assert target.parent.parent == tmp_path
        assert not target.name.startswith(".")
        assert not target.parent.name.startswith(".")


def test_other_options_need_another_folder(tmp_path: Path) -> None:
    DrawnFolder(tmp_path, {"size": 20, "seed": 0})
    DrawnFolder(tmp_path, {"seed": 0, "size": 20})
    with pytest.raises(DatasetError, match=r"made with other options .*'size': 20.* now .*'size': 30") as caught:
        DrawnFolder(tmp_path, {"size": 30, "seed": 0})
    assert "another folder" in caught.value.remedy


def test_what_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text("{")
    with pytest.raises(DatasetError, match=r"drawn.json is damaged"):
        DrawnFolder(tmp_path, {})
    (tmp_path / "file").touch()
    with pytest.raises((DatasetError, OutputError), match="file"):
        DrawnFolder(tmp_path / "file", {})
    (tmp_path / RECORD_FILE).unlink()
    folder = DrawnFolder(tmp_path, {})
    with pytest.raises(OutputError, match=r"1.png cannot be written"):
        folder.write(tmp_path / "file" / "1.png", PICTURE)
