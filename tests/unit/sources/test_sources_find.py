"""Sources of all kinds together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.errors import ImageError, SourceError
from sbka_milvus.images import absolute_sources, find_photos, source_photos


@pytest.fixture
def world(tmp_path: Path, jpeg: Any, make_tar: Any, make_zip: Any) -> Path:
    for n in range(3):
        (tmp_path / "cats").mkdir(exist_ok=True)
        (tmp_path / "cats" / f"{n}.jpg").write_bytes(jpeg(n))
        make_tar(tmp_path / "shards" / f"{n:03d}.tar", {f"{n}.jpg": jpeg(n)})
    make_zip(tmp_path / "more.zip", {"x/1.jpg": jpeg(1), "x/2.jpg": jpeg(2)})
    (tmp_path / "m.csv").write_text("path,year\ncats/1.jpg,2021\nmore.zip!/x/2.jpg,2022\n")
    return tmp_path


def test_files_and_folders_are_found_as_before(world: Path) -> None:
    assert list(source_photos([world / "cats"])) == list(find_photos([world / "cats"]))
    assert list(source_photos(world / "cats/1.jpg")) == list(find_photos(world / "cats/1.jpg"))


def test_each_photo_comes_once_with_what_the_manifest_says(world: Path, find: Any) -> None:
    found = find(world / "cats", world / "more.zip", world / "m.csv", world / "cats/1.jpg", world / "more.zip!/x")
    assert found.names == [
        "cats/1.jpg", "more.zip!/x/2.jpg", "cats/0.jpg", "cats/2.jpg", "more.zip!/x/1.jpg",
    ]  # fmt: skip
    assert found.metadata["cats/1.jpg"] == {"year": 2021}
    assert found.metadata["more.zip!/x/2.jpg"] == {"year": 2022}
    assert found.metadata["cats/0.jpg"] is None
    assert found.problems == {}


@pytest.mark.parametrize(
    "source", ["shards/*.tar", "shards/{000..002}.tar", "sh*/0*.tar", "**/*.tar", "shards/{000,001,002}.tar"]
)
def test_patterns_of_archives(world: Path, find: Any, source: str) -> None:
    assert find(world / source).names == [f"shards/{n:03d}.tar!/{n}.jpg" for n in range(3)]


def test_a_folder_gives_its_files_and_leaves_archives_alone(world: Path, find: Any) -> None:
    assert find(world).names == ["cats/0.jpg", "cats/1.jpg", "cats/2.jpg"]


def test_relative_sources_and_rows(world: Path, find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world / "cats")
    assert find("../m.csv", "../shards/000.tar", "0.jpg").names == [
        "cats/1.jpg", "more.zip!/x/2.jpg", "shards/000.tar!/0.jpg", "cats/0.jpg",
    ]  # fmt: skip


def test_rows_that_name_nothing_of_use_are_told(world: Path, find: Any) -> None:
    os.mkfifo(world / "pipe.jpg")
    (world / "link.jpg").symlink_to("nowhere.jpg")
    rows = [
        "cats/0.jpg",
        "gone.jpg",
        "cats",
        "pipe.jpg",
        "link.jpg",
        "more.zip!/x/9.jpg",
        "gone.zip!/1.jpg",
        "",
        "cats/../cats/0.jpg",
    ]
    (world / "m.csv").write_text("path,n\n" + "".join(f"{row},{n}\n" for n, row in enumerate(rows)))
    found = find(world / "m.csv")
    assert found.names == ["cats/0.jpg"]
    assert {name: why.partition(";")[0] for name, why in found.problems.items() if name != "gone.zip!/1.jpg"} == {
        "gone.jpg": "does not exist",
        "cats": "is a folder, pipe or device",
        "pipe.jpg": "is a folder, pipe or device",
        "link.jpg": "does not exist",
        "more.zip!/x/9.jpg": "is not in the archive",
        "m.csv#row=9": "is a row that names no photo",
        "m.csv#row=10": f"is a row that names {world}/cats/0.jpg again: row 2 counts",
    }
    assert "No such file" in found.problems["gone.zip!/1.jpg"]
    assert "row 3 of" in found.problems["gone.jpg"]


def test_a_path_that_reads_like_a_members_is_refused(tmp_path: Path, find: Any, jpeg: Any) -> None:
    (tmp_path / "a.zip!").mkdir()
    (tmp_path / "a.zip!" / "1.jpg").write_bytes(jpeg(1))
    found = find(tmp_path)
    assert found.names == []
    assert "member of an archive" in found.problems["a.zip!/1.jpg"]


def test_a_file_with_braces_in_its_name_is_a_file(tmp_path: Path, find: Any, jpeg: Any) -> None:
    (tmp_path / "{1..3}.jpg").write_bytes(jpeg(1))
    assert find(tmp_path / "{1..3}.jpg").names == ["{1..3}.jpg"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("gone.tar", "does not exist"),
        ("gone.csv", "does not exist"),
        ("gone.zip!/1.jpg", "does not exist"),
        ("shards/{002..003}.tar", "003.tar does not exist"),
        ("*.tgz", "matches no file"),
        ("cats/*.csv", "matches no file"),
    ],
)
def test_a_source_that_is_not_there_is_refused_before_the_first_photo(world: Path, source: str, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        source_photos([world / "cats", world / source])


def test_a_manifest_without_photos_column_is_refused_before_the_first_photo(world: Path) -> None:
    (world / "m.csv").write_text("year\n1\n")
    with pytest.raises(SourceError, match="no column that names the photos"):
        source_photos([world / "cats", world / "m.csv"])


def test_without_a_listener_problems_are_logged(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    (world / "m.csv").write_text("path\ngone.jpg\n")
    assert list(source_photos(world / "m.csv")) == []
    assert "gone.jpg" in caplog.text


def test_absolute_sources_are_one_for_each_brace(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    assert absolute_sources("{a,b}.tar") == [f"{world}/a.tar", f"{world}/b.tar"]
    assert absolute_sources(Path("cats")) == [f"{world}/cats"]
    assert absolute_sources("s3://b/{0..1}.tar") == ["s3://b/0.tar", "s3://b/1.tar"]
