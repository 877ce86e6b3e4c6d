"""A search that has no good match says so: on the screen, in JSON, on a sheet, and to a script that asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus import SketchSearch
from sbka_milvus.embeddings import Gallery
from sbka_milvus.encoders.statistics import STATISTICS_FILE, read_statistics
from sbka_milvus.errors import BundleError

Sbka = Callable[..., Any]


def sketch_of(demo: Path, category: str = "teapot") -> Path:
    return sorted((demo / "world" / "sketches" / category).iterdir())[0]


@pytest.fixture
def gallery(demo: Path, tmp_path: Path) -> Path:
    shutil.copytree(demo / "gallery", tmp_path / "gallery")
    return tmp_path / "gallery"


def test_a_search_tells_how_sure_it_is(sbka: Sbka, demo: Path, gallery: Path) -> None:
    ran = sbka("search", sketch_of(demo), "-g", gallery, "-k", "3", "--json", "--min-confidence", "0")
    assert ran.code == 0, ran.err
    found = ran.json()[0]
    assert 0.0 < found["confidence"] < 1.0
    assert found["good_match"] is True
    assert len(found["hits"]) == 3
    with SketchSearch.open(gallery) as search:
        few, many = (search(sketch_of(demo), k=k) for k in (3, 20))
    assert few.confidence == pytest.approx(found["confidence"], abs=1e-6)
    assert few.confidence == pytest.approx(many.confidence, abs=1e-6), "it does not depend on how many are shown"
    assert (len(few), len(many)) == (3, 20)


def test_no_good_match_is_said_on_the_screen_and_on_a_sheet(
    sbka: Sbka, demo: Path, gallery: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "hits.html"
    ran = sbka("search", sketch_of(demo), "-g", gallery, "--min-confidence", "1", "--sheet", sheet)
    assert ran.code == 0, ran.err
    assert "No good match: the gallery seems to hold nothing like this sketch (confidence 0." in ran.out
    assert "no good match, confidence 0." in sheet.read_text()
    ran = sbka("search", sketch_of(demo), "-g", gallery, "--min-confidence", "0")
    assert "No good match" not in ran.out
    assert "Confidence 0." in ran.out


def test_a_script_may_ask_for_an_exit_code(sbka: Sbka, demo: Path, gallery: Path) -> None:
    search = ("search", sketch_of(demo), "-g", gallery, "--json", "--fail-on-no-match", "--min-confidence")
    ran = sbka(*search, "1")
    assert ran.code == 4
    assert ran.json()[0]["good_match"] is False
    assert sbka(*search, "0").code == 0


def test_a_model_without_statistics_says_nothing_of_it(sbka: Sbka, demo: Path, gallery: Path) -> None:
    opened = Gallery.open(gallery)
    (opened.model_folder / STATISTICS_FILE).unlink()
    ran = sbka("search", sketch_of(demo), "-g", gallery, "--json")
    assert ran.code == 0, ran.err
    assert ran.json()[0]["confidence"] is ran.json()[0]["good_match"] is None
    ran = sbka("search", sketch_of(demo), "-g", gallery, "--fail-on-no-match")
    assert ran.code == 1
    assert f"sbka model statistics {opened.model_folder}" in ran.err
    assert "Traceback" not in ran.err


def test_damaged_statistics_are_told_when_a_gallery_is_opened(demo: Path, gallery: Path) -> None:
    (Gallery.open(gallery).model_folder / STATISTICS_FILE).write_bytes(b"PK no archive")
    with pytest.raises(BundleError, match=r"statistics\.npz is damaged"):
        SketchSearch.open(gallery)


def test_statistics_can_be_made_for_a_model_that_has_none(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(demo / "models" / "sbka", model)
    trained = read_statistics(model)
    assert trained is not None
    assert "tells when nothing matches" in sbka("model", "show", model).out
    (model / STATISTICS_FILE).unlink()
    assert "knows no sketches" in sbka("model", "show", model).out
    folders = ("--photos", demo / "world" / "photos", "--sketches", demo / "world" / "sketches")
    ran = sbka("model", "statistics", model, *folders, "--split", demo / "world" / "split.json", "--json")
    assert ran.code == 0, ran.err
    assert ran.json() | {"notes": 0} == {
        "sketches": len(trained.sketches), "photos": len(trained.photos), "confidence": True, "notes": 0,
    }  # fmt: skip
    made = read_statistics(model)
    assert made is not None
    assert made.sketches == pytest.approx(trained.sketches, abs=1e-5), "as the training made them"
    assert made.photos == pytest.approx(trained.photos, abs=1e-5)
    assert sbka("model", "show", model, "--json").json()["statistics"]["confidence"] is True


def test_folders_that_do_not_fit_the_model_are_refused(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(demo / "models" / "sbka", model)
    other = tmp_path / "other" / "unicorn"
    other.mkdir(parents=True)
    shutil.copy(sketch_of(demo), other / "1.png")
    ran = sbka("model", "statistics", model, "--photos", other.parent, "--sketches", other.parent)
    assert ran.code == 1
    assert "None of the sketches is of a category that the model was trained on" in ran.err
    ran = sbka("model", "statistics", tmp_path / "none", "--photos", other.parent, "--sketches", other.parent)
    assert ran.code == 1
    assert "no model bundle" in ran.err
