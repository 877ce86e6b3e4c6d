"""Drawings of Quick, Draw!: read as a stream, found again by their place, taken as sketches, cut where asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbka_milvus.errors import DatasetError, ImageError, InvalidValue
from sbka_milvus.images import (
    Drawing,
    LabelledImage,
    Split,
    list_categories,
    list_images,
    load_drawing,
    load_sketch,
    partial,
    read_drawings,
    render_strokes,
)
from sbka_milvus.images.drawings import MAX_LINE, BadLine, file_of, list_drawings

SIMPLE = {
    "word": "cat", "countrycode": "VE", "timestamp": "2017-03-02 23:25:10.07453 UTC", "recognized": True,
    "key_id": "5201136883597312", "drawing": [[[130, 113, 99], [72, 40, 27]], [[76, 28], [49, 35]]],
}  # fmt: skip
RAW = {"word": "cat", "recognized": False, "drawing": [[[0.5, 9.25], [3, 4.5], [0, 120]], [[7], [7], [300]]]}


def line(content: Any) -> str:
    return json.dumps(content) + "\n"


def write(path: Path, *lines: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(one if isinstance(one, bytes) else one.encode() for one in lines))
    return path


def read(path: Path) -> tuple[list[Drawing], list[BadLine]]:
    bad: list[BadLine] = []
    return list(read_drawings(path, bad.append)), bad


def test_both_published_forms_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.ndjson", line(SIMPLE), "\n", line(RAW))
    (simple, raw), bad = read(path)
    assert bad == []
    assert (simple.key, simple.word, simple.recognised, simple.line) == ("5201136883597312", "cat", True, 1)
    assert [stroke.tolist() for stroke in simple.strokes] == [[[130, 72], [113, 40], [99, 27]], [[76, 49], [28, 35]]]
    assert (raw.key, raw.recognised, raw.line) == ("", False, 3)
    assert [stroke.tolist() for stroke in raw.strokes] == [[[0.5, 3], [9.25, 4.5]], [[7, 7]]], "times are left out"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[1]", "has no 'drawing'"),
        (line({"word": "cat"}), "has no 'drawing'"),
        (line({"drawing": {"x": 1}}), "has no 'drawing'"),
        (line({"drawing": [[[0, 1], [0]]]}), "Stroke 1 has x and y of different lengths"),
        (line({"drawing": [[[0, 1]]]}), "Stroke 1 is not of the form"),
        (line({"drawing": [[["a"], ["b"]]]}), "Stroke 1 is not made of numbers"),
        (line({"drawing": []}), "a drawing without points"),
        (line({"drawing": [[[], []]]}), "a drawing without points"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_are_read(bad: str | bytes, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path / "cat.ndjson", line(SIMPLE), bad, "\n", line(RAW))
    drawings, problems = read(path)
    assert [drawing.line for drawing in drawings if drawing.line in (1, drawings[-1].line)] == [1, drawings[-1].line]
    assert len(drawings) == 2
    assert len(problems) == 1
    assert (problems[0].file, problems[0].line) == (path, 2)
    assert problems[0].reason.startswith(f"{path}, line 2")
    assert reason in problems[0].reason


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path / "cat.ndjson", line(SIMPLE), b"x" * (2 * MAX_LINE + 9) + b"\n", line(RAW), b"y" * MAX_LINE + b"y"
    )
    drawings, problems = read(path)
    assert [drawing.line for drawing in drawings] == [1, 3]
    assert [(bad.line, "longer than 8,388,608 bytes" in bad.reason) for bad in problems] == [(2, True), (4, True)]
    assert load_drawing(drawings[1].place).strokes[1].tolist() == [[7, 7]]


def test_a_drawing_is_found_by_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.ndjson", "\n", line(SIMPLE), line({**SIMPLE, "word": "käse"}), line(RAW))
    for drawing in read(path)[0]:
        found = load_drawing(drawing.place)
        assert (found.key, found.word, found.recognised) == (drawing.key, drawing.word, drawing.recognised)
        assert all(np.array_equal(one, two) for one, two in zip(found.strokes, drawing.strokes, strict=True))
    assert drawing.place == path / str(1 + len(line(SIMPLE)) + len(line({**SIMPLE, "word": "käse"})))
    assert file_of(drawing.place) == path
    assert file_of(path) == path


def test_no_drawing_is_found_where_there_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.ndjson", line(SIMPLE))
    for place, reason in (
        (path / "5", "cat.ndjson/5 is not valid JSON"),
        (path / "99999", "cat.ndjson/99999 is not valid JSON"),
        (path / ("9" * 40), "cannot be read"),
        (tmp_path / "dog.ndjson" / "0", "dog.ndjson/0 cannot be read"),
    ):
        with pytest.raises(ImageError, match=reason) as caught:
            load_sketch(place)
        assert caught.value.remedy


def test_a_drawing_is_a_sketch_like_any_other(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.ndjson", line(SIMPLE))
    expected = np.asarray(render_strokes(read(path)[0][0].strokes, 96, margin=0.1))
    assert np.array_equal(np.asarray(load_sketch(path / "0", size=96, margin=0.1)), expected)
    assert np.array_equal(np.asarray(load_sketch(str(path / "0"), size=96, margin=0.1)), expected)
    nan = write(tmp_path / "dog.ndjson", '{"drawing": [[[0, NaN], [0, 1]]]}\n')
    with pytest.raises(ImageError, match=r"dog.ndjson/0: Stroke 1 has a coordinate that is not a finite number"):
        load_sketch(nan / "0")


def test_a_folder_of_drawings_counts_like_a_folder_of_sketches(tmp_path: Path) -> None:
    cat = write(tmp_path / "cat.ndjson", line(SIMPLE), line(RAW), line(SIMPLE))
    write(tmp_path / ".dog.ndjson", line(SIMPLE))
    write(tmp_path / "wine_bottle" / "1.png")
    bottle = write(tmp_path / "wine_bottle.ndjson", line(SIMPLE))
    assert list_categories(tmp_path) == ["cat", "wine_bottle"]
    found = list_images(tmp_path, ["Wine Bottle", "cat"])
    third = str(len(line(SIMPLE)) + len(line(RAW)))
    assert found == [
        LabelledImage(tmp_path / "wine_bottle" / "1.png", "Wine Bottle"),
        LabelledImage(bottle / "0", "Wine Bottle"),
        LabelledImage(cat / "0", "cat"),
        LabelledImage(cat / third, "cat"),
    ]
    assert [image.file for image in found] == [tmp_path / "wine_bottle" / "1.png", bottle, cat, cat]
    Split("small", ("cat",), ("wine bottle",))
    write(tmp_path / "empty.ndjson", line(RAW))
    with pytest.raises(DatasetError, match=r"empty.ndjson has no recognised drawing"):
        list_images(tmp_path)
    with pytest.raises(DatasetError, match=r"nowhere.ndjson does not exist"):
        list_drawings(tmp_path / "nowhere.ndjson")
    with pytest.raises(DatasetError, match="cannot be read"):
        list_drawings(tmp_path / "wine_bottle")


def test_a_category_takes_the_first_drawings_and_broken_lines_come_to_light_later(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.ndjson", "broken\n", *[line(SIMPLE)] * 5)
    places = list_drawings(path, limit=3)
    assert [int(place.name) for place in places] == [0, 7, 7 + len(line(SIMPLE))]
    with pytest.raises(ImageError, match=r"cat.ndjson/0 is not valid JSON"):
        load_sketch(places[0])


CROSS = [np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), np.zeros((0, 2)), np.array([[0.0, 2.0], [2.0, 0.0]])]


@pytest.mark.parametrize(
    ("share", "lengths"),
    [(0.0, []), (0.2, [1]), (0.21, [2]), (0.6, [3]), (0.61, [3, 1]), (0.8, [3, 1]), (1.0, [3, 2])],
)
def test_a_partial_drawing_has_its_first_points(share: float, lengths: list[int]) -> None:
    drawn = partial(CROSS, share)
    assert [len(stroke) for stroke in drawn] == lengths
    for stroke, whole in zip(drawn, [CROSS[0], CROSS[2]], strict=False):
        assert np.array_equal(stroke, whole[: len(stroke)])


def test_a_share_is_not_rounded_up_by_the_error_of_floats() -> None:
    assert sum(map(len, partial([np.zeros((30, 2))], 0.1))) == 3


@given(st.lists(st.integers(0, 7), max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_more_is_drawn_later_and_nothing_is_changed(counts: list[int], one: float, other: float) -> None:
    strokes = [np.arange(2.0 * count).reshape(count, 2) for count in counts]
    early, late = (partial(strokes, share) for share in sorted((one, other)))
    assert sum(map(len, early)) <= sum(map(len, late)) <= sum(counts)
    assert len(early) <= len(late)
    for first, second in zip(early, late, strict=False):
        assert np.array_equal(first, second[: len(first)])
    whole = partial(strokes, 1.0)
    assert [len(stroke) for stroke in whole] == [count for count in counts if count]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(InvalidValue, match="share must be from 0 to 1"):
        partial(CROSS, share)
