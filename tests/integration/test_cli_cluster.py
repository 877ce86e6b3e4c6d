"""Joining, drift and ``sbka cluster`` as a user meets them: a real network, real embedded Milvus, real files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sbka_milvus import Gallery, SketchSearch
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.factory import gallery_clusters, recluster_gallery
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings

Sbka = Callable[..., Any]


def draw(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        cells = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(cells).resize((64, 64), Image.Resampling.NEAREST).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def model(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights: no gallery here asks for more than that equal pictures have equal vectors."""
    folder = tmp_path_factory.mktemp("model") / "model"
    request = BuildRequest(BackboneSpec.parse("timm:test_efficientnet"), weights, size=64)
    import_model(request, folder, "tiny", SilentProgress())
    return folder


@pytest.fixture
def gallery(sbka: Sbka, model: Path, tmp_path: Path) -> Path:
    """Forty photos, version 1."""
    folder = tmp_path / "gallery"
    made = sbka("ingest", draw(tmp_path / "photos", 40), "-g", folder, "-m", model, "--json")
    assert made.code == 0, made.err
    told = made.json()["index"]
    assert (told["clusters"], told["clustering"]["how"], told["drifted"]) == (8, "fitted", "")
    return folder


@pytest.fixture
def sketch(tmp_path: Path) -> Path:
    picture = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(picture).line((8, 8, 56, 56), fill=0, width=4)
    picture.save(tmp_path / "sketch.png")
    return tmp_path / "sketch.png"


def test_photos_join_clusters_are_made_anew_and_both_can_be_looked_at(
    sbka: Sbka, gallery: Path, tmp_path: Path, sketch: Path
) -> None:
    photos = draw(tmp_path / "photos", 6, first=40)
    told = sbka("ingest", photos, "-g", gallery)
    assert told.code == 0, told.err
    assert "6 joined the clusters that were made in version 1 of 40." in told.out and "drifted" not in told.out

    shown = sbka("cluster", "-g", gallery, "--stats-only")
    assert shown.code == 0 and "version 2" in shown.out and "evenness" in shown.out
    assert "fitted to 40 in version 1, 6 joined" in shown.out
    stats = sbka("cluster", "-g", gallery, "--show", "--json").json()
    assert (stats["version"], stats["clustering"]["joined"]) == (2, 6)
    assert (stats["statistics"]["photos"], stats["statistics"]["clusters"]) == (46, 8)

    trial = sbka("cluster", "-g", gallery, "--clusters", "3", "--dry-run")
    assert trial.code == 0 and "would be" in trial.out and "Nothing was built" in trial.out
    assert len(sbka("gallery", "versions", gallery, "--json").json()) == 2

    made = sbka("cluster", "-g", gallery, "--clusters", "3")
    assert made.code == 0, made.err
    assert "Serving version 3 (fused)" in made.out and "version 2" in made.out and "sbka gallery rollback" in made.out
    again = sbka("ingest", photos, "-g", gallery, "--json").json()["index"]
    assert (again["rebuilt"], again["version"], again["clusters"]) == (False, 3, 3)
    assert sbka("search", sketch, "-g", gallery, "--json").json()[0]["version"] == 3

    report = sbka("cluster", "-g", gallery, "--json").json()
    assert (report["before"]["version"], report["after"]["version"], report["built"]) == (3, 4, True)
    assert report["after"]["clustering"]["fitted"] == 46
    assert sbka("gallery", "rollback", gallery).code == 0
    assert sbka("cluster", "-g", gallery, "--stats-only", "--json").json()["version"] == 3


def test_an_ingest_says_so_when_the_gallery_has_outgrown_its_clusters(
    sbka: Sbka, gallery: Path, tmp_path: Path
) -> None:
    photos = draw(tmp_path / "photos", 40, first=40)
    told = sbka("ingest", photos, "-g", gallery)
    assert told.code == 0, told.err
    line = next(line for line in told.out.splitlines() if "drifted" in line)
    assert line == (
        "note The clusters have drifted: they were made of 40 photos in version 1, and there are 80. "
        f"Make them anew: sbka cluster -g {gallery}"
    )
    index = sbka("ingest", photos, "-g", gallery, "--json").json()["index"]
    assert (index["rebuilt"], index["drifted"]) == (False, line.removeprefix("note "))
    assert index["drifted"] in sbka("cluster", "-g", gallery, "--stats-only").out
    assert sbka("cluster", "-g", gallery).code == 0
    assert sbka("ingest", photos, "-g", gallery, "--json").json()["index"]["drifted"] == ""


def test_an_ingest_says_so_when_photos_of_another_kind_join(
    sbka: Sbka, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbka("ingest", draw(tmp_path / "photos", 30, first=40), "-g", gallery)
    assert sbka("cluster", "-g", gallery).code == 0
    other = tmp_path / "other"
    other.mkdir()
    for number in range(55):
        Image.new("RGB", (64, 64), (4 * number, 255 - 4 * number, 9)).save(other / f"{number}.png")
    index = sbka("ingest", other, "-g", gallery, "--json").json()["index"]
    drift = index["clustering"]["drift"]
    assert drift["enough"] and drift["drift"] > 0.08
    assert f"lie {drift['drift']:.0%} farther from them" in index["drifted"] and "(limit: 8%)" in index["drifted"]
    monkeypatch.setenv("SBKA_INGEST__MAX_DRIFT", "1000000")
    from sbka_milvus.settings import load_settings

    load_settings.cache_clear()
    assert sbka("ingest", other, "-g", gallery, "--json").json()["index"]["drifted"] == ""
    load_settings.cache_clear()


def test_from_python(gallery: Path) -> None:
    settings = Settings()
    report = recluster_gallery(gallery, settings, SilentProgress(), n_clusters=4, matching="fused", seed=1)
    assert report.before is not None and (report.before.version, report.after.version) == (1, 2)
    view = gallery_clusters(gallery, settings)
    assert view == report.after and view.statistics.clusters == 4
    with SketchSearch.open(gallery) as search:
        assert search._searcher.n_clusters == 4


def test_what_cannot_be_is_told_in_one_line(sbka: Sbka, gallery: Path, tmp_path: Path) -> None:
    empty = Gallery.create_or_open(tmp_path / "empty", Gallery.open(gallery).fingerprint)
    for more in ((), ("--stats-only",), ("--dry-run",), ("--background",)):
        told = sbka("cluster", "-g", empty.root, *more)
        assert told.code == 1 and "holds no photos" in told.err and "Traceback" not in told.err
    assert not empty.milvus_folder.exists()
    assert "is no gallery" in sbka("cluster", "-g", tmp_path / "none").err
    assert sbka("cluster", "-g", gallery, "--stats-only", "--dry-run").code == 1
    assert sbka("cluster").code == 2
    assert sbka("cluster", "-g", gallery, "--matching", "best").code == 2
    told = sbka("cluster", "-g", gallery, "--matching", "linear")
    assert told.code == 1 and "knows no sketches" in told.err
    shutil.rmtree(gallery / "milvus")
    assert sbka("cluster", "-g", gallery, "--stats-only").code == 1
    assert sbka("cluster", "-g", gallery, "--json").json()["after"]["version"] == 1
