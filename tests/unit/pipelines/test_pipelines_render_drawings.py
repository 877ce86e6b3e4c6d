"""Drawings become pictures: one folder a file, named by their keys, bad lines reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.errors import DatasetError, InvalidValue
from sbka_milvus.images import render_strokes
from sbka_milvus.pipelines.render_drawings import RenderOptions, RenderReport, drawing_files, render_drawings
from sbka_milvus.progress import SilentProgress

CROSS = [[[0, 200], [0, 100]], [[0, 200], [100, 0]]]


def drawing(key: Any, recognised: bool = True, strokes: Any = CROSS) -> str:
    return json.dumps({"word": "x", "key_id": key, "recognized": recognised, "drawing": strokes})


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def render(*files: Path, out: Path, **options: Any) -> RenderReport:
    return render_drawings(files, out, RenderOptions(**{"size": 48, **options}), SilentProgress())


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


def test_each_file_is_a_category_and_each_drawing_its_key(tmp_path: Path) -> None:
    cat = write(tmp_path / "wine bottle.ndjson", drawing("51"), drawing(52), drawing("../9"), drawing(None))
    dog = write(tmp_path / "dog.ndjson", drawing("51"))
    out = tmp_path / "out"
    report = render(cat, dog, out=out)
    assert names(out) == [
        "dog/51.png", "wine bottle/51.png", "wine bottle/52.png",
        "wine bottle/line00000003.png", "wine bottle/line00000004.png",
    ]  # fmt: skip
    assert (report.made, report.kept, report.passed_over, report.bad) == (5, 0, 0, [])
    with Image.open(out / "dog" / "51.png") as image:
        expected = render_strokes([np.array([[0, 0], [200, 100]]), np.array([[0, 100], [200, 0]])], 48)
        assert np.array_equal(np.asarray(image), np.asarray(expected.convert("L")))


def test_bad_lines_are_reported_and_limits_count_pictures(tmp_path: Path) -> None:
    path = write(
        tmp_path / "cat.ndjson",
        "broken", drawing("1", recognised=False), drawing("2"), drawing("2"),
        drawing("3", strokes=[[[0, 1e200], [0, 1]]]), drawing("4"), drawing("5"),
    )  # fmt: skip
    report = render(path, out=tmp_path / "a", recognised_only=True, limit=2)
    assert names(tmp_path / "a") == ["cat/2.png", "cat/4.png"]
    assert (report.made, report.passed_over) == (2, 1)
    assert [bad.line for bad in report.bad] == [1, 4, 5]
    assert all(bad.reason.startswith(f"{path}, line {bad.line}") for bad in report.bad)
    assert "has the key 2 of a line before it" in report.bad[1].reason
    assert "not a finite number" in report.bad[2].reason
    assert render(path, out=tmp_path / "b").made == 4


def test_what_is_rendered_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.ndjson", drawing("1"), drawing("2"))
    out = tmp_path / "out"
    render(path, out=out, limit=1)
    again = render(path, out=out)
    assert (again.made, again.kept) == (1, 1)
    with pytest.raises(DatasetError, match="other options"):
        render(path, out=out, size=64)


def test_variants_are_other_drawings_that_depend_on_their_line_alone(tmp_path: Path) -> None:
    whole = write(tmp_path / "cat.ndjson", drawing("1"), drawing("2"))
    report = render(whole, out=tmp_path / "a", variants=3)
    assert names(tmp_path / "a") == [f"cat/{key}{end}.png" for key in (1, 2) for end in ("-v1", "-v2", "")]
    assert report.made == 6
    render(whole, out=tmp_path / "b", variants=2, limit=2)
    pictures = {name: (tmp_path / "a" / name).read_bytes() for name in names(tmp_path / "a")}
    assert len(set(pictures.values())) == 5, "the two drawings are the same, and no two variants"
    assert all((tmp_path / "b" / name).read_bytes() == pictures[name] for name in names(tmp_path / "b"))
    render(whole, out=tmp_path / "c", variants=2, seed=1)
    assert (tmp_path / "c" / "cat" / "1-v1.png").read_bytes() != pictures["cat/1-v1.png"]


def test_files_and_folders_of_them_may_be_named(tmp_path: Path) -> None:
    cat, dog = (write(tmp_path / "d" / f"{name}.ndjson", drawing("1")) for name in ("cat", "dog"))
    write(tmp_path / "d" / "notes.txt", "")
    assert drawing_files([tmp_path / "d"]) == [cat, dog]
    assert drawing_files([dog, cat]) == [dog, cat]
    (tmp_path / "empty").mkdir()
    for sources, reason in (
        ([tmp_path / "none.ndjson"], "does not exist"),
        ([tmp_path / "empty"], r"has no .ndjson files"),
        ([tmp_path / "d" / "notes.txt"], r"is no .ndjson file"),
        ([cat, tmp_path / "d"], "are of one category"),
    ):
        with pytest.raises(DatasetError, match=reason):
            drawing_files(sources)


@pytest.mark.parametrize("options", [{"limit": 0}, {"variants": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidValue, match=f"{next(iter(options))} must be at least 1"):
        RenderOptions(**options)
