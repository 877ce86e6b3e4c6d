"""Photos are found sorted, once, and without opening anything."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbka_milvus.errors import ImageError
from sbka_milvus.images import PhotoFile, find_photos
from sbka_milvus.types import photo_id


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in (
        "b.JPG",
        "a.png",
        "notes.txt",
        ".hidden.jpg",
        "cats/2.webp",
        "cats/10.tiff",
        "cats/.git/x.jpg",
        "z/y/x/1.jfif",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def names(found: Iterator[PhotoFile], root: Path) -> list[str]:
    return [os.path.relpath(file.uri, root) for file in found]


IN_ORDER = ["a.png", "b.JPG", "cats/10.tiff", "cats/2.webp", "z/y/x/1.jfif"]


def test_a_folder_gives_its_images_sorted(tree: Path) -> None:
    assert names(find_photos([tree]), tree) == IN_ORDER
    assert names(find_photos(str(tree)), tree) == IN_ORDER


def test_a_file_is_described(tree: Path) -> None:
    (file,) = find_photos([tree / "cats" / "2.webp"])
    status = (tree / "cats" / "2.webp").stat()
    assert file == PhotoFile(str(tree / "cats/2.webp"), tree / "cats/2.webp", 11, status.st_mtime_ns)
    assert photo_id(file.uri)


def test_a_named_file_is_taken_whatever_its_suffix_and_hidden_or_not(tree: Path) -> None:
    assert names(find_photos([tree / "notes.txt", tree / ".hidden.jpg"]), tree) == ["notes.txt", ".hidden.jpg"]


@pytest.mark.parametrize(
    "order",
    [["", "cats", "a.png"], ["a.png", "cats/*", "", "**/*.png"], ["**/*", "", "*.png"], ["cats", "", "cats/2.webp"]],
)
def test_overlapping_sources_give_each_photo_once(tree: Path, order: list[str]) -> None:
    found = names(find_photos([f"{tree}/{name}".rstrip("/") for name in order]), tree)
    assert sorted(found) == IN_ORDER


def test_relative_sources_become_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "cats")
    assert [file.uri for file in find_photos(["../a.png", "./2.webp"])] == [
        str(tree / "a.png"),
        str(tree / "cats/2.webp"),
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["a.png"]),
        ("*", ["a.png", "b.JPG", "cats/10.tiff", "cats/2.webp", "z/y/x/1.jfif"]),
        ("*.txt", ["notes.txt"]),
        ("cats/[0-9].webp", ["cats/2.webp"]),
        ("c?ts/*", ["cats/10.tiff", "cats/2.webp"]),
        ("**/*.jfif", ["z/y/x/1.jfif"]),
        ("**/*.png", ["a.png"]),
        ("**", IN_ORDER),
        ("z/**/x/*", ["z/y/x/1.jfif"]),
        ("**/y/**/*.jfif", ["z/y/x/1.jfif"]),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: list[str]) -> None:
    assert names(find_photos([f"{tree}/{pattern}"]), tree) == expected


def test_a_name_with_brackets_is_a_file_where_there_is_one(tree: Path) -> None:
    (tree / "a[1].png").touch()
    assert names(find_photos([tree / "a[1].png"]), tree) == ["a[1].png"]


def test_links_keep_their_spelling_and_photos_come_once(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    (tree / "cats" / "1.png").symlink_to(tree / "a.png")
    found = [file.uri for file in find_photos([tmp_path / "link", tree])]
    assert found == [str(tmp_path / "link" / name) for name in IN_ORDER]


def test_a_link_to_a_photo_elsewhere_is_a_photo(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.png").touch()
    (tree / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    assert "linked.png" in names(find_photos([tree]), tree)
    assert names(find_photos([tree, tmp_path / "elsewhere.png"]), tree).count("../elsewhere.png") == 0


def test_loops_of_links_end(tree: Path) -> None:
    (tree / "cats" / "up").symlink_to(tree)
    (tree / "cats" / "here").symlink_to(tree / "cats")
    (tree / "z" / "cats").symlink_to(tree / "cats")
    assert names(find_photos([tree]), tree) == IN_ORDER
    assert names(find_photos([f"{tree}/**/*"]), tree) == IN_ORDER


def test_what_is_not_a_file_is_told_of_in_folders_and_refused_by_name(tree: Path) -> None:
    os.mkfifo(tree / "pipe.png")
    os.mkfifo(tree / "pipe.txt")
    (tree / "device.png").symlink_to("/dev/zero")
    told: dict[str, str] = {}
    assert names(find_photos([tree], lambda path, why: told.update({path.name: why})), tree) == IN_ORDER
    assert told == dict.fromkeys(("device.png", "pipe.png"), "is a pipe, socket or device")
    with pytest.raises(ImageError, match=r"pipe\.png is a pipe, socket or device"):
        find_photos([tree / "pipe.png"])


def test_broken_links_are_reported_and_the_walk_goes_on(tree: Path) -> None:
    (tree / "aa.png").symlink_to("nowhere.png")
    (tree / "folder").symlink_to("nowhere")
    (tree / "self.png").symlink_to("self.png")
    problems: list[tuple[Path, str]] = []
    found = names(find_photos([tree], lambda path, problem: problems.append((path, problem))), tree)
    assert found == IN_ORDER
    assert [(path.name, problem.split(":")[0]) for path, problem in problems] == [
        ("aa.png", "is a broken link"),
        ("folder", "is a broken link"),
        ("self.png", "cannot be looked at"),
    ]


def test_problems_are_logged_where_nobody_listens(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "aa.png").symlink_to("nowhere.png")
    with caplog.at_level(logging.WARNING):
        assert names(find_photos([tree]), tree) == IN_ORDER
    assert f"{tree}/aa.png" in caplog.text


def test_a_name_that_no_store_can_hold_is_reported(tree: Path) -> None:
    bad = tree / "caf\udce9.png"
    bad.touch()
    problems: list[Path] = []
    assert names(find_photos([tree], lambda path, _: problems.append(path)), tree) == IN_ORDER
    assert problems == [bad]
    with pytest.raises(ImageError, match=r"caf\\udce9\.png has a path that is not valid UTF-8"):
        find_photos([bad])


@pytest.fixture
def locked_tree() -> Iterator[Path]:
    """A folder of which one sub-folder cannot be listed, by a user who is not root."""
    root = Path(tempfile.mkdtemp(prefix="images-"))
    root.chmod(0o755)
    (root / "locked").mkdir()
    (root / "locked" / "1.png").touch()
    (root / "open.png").touch()
    (root / "locked").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield root
    finally:
        os.seteuid(user)
        (root / "locked").chmod(0o755)
        shutil.rmtree(root)


def test_an_unreadable_folder_is_reported_and_the_walk_goes_on(locked_tree: Path) -> None:
    problems: list[tuple[str, str]] = []
    found = names(find_photos([locked_tree], lambda path, problem: problems.append((path.name, problem))), locked_tree)
    assert found == ["open.png"]
    assert problems == [("locked", "cannot be listed: Permission denied")]


def test_a_deep_tree_needs_no_recursion(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "1.png").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(250)  # a tree deeper than the usual limit takes seconds to make and to remove
    try:
        found = list(find_photos([tmp_path]))
    finally:
        sys.setrecursionlimit(limit)
    assert [file.path.name for file in found] == ["1.png"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("missing", "missing does not exist"),
        ("*.xyz", r"The pattern .*\*\.xyz matches no image"),
        ("**/*.xyz", "matches no image"),
        ("nul\0", "cannot be used"),
        ("broken.png", "is a broken link"),
    ],
)
def test_a_bad_source_is_refused_before_the_first_photo(tree: Path, source: str, reason: str) -> None:
    (tree / "broken.png").symlink_to("nowhere")
    with pytest.raises(ImageError, match=reason) as caught:
        find_photos([tree, tree / source])
    assert caught.value.remedy


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(ImageError, match="empty path"):
        find_photos([""])


def test_an_empty_folder_has_no_photos(tmp_path: Path) -> None:
    assert list(find_photos([tmp_path])) == []
