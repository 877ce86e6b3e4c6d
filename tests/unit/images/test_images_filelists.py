"""The published file lists give what folders by category give, and what is wrong with them is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbka_milvus.errors import DatasetError
from sbka_milvus.images import (
    LabelledImage,
    Split,
    file_list_images,
    list_categories,
    list_images,
    without_doubles,
)
from sbka_milvus.images.filelists import read_classes

# Of each data set: its folder of lists, how the lists of photos and sketches begin, and where the pictures lie.
LAYOUTS = {
    "sketchy25": (
        "Sketchy/zeroshot1",
        ("all_photo_filelist", "sketch_tx_000000000000_ready_filelist"),
        ("256x256/photo/tx_000000000000_ready/{}/n02_{}.jpg", "256x256/sketch/tx_000000000000_ready/{}/n02_{}-1.png"),
    ),
    "sketchy21": (
        "Sketchy/zeroshot0",
        ("all_photo_filelist", "sketch_tx_000000000000_ready_filelist"),
        ("EXTEND_image_sketchy_ready/{}/n02_{}.jpg", "256x256/sketch/tx_000000000000_ready/{}/n02_{}-1.png"),
    ),
    "tuberlin": (
        "TUBerlin/zeroshot",
        ("ImageResized_ready_filelist", "png_ready_filelist"),
        ("ImageResized_ready/{}/{}.JPEG", "png_ready/{}/{}.png"),
    ),
    "quickdraw": (
        "QuickDraw/zeroshot",
        ("all_photo", "sketch"),
        ("images/{}/image_{:05d}.jpg", "sketches/{}/{}.png"),
    ),
}
SEEN, UNSEEN = ("cat", "alarm clock"), ("wine_bottle", "palm tree")


@pytest.fixture(params=sorted(LAYOUTS))
def lists(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Path]:
    """A small tree of one data set: its lists by modality and part, and the folder of the lists."""
    folder, names, places = LAYOUTS[request.param]
    home = tmp_path / folder
    home.mkdir(parents=True)
    for file, classes in (("cname_cid.txt", SEEN), ("cname_cid_zero.txt", UNSEEN)):
        (home / file).write_text("".join(f"{name} {identity}\n" for identity, name in enumerate(classes)))
    found = {"home": home}
    for kind, name, place in zip(("photos", "sketches"), names, places, strict=True):
        for part, classes in (("train", SEEN), ("zero", UNSEEN)):
            lines = []
            for number in (2, 1):
                for identity, category in enumerate(classes):
                    relative = place.format(category, number)
                    path = home.parent / relative
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                    lines.append(f"{relative} {identity}\n")
            found[f"{kind}_{part}"] = home / f"{name}_{part}.txt"
            found[f"{kind}_{part}"].write_text("".join(lines))
    return found


def test_lists_give_what_the_folders_give(lists: dict[str, Path]) -> None:
    """The folders by category of the very same pictures are the other reader."""
    for kind in ("photos", "sketches"):
        for part, classes in (("train", SEEN), ("zero", UNSEEN)):
            listed = list_images(lists[f"{kind}_{part}"])
            assert listed == list_images(listed[0].path.parents[1], sorted(classes))
            assert list_categories(lists[f"{kind}_{part}"]) == sorted(classes)
            assert len(listed) == 4


def test_the_folder_of_the_lists_is_the_split(lists: dict[str, Path]) -> None:
    split = Split.load(lists["home"])
    assert (split.seen, split.unseen) == (SEEN, UNSEEN)
    assert split.name == f"{lists['home'].parent.name}/{lists['home'].name}"
    assert split.digest == Split("any", SEEN, UNSEEN).digest
    assert [i.category for i in list_images(lists["photos_train"], split.seen)] == ["cat"] * 2 + ["alarm clock"] * 2
    with pytest.raises(DatasetError, match="No class of the list fits 'wine_bottle', 'palm tree'"):
        list_images(lists["photos_train"], split.unseen)


def test_names_match_as_those_of_folders_do(lists: dict[str, Path]) -> None:
    found = list_images(lists["sketches_zero"], ["Palm_Tree"])
    assert {image.category for image in found} == {"Palm_Tree"}
    assert len(found) == 2


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A list of one's own, with the classes ``cat 0`` and ``wine bottle 7``, over pictures a/1.png and a b/2.png."""
    home = tmp_path / "set" / "lists"
    home.mkdir(parents=True)
    for name in ("a/1.png", "a b/2.png", "EXTEND_a/1.png"):
        (home.parent / name).parent.mkdir(exist_ok=True)
        (home.parent / name).touch()

    def make(content: str | bytes, classes: str | bytes = "cat 0\nwine bottle 7\n") -> Path:
        for name, text in (("photos_train.txt", content), ("cname_cid.txt", classes)):
            (home / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return home / "photos_train.txt"

    return make


def test_windows_lines_blank_lines_and_a_byte_order_mark_do_not_matter(write: Write, tmp_path: Path) -> None:
    path = write("\ufeffa b/2.png 7\r\n\r\n  \n./a/../a/1.png 0", "\ufeffcat 0\r\nwine bottle 7\r\n\r\n")
    root = tmp_path / "set"
    expected = [LabelledImage(root / "a/1.png", "cat"), LabelledImage(root / "a b/2.png", "wine bottle")]
    assert list_images(path) == expected
    assert list_images(str(path), ["wine bottle", "cat"]) == expected[::-1]


def test_an_image_listed_twice_is_one_image(write: Write) -> None:
    assert len(list_images(write("a/1.png 0\n./a/1.png 0\n"))) == 1


def test_a_list_may_lie_elsewhere_than_its_data(write: Write, tmp_path: Path) -> None:
    path = write("a/1.png 0\n")
    (tmp_path / "far").mkdir()
    elsewhere = tmp_path / "far" / "lists"
    path.parent.rename(elsewhere)
    with pytest.raises(DatasetError, match=r"line 1: .*/far/a/1.png does not exist"):
        list_images(elsewhere / path.name)
    assert file_list_images(elsewhere / path.name, root=tmp_path / "set") == [
        LabelledImage(tmp_path / "set" / "a/1.png", "cat")
    ]
    (tmp_path / "set" / "lists").symlink_to(elsewhere)
    assert [image.path for image in list_images(path)] == [tmp_path / "set" / "a/1.png"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a/1.png 0\na/1.png\n", r"photos_train.txt, line 2: 'a/1.png' is not image, space, id"),
        ("a/1.png cat\n", "line 1: 'a/1.png cat' is not image"),
        ("a/1.png -1\n", "line 1: .* is not image"),
        ("a/1.png ١\n", "line 1: .* is not image"),
        (" 0\n", "line 1: '0' is not image"),
        ("\n\na/1.png 3\n", "line 3: .*cname_cid.txt has no id 3"),
        ("../b/1.png 0\n", "line 1: the path '../b/1.png' leaves"),
        ("a/../../b.png 0\n", "line 1: the path .* leaves"),
        ("/etc/1.png 0\n", "line 1: the path '/etc/1.png' leaves"),
        ("a/1.png 0\na/1.png 7\n", "line 2: 'a/1.png' is 'wine bottle' here and 'cat' in line 1"),
        ("a/1.png 0\nb/1.png 0\n", r"line 2: .*/set/b/1.png does not exist\."),
        ("a/9.png 0\nb/1.png 0\na/1.png 0\n", r"line 1: .* does not exist \(2 of 3 listed images are missing\)"),
        ("", "photos_train.txt lists no image"),
        (b"a/1.png 0\na/\xe9.png 0\n", "line 2: it is not UTF-8"),
        ("a/\0.png 0\n", "line 1: it holds a NUL"),
    ],
)
def test_what_is_wrong_with_a_list_is_named_with_its_line(content: str | bytes, reason: str, write: Write) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        list_images(write(content))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ("cat 0\ndog 0\n", "cname_cid.txt, line 2: the id 0 is 'cat' already"),
        ("cat 0\ndog 1\ncat 2\n", "line 3: the class 'cat' stands in line 1, too"),
        ("cat\n", "line 1: 'cat' is not class, space, id"),
        ("\n", "cname_cid.txt names no class"),
    ],
)
def test_what_is_wrong_with_the_classes_is_named_with_its_line(classes: str, reason: str, write: Write) -> None:
    with pytest.raises(DatasetError, match=reason):
        list_images(write("a/1.png 0\n", classes))


def test_missing_files_are_named(write: Write, tmp_path: Path) -> None:
    path = write("a/1.png 0\n")
    for call, reason in (
        (lambda: list_images(path.with_name("none.txt")), "none.txt does not exist"),
        (lambda: list_images(path.with_name("photos_zero.txt")), "cname_cid_zero.txt does not exist"),
        (lambda: Split.load(path.parent), "cname_cid_zero.txt does not exist"),
        (lambda: read_classes(tmp_path), "cannot be read"),
        (lambda: list_images(path, ["wine bottle"]), "No class of the list fits 'wine bottle'"),
    ):
        with pytest.raises(DatasetError, match=reason):
            call()
    path.with_name("cname_cid.txt").unlink()
    with pytest.raises(DatasetError, match=r"is read as a file list, and there is no cname_cid.txt beside it"):
        list_images(path)


def test_doubles_go_only_where_the_original_stays(write: Write) -> None:
    photos = list_images(write("EXTEND_a/1.png 0\na/1.png 0\na b/2.png 7\n"))
    assert [image.path.parent.name for image in photos] == ["EXTEND_a", "a", "a b"]
    assert [image.path.parent.name for image in without_doubles(photos)] == ["a", "a b"]
    extended = [image for image in photos if image.path.parent.name == "EXTEND_a"]
    assert without_doubles(extended) == extended
    other = LabelledImage(Path("x/1.png"), "dog")
    assert without_doubles([*extended, other]) == [*extended, other], "of another class"
    same = [LabelledImage(Path(f"{folder}/1.png"), "cat") for folder in "xy"]
    assert without_doubles(same) == same, "neither is an extension"


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), min_size=1, unique=True))
def test_any_names_come_back_in_their_order(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("classes") / "cname_cid.txt"
    path.write_text("".join(f"{name} {number}\n" for number, name in enumerate(names)), encoding="utf-8", newline="")
    assert list(read_classes(path).values()) == names
