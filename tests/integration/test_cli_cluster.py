"""Joining, drift and ``sbka cluster`` as a user meets them: real model, real embedded Milvus, real pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus import Gallery, SketchSearch
from sbka_milvus.factory import gallery_clusters, recluster_gallery
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings

Sbka = Callable[..., Any]


@pytest.fixture
def half(sbka: Sbka, demo: Path, tmp_path: Path) -> Path:
    """A gallery of five of the six kinds of the demo's unseen photos."""
    photos = demo / "world" / "photos"
    kinds = sorted({Path(uri).parent.name for uri in photos_of(demo / "gallery")})
    made = sbka(
        "ingest", *[photos / kind for kind in kinds[:-1]], "-g", tmp_path / "gallery", "-m", demo / "model",
        "--matching", "fused", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.json()["index"]["clustering"]["how"] == "fitted"
    return tmp_path / "gallery"


def photos_of(root: Path) -> list[str]:
    from sbka_milvus.embeddings.shards import read_known

    return sorted(read_known(Gallery.open(root).shard_folder))


def test_photos_join_clusters_are_made_anew_and_both_can_be_looked_at(
    sbka: Sbka, half: Path, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBKA_INGEST__MATCHING", "fused")
    photos = demo / "world" / "photos"
    rest = sorted({Path(uri).parent.name for uri in photos_of(demo / "gallery")})[-1]
    told = sbka("ingest", photos / rest, "-g", half)
    assert told.code == 0, told.err
    assert "6 joined the clusters that were made in version 1" in told.out and "drifted" not in told.out

    shown = sbka("cluster", "-g", half, "--stats-only")
    assert shown.code == 0 and "version 2" in shown.out and "evenness" in shown.out
    stats = sbka("cluster", "-g", half, "--show", "--json").json()
    assert (stats["version"], stats["clustering"]["joined"]) == (2, 6)
    before = stats["statistics"]
    assert before["photos"] == before["size_p50"] * 0 + len(photos_of(half))

    trial = sbka("cluster", "-g", half, "--clusters", "3", "--dry-run")
    assert trial.code == 0 and "would be" in trial.out and "Nothing was built" in trial.out
    assert len(sbka("gallery", "versions", half, "--json").json()) == 2

    made = sbka("cluster", "-g", half, "--clusters", "3")
    assert made.code == 0, made.err
    assert "Serving version 3 (fused)" in made.out and "version 2" in made.out and "sbka gallery rollback" in made.out
    again = sbka("ingest", photos / rest, "-g", half, "--json").json()["index"]
    assert (again["rebuilt"], again["version"], again["clusters"]) == (False, 3, 3)
    sketch = sorted((demo / "world" / "sketches" / rest).iterdir())[0]
    assert sbka("search", sketch, "-g", half, "--json").json()[0]["version"] == 3

    report = sbka("cluster", "-g", half, "--json").json()
    assert (report["before"]["version"], report["after"]["version"], report["built"]) == (3, 4, True)
    assert sbka("gallery", "rollback", half).code == 0
    assert sbka("cluster", "-g", half, "--stats-only", "--json").json()["version"] == 3


def test_an_ingest_says_so_when_the_gallery_has_outgrown_its_clusters(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    photos, gallery = demo / "world" / "photos", tmp_path / "gallery"
    kinds = sorted(path.name for path in photos.iterdir())
    first, rest = kinds[: len(kinds) // 2 - 1], kinds[len(kinds) // 2 - 1 :]
    assert len(first) * 6 >= 32
    sbka("ingest", *[photos / kind for kind in first], "-g", gallery, "-m", demo / "model", "--matching", "fused")
    told = sbka("ingest", *[photos / kind for kind in rest], "-g", gallery, "--matching", "fused")
    assert told.code == 0, told.err
    line = next(line for line in told.out.splitlines() if "drifted" in line)
    assert line.startswith("note The clusters have drifted: they were made of ")
    assert line.endswith(f"Make them anew: sbka cluster -g {gallery}")
    index = sbka("ingest", photos / rest[0], "-g", gallery, "--matching", "fused", "--json").json()["index"]
    assert (index["rebuilt"], index["drifted"]) == (False, line.removeprefix("note "))
    assert sbka("cluster", "-g", gallery, "--matching", "fused").code == 0
    assert sbka("ingest", photos / rest[0], "-g", gallery, "--json").json()["index"]["drifted"] == ""


def test_from_python(half: Path) -> None:
    settings = Settings()
    with SketchSearch.open(half) as search:
        served = search._store.served(search.gallery).version
    report = recluster_gallery(half, settings, SilentProgress(), n_clusters=4, matching="fused", seed=1)
    assert report.before is not None and report.before.version == served
    view = gallery_clusters(half, settings)
    assert view == report.after and view.statistics.clusters == 4


def test_what_cannot_be_is_told_in_one_line(sbka: Sbka, demo: Path, half: Path, tmp_path: Path) -> None:
    empty = Gallery.create_or_open(tmp_path / "empty", Gallery.open(half).fingerprint)
    for more in ((), ("--stats-only",), ("--dry-run",), ("--background",)):
        told = sbka("cluster", "-g", empty.root, *more)
        assert told.code == 1 and "holds no photos" in told.err and "Traceback" not in told.err
    assert not empty.milvus_folder.exists()
    assert "is no gallery" in sbka("cluster", "-g", tmp_path / "none").err
    assert sbka("cluster", "-g", half, "--stats-only", "--dry-run").code == 1
    assert sbka("cluster").code == 2
    assert sbka("cluster", "-g", half, "--matching", "best").code == 2
    for known in half.rglob("statistics.npz"):
        known.unlink()
    told = sbka("cluster", "-g", half, "--matching", "linear")
    assert told.code == 1 and "knows no sketches" in told.err
    shutil.rmtree(half / "milvus")
    assert sbka("cluster", "-g", half, "--stats-only").code == 1
    assert sbka("cluster", "-g", half, "--matching", "fused", "--json").json()["after"]["version"] == 1
