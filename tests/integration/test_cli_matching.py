"""The forms of matching as a user meets them: real model, real embedded Milvus, real pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus import Gallery, SketchSearch
from sbka_milvus.encoders.statistics import ModelStatistics, write_statistics
from sbka_milvus.errors import InvalidValue, MatchingError
from sbka_milvus.factory import open_encoder
from sbka_milvus.images import Split, list_images, load_sketch
from sbka_milvus.settings import Settings

Sbka = Callable[..., Any]


@pytest.fixture(scope="module")
def taught(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's gallery, with a model that knows the sketches of its training; not indexed anew yet."""
    root = tmp_path_factory.mktemp("taught") / "gallery"
    shutil.copytree(demo / "gallery", root)
    gallery = Gallery.open(root)
    split = Split.load(demo / "world" / "split.json")
    encoder = open_encoder(gallery.model_folder, Settings())
    files = list_images(demo / "world" / "sketches", split.seen)
    sketches = encoder.encode_sketches([load_sketch(file.path, size=encoder.input_size) for file in files])
    write_statistics(gallery.model_folder, ModelStatistics(np.asarray(sketches), np.asarray(sketches)))
    return root


@pytest.fixture(scope="module")
def photos(demo: Path) -> Path:
    """A folder that is in the gallery already."""
    return demo / "world" / "photos" / "teapot"


@pytest.fixture
def sketch(demo: Path) -> Path:
    return sorted((demo / "world" / "sketches" / "teapot").iterdir())[0]


def test_from_one_form_to_the_other_and_back(
    sbka: Sbka, taught: Path, photos: Path, sketch: Path, demo: Path, tmp_path: Path
) -> None:
    fused = sbka("ingest", photos, "-g", taught, "--matching", "fused", "--json").json()["index"]
    assert fused["matching"] == "fused"
    made = sbka("ingest", photos, "-g", taught)
    assert made.code == 0, made.err
    assert "(linear: " in made.out
    index = sbka("ingest", photos, "-g", taught, "--json").json()["index"]
    assert (index["rebuilt"], index["matching"][:8], index["photos"]) == (False, "linear: ", 8 * 6)

    listed = sbka("gallery", "versions", taught, "--json").json()
    assert [(one["served"], one["matching"]["form"]) for one in listed] == [(False, "fused"), (True, "linear")]
    assert listed[-1]["matching"]["why"]
    shown = sbka("gallery", "versions", taught).out
    assert "linear:" in shown and "fused" in shown

    found = sbka("search", sketch, "-g", taught, "-k", "5", "--json").json()[0]
    for hit in found["hits"]:
        made_of = hit["cluster_weight"] * hit["cluster_score"] + (1 - hit["cluster_weight"]) * hit["member_score"]
        assert hit["score"] == pytest.approx(made_of - hit["level"], abs=1e-5)
        assert hit["level"] != 0
    assert sbka("search", sketch, "-g", taught, "--sheet", tmp_path / "hits.png").code == 0
    refused = sbka("search", sketch, "-g", taught, "--cluster-weight", "0.31")
    assert refused.code == 1
    assert "in its vectors" in refused.err and "SBKA_INGEST__MATCHING=fused" in refused.err

    world = demo / "world"
    report = sbka(
        "evaluate", "-g", taught, "--sketches", world / "sketches", "--split", world / "split.json", "--json"
    ).json()
    assert any("linear: " in note for note in report["notes"])
    assert sbka("gallery", "rollback", taught).code == 0
    hits = sbka("search", sketch, "-g", taught, "--cluster-weight", "0.31", "--json").json()[0]["hits"]
    assert {(hit["cluster_weight"], hit["level"]) for hit in hits} == {(0.31, 0.0)}
    assert sbka("gallery", "promote", taught, str(listed[-1]["version"])).code == 0
    assert sbka("search", sketch, "-g", taught, "-k", "5", "--json").json()[0]["hits"] == found["hits"]


def test_python_searches_both_forms_and_follows_a_switch(
    sbka: Sbka, taught: Path, photos: Path, sketch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBKA_SEARCH__CLUSTER_WEIGHT", "0.4")
    settings = Settings()
    sbka("ingest", photos, "-g", taught, "--matching", "linear")
    with SketchSearch.open(taught, settings=settings) as search:
        linear = search(sketch, k=5)
        assert all(hit.level != 0 for hit in linear)
        with pytest.raises(InvalidValue, match="in its vectors"):
            search(sketch, k=5, cluster_weight=0.31)
        with pytest.raises(MatchingError, match="Open the gallery from its folder"):
            SketchSearch(search.gallery, search.encoder, search._store, settings)
    sbka("ingest", photos, "-g", taught, "--matching", "fused")
    with SketchSearch.open(taught, settings=settings) as search:
        assert {hit.cluster_weight for hit in search(sketch, k=5)} == {0.4}


def test_what_cannot_be_is_told_in_one_line(sbka: Sbka, demo: Path, taught: Path, photos: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    shutil.copytree(demo / "gallery", gallery)
    for known in gallery.rglob("statistics.npz"):
        known.unlink()
    told = sbka("ingest", photos, "-g", gallery, "--matching", "linear")
    assert told.code == 1
    assert "knows no sketches" in told.err and "Traceback" not in told.err
    assert sbka("ingest", photos, "-g", gallery, "--matching", "best").code == 2

    sbka("ingest", photos, "-g", taught, "--matching", "linear")
    shutil.copytree(taught, tmp_path / "torn")
    for path in (tmp_path / "torn" / "versions").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-9])
    told = sbka("search", sorted((demo / "world" / "sketches" / "teapot").iterdir())[0], "-g", tmp_path / "torn")
    assert told.code == 1
    assert "is damaged" in told.err and "sbka ingest" in told.err
    healed = sbka("ingest", photos, "-g", tmp_path / "torn", "--matching", "linear", "--json").json()
    assert healed["index"]["rebuilt"] is True
