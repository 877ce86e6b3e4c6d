"""Folders of categories are read, and names find their folders or are named as missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbka_milvus.errors import DatasetError
from sbka_milvus.images import LabelledImage, list_categories, list_images, match_categories


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "wine_bottle/2.png",
        "wine_bottle/10.JPG",
        "wine_bottle/read.me",
        "cat/1.png",
        ".cache/1.png",
        "index.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "cat" / "folder.png").mkdir()
    return tmp_path


def test_categories_are_the_folders_sorted(root: Path) -> None:
    assert list_categories(root) == ["cat", "wine_bottle"]


def test_images_come_sorted_with_their_category(root: Path) -> None:
    assert list_images(root) == [
        LabelledImage(root / "cat/1.png", "cat"),
        LabelledImage(root / "wine_bottle/10.JPG", "wine_bottle"),
        LabelledImage(root / "wine_bottle/2.png", "wine_bottle"),
    ]


def test_images_are_labelled_as_they_were_asked_for(root: Path) -> None:
    assert [image.category for image in list_images(str(root), ["Wine bottle", "cat"])] == ["Wine bottle"] * 2 + ["cat"]


def test_names_match_exactly_first_and_then_loosely() -> None:
    assert match_categories(["hot-air balloon", "Cat", "cat"], ["cat", "Cat", "hot-air_balloon"]) == {
        "hot-air balloon": "hot-air_balloon",
        "Cat": "Cat",
        "cat": "cat",
    }
    assert match_categories([], ["cat"]) == {}


def test_names_that_do_not_match_are_listed() -> None:
    with pytest.raises(DatasetError, match=r"'bat', 'cow', 'doe', 'elk', 'fox' and 1 more"):
        match_categories(["cat", "bat", "cow", "doe", "elk", "fox", "gnu"], ["cat"])
    with pytest.raises(DatasetError, match=r"'t shirt' could mean any of \['T_shirt', 't-shirt'\]"):
        match_categories(["t shirt"], ["t-shirt", "T_shirt"])
    with pytest.raises(DatasetError, match="'cat' and 'CAT' both mean the folder 'cat'"):
        match_categories(["cat", "CAT"], ["cat"])


def test_folders_that_do_not_fit_are_named(root: Path) -> None:
    (root / "empty").mkdir()
    for call, reason in (
        (lambda: list_images(root), "empty has no images"),
        (lambda: list_images(root, ["cat", "dog"]), "No folder fits 'dog'"),
        (lambda: list_categories(root / "nowhere"), "nowhere does not exist"),
        (lambda: list_categories(root / "cat" / "1.png"), "is a file"),
        (lambda: list_categories(root / "index.txt"), "index.txt is read as a file list, and there is no cname_cid"),
        (lambda: list_categories(root / "cat" / "folder.png"), "has no category folders"),
        (lambda: list_categories("nul\0"), "cannot be listed"),
    ):
        with pytest.raises(DatasetError, match=reason) as caught:
            call()
        assert caught.value.remedy
