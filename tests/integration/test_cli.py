"""The command line as a user meets it: real models, real embedded Milvus, real pictures."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sbka_milvus import SketchSearch
from sbka_milvus.errors import EncoderMismatch, StoreUnavailable

Sbka = Callable[..., Any]

BAD = b"\xff\xd8\xff\xe0 this is no photo"


def sketch_of(demo: Path, category: str = "teapot") -> Path:
    return sorted((demo / "world" / "sketches" / category).iterdir())[0]


@pytest.fixture(scope="module")
def gallery(demo_gallery: Path) -> Path:
    return demo_gallery


def test_the_demo_leaves_a_table_a_sheet_and_a_page(demo: Path) -> None:
    with Image.open(demo / "sheet.png") as sheet:
        assert sheet.width > 800
        assert sheet.height > 800
    page = (demo / "sheet.html").read_text()
    assert page.count("<img") >= 8 * 9
    assert "one-to-many" in page
    assert "http" not in page.replace("http-equiv", "")
    split = json.loads((demo / "world" / "split.json").read_text())
    assert len(split["unseen"]) >= 6
    assert len(split["unseen"]) + len(split["seen"]) >= 24
    manifest = json.loads((demo / "models" / "sbka" / "manifest.json").read_text())
    trained_on = set(manifest["classes"]) | set(manifest["training"]["validation_classes"])
    assert trained_on == set(split["seen"])


def test_the_demo_leaves_a_gallery_of_somebody_else_alone(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "world").symlink_to(demo / "world")
    treasure = tmp_path / "demo" / "gallery" / "treasure.txt"
    treasure.parent.mkdir()
    treasure.write_text("mine")
    ran = sbka(
        "demo", "-o", tmp_path / "demo", "--photos", "6", "--sketches", "5", "--pretrain-epochs", "1", "--epochs", "1"
    )
    assert ran.code == 1
    assert "left alone" in ran.err
    assert treasure.read_text() == "mine"


def test_search_prints_a_table(sbka: Sbka, demo: Path, gallery: Path) -> None:
    ran = sbka("search", sketch_of(demo), "--gallery", gallery, "-k", "5")
    assert ran.code == 0, ran.err
    assert sum(".jpg" in line for line in ran.out.splitlines()) == 5
    assert "member" in ran.out


def test_search_as_json_explains_each_hit(sbka: Sbka, demo: Path, gallery: Path) -> None:
    ran = sbka("search", sketch_of(demo), sketch_of(demo, "fish"), "-g", gallery, "-k", "4", "--json")
    assert ran.code == 0, ran.err
    results = ran.json()
    assert [len(result["hits"]) for result in results] == [4, 4]
    for hit in results[0]["hits"]:
        fused = hit["cluster_weight"] * hit["cluster_score"] + (1 - hit["cluster_weight"]) * hit["member_score"]
        fused -= hit["level"]
        assert hit["score"] == pytest.approx(fused, abs=1e-5)
        assert Path(hit["uri"]).is_file()
    assert [hit["rank"] for hit in results[0]["hits"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["hits.png", "hits.html"])
def test_search_writes_a_contact_sheet(sbka: Sbka, demo: Path, gallery: Path, tmp_path: Path, name: str) -> None:
    ran = sbka("search", sketch_of(demo), "-g", gallery, "--sheet", tmp_path / name)
    assert ran.code == 0, ran.err
    assert (tmp_path / name).stat().st_size > 5000


def test_a_sheet_of_another_kind_is_refused_before_the_search(sbka: Sbka, demo: Path, gallery: Path) -> None:
    ran = sbka("search", sketch_of(demo), "-g", gallery, "--sheet", "hits.pdf")
    assert ran.code == 1
    assert "hits.pdf" in ran.err
    assert ".png or .html" in ran.err


def test_python_finds_what_the_command_finds(sbka: Sbka, demo: Path, gallery: Path) -> None:
    path = sketch_of(demo)
    found = sbka("search", path, "-g", gallery, "-k", "6", "--json").json()[0]["hits"]
    with SketchSearch.open(gallery) as search, Image.open(path) as picture:
        results = [search(source, k=6) for source in (path, str(path), path.read_bytes(), picture)]
        assert search([path, path], k=2)[1][0].uri == results[0][0].uri
    for result in results:
        assert [hit.uri for hit in result] == [hit["uri"] for hit in found]
        assert result[0].score == pytest.approx(found[0]["score"], abs=1e-4)


def test_strokes_are_a_sketch(gallery: Path) -> None:
    circle = [[(0, 5), (3, 9), (8, 8), (9, 2), (4, 0), (0, 5)], [(9, 5), (12, 6)]]
    with SketchSearch.open(gallery) as search:
        assert len(search(circle, k=3)) == 3
        assert len(search([circle, circle], k=3)) == 2


def test_the_gallery_can_be_opened_again_after_closing(gallery: Path) -> None:
    for _ in range(2):
        search = SketchSearch.open(gallery)
        search.close()
        search.close()


def test_another_process_that_has_the_gallery_open_is_named(gallery: Path, sbka: Sbka, demo: Path) -> None:
    program = (
        "import sys\nfrom sbka_milvus.store import MilvusGalleryStore\n"
        f"store = MilvusGalleryStore({str(gallery / 'milvus')!r})\nprint('open', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreUnavailable, match="process"):
            SketchSearch.open(gallery)
        ran = sbka("search", sketch_of(demo), "-g", gallery)
        assert ran.code == 1
        assert len(ran.err.strip().splitlines()) == 1, ran.err
        holder.communicate()


def test_a_model_that_is_not_the_gallerys_is_refused_by_name(demo: Path, gallery: Path) -> None:
    with pytest.raises(EncoderMismatch) as refused:
        SketchSearch.open(gallery, model=demo / "models" / "photos-only")
    for name in ("sbka", "photos-only"):
        manifest = json.loads((demo / "models" / name / "manifest.json").read_text())
        assert manifest["fingerprint"] in str(refused.value)


def test_evaluate_agrees_with_and_without_a_gallery(sbka: Sbka, demo: Path, gallery: Path, tmp_path: Path) -> None:
    world = demo / "world"
    same = ("--sketches", world / "sketches", "--split", world / "split.json", "--json")
    # In memory the form is always fused.
    assert sbka("ingest", world / "photos" / "teapot", "-g", gallery, "--matching", "fused").code == 0
    through_milvus = sbka("evaluate", "--gallery", gallery, "--out", tmp_path / "report.json", *same).json()
    model = demo / "models" / "sbka"
    in_memory = sbka("evaluate", "--photos", world / "photos", "--model", model, *same).json()
    assert json.loads((tmp_path / "report.json").read_text()) == through_milvus
    assert [row["method"] for row in through_milvus["rows"]] == ["chance", "one-to-one", "one-to-many"]
    for row, other in zip(through_milvus["rows"], in_memory["rows"], strict=True):
        assert row["values"] == pytest.approx(other["values"], abs=0.02)
    assert through_milvus["n_queries"] == 8 * 5
    assert through_milvus["n_gallery"] == 8 * 6


def test_train_ingest_and_search_ones_own_pictures(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    world, model, gallery = demo / "world", tmp_path / "model", tmp_path / "gallery"
    trained = sbka(
        "train", "--photos", world / "photos", "--sketches", world / "sketches", "--split", world / "split.json",
        "--backbone", "timm:resnet10t", "--weights", demo / "photos-only.safetensors", "--size", "64",
        "--epochs", "1", "-o", model,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert "sbka ingest" in trained.out
    shown = sbka("model", "show", model)
    assert "bidirectional" in shown.out

    photos = tmp_path / "photos"
    shutil.copytree(world / "photos" / "teapot", photos / "teapot")
    (photos / "teapot" / "broken.jpg").write_bytes(BAD)
    first = sbka("ingest", photos, "--model", model, "--gallery", gallery, "--json")
    assert first.code == 0, first.err
    report = first.json()
    assert (report["embed"]["found"], report["embed"]["embedded"], report["index"]["photos"]) == (7, 6, 6)
    assert "broken.jpg" in report["embed"]["quarantined"][0]["reason"]

    shutil.copytree(world / "photos" / "fish", photos / "fish")
    second = sbka("ingest", photos, "--gallery", gallery, "--strict")
    assert second.code == 3
    assert "6 embedded" in second.out
    assert "broken.jpg" in second.err
    (photos / "teapot" / "broken.jpg").unlink()
    third = sbka("ingest", photos, "--gallery", gallery, "--json").json()
    assert third["embed"]["embedded"] == 0
    assert third["index"]["rebuilt"] is False
    found = sbka("search", sketch_of(demo), "-g", gallery, "-k", "12", "--json").json()[0]["hits"]
    assert len({hit["uri"] for hit in found}) == 12


def test_a_gallery_killed_before_its_model_was_copied_is_made_good(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    photos, gallery = demo / "world" / "photos" / "teapot", tmp_path / "gallery"
    gallery.mkdir()
    shutil.copy(demo / "gallery" / "gallery.json", gallery)
    found = sbka("ingest", photos, "-g", gallery, "-m", demo / "models" / "sbka", "--json")
    assert found.code == 0, found.err
    assert found.json()["index"]["photos"] == 6
    assert sbka("ingest", photos, "-g", gallery, "--json").json()["embed"]["unchanged"] == 6


def test_a_gallery_without_its_model_takes_the_default_one_again(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    shutil.copy(demo / "gallery" / "gallery.json", gallery)
    environment = {**os.environ, "SBKA_BACKBONE": "timm:nothing_like_it"}
    command = [sys.executable, "-m", "sbka_milvus", "ingest", demo / "world" / "photos", "-g", gallery]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert ran.returncode == 1
    assert "nothing_like_it" in ran.stderr, "it went for the default backbone, and did not ask for a missing bundle"


def test_errors_are_one_line_with_a_remedy(sbka: Sbka, demo: Path, gallery: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    Image.new("RGB", (64, 64), "white").save(empty)
    world = demo / "world"
    cases = [
        (("search", sketch_of(demo), "-g", tmp_path / "none"), "sbka ingest"),
        (("search", tmp_path / "none.png", "-g", gallery), "none.png"),
        (("search", empty, "-g", gallery), "no ink"),
        (("ingest", tmp_path / "nowhere", "-g", tmp_path / "new"), "nowhere"),
        (("ingest", world / "photos", "-g", gallery, "-m", demo / "models" / "photos-only"), "cannot be compared"),
        (("ingest", world / "photos", "-g", tmp_path / "new", "-m", tmp_path / "no-model"), "sbka train"),
        (("ingest", world / "photos", "-g", tmp_path / "new", "-m", demo / "models" / "sbka", "--name", "a b"), "a b"),
        (("model", "show", tmp_path), "manifest.json"),
        (("model", "import", "--backbone", "timm:nothing_like_it", "-o", tmp_path / "m"), "nothing_like_it"),
        (("evaluate", "--sketches", world / "sketches", "--split", world / "split.json"), "--gallery"),
        (("evaluate", "-g", gallery, "--sketches", world / "sketches", "--split", tmp_path / "x.json"), "x.json"),
        (("train", "--photos", tmp_path / "p", "--sketches", tmp_path / "s", "-o", tmp_path / "m",
          "--backbone", "timm:resnet10t"), "does not exist"),
    ]  # fmt: skip
    for arguments, expected in cases:
        ran = sbka(*arguments)
        last = ran.err.strip().splitlines()[-1]
        assert ran.code == 1, (arguments, ran)
        assert last.startswith("Error: "), (arguments, ran.err)
        assert expected in last, (arguments, last)
        assert "Traceback" not in ran.err + ran.out
    assert not (tmp_path / "new").exists(), "a refused ingest leaves nothing behind"


def test_debug_shows_the_traceback(demo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sbka_milvus", "search", sketch_of(demo), "-g", tmp_path / "none", "--debug"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr


def test_wrong_usage_has_its_own_exit_code(sbka: Sbka) -> None:
    assert sbka("search").code == 2
    assert sbka("nonsense").code == 2
    assert sbka("search", "x.png", "-g", "g", "-k", "0").code == 2


def test_a_bad_setting_names_its_variable(tmp_path: Path) -> None:
    environment = {**os.environ, "SBKA_SEARCH__N_PROBE": "none"}
    command = [sys.executable, "-m", "sbka_milvus", "ingest", tmp_path, "-g", tmp_path / "g"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert ran.returncode == 1
    assert "SBKA_SEARCH__N_PROBE" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_default_encoder_that_cannot_be_fetched_names_both_remedies(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "sbka_milvus", "ingest", demo / "world" / "photos", "-g", tmp_path / "g"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert ran.returncode == 1
    assert "network" in ran.stderr
    assert "sbka model import" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_who_asks_an_ingest_to_stop_keeps_what_is_done(asked: signal.Signals, demo: Path, tmp_path: Path) -> None:
    """Asked in the middle of embedding; the next run goes on and holds every photo once."""
    gallery = tmp_path / "gallery"
    command = [
        sys.executable, "-m", "sbka_milvus", "ingest", str(demo / "world" / "photos"),
        "-g", str(gallery), "-m", str(demo / "models" / "sbka"),
    ]  # fmt: skip
    environment = {**os.environ, "SBKA_INGEST__BATCH_SIZE": "2", "SBKA_INGEST__SHARD_SIZE": "16"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        while run.poll() is None and not list((gallery / "shards").glob("*/*.parquet")):
            time.sleep(0.005)  # asking all the time would take a core from it
        run.send_signal(asked)
        _, err = run.communicate(timeout=120)
    assert run.returncode == 128 + asked, err
    said = re.search(r"Stopped: (\d+) of 330 new photos are done and kept; .* go on", err)
    assert said is not None, err
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["embed"]["unchanged"] == int(said[1]) >= 16
    assert report["embed"]["unchanged"] + report["embed"]["embedded"] == report["embed"]["found"] == 55 * 6
    assert report["index"]["photos"] == 55 * 6


def test_a_run_with_nothing_new_loads_no_network(demo: Path, tmp_path: Path) -> None:
    photos = sorted(path for path in (demo / "world" / "photos").rglob("*") if path.is_file())[:3]
    program = (
        "import sys; from pathlib import Path; from sbka_milvus.factory import ingest_into; "
        "from sbka_milvus.settings import Settings; from sbka_milvus.progress import SilentProgress; "
        "report = ingest_into(sys.argv[3:], Path(sys.argv[1]), Settings(), SilentProgress(), model=Path(sys.argv[2])); "
        "print(report.embed.embedded, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, tmp_path / "gallery", demo / "models" / "sbka", *photos]
    for said in ("3 True", "0 False"):
        ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
        assert ran.stdout.strip() == said


def test_a_manifest_is_taken_in_and_searches_are_filtered_by_it(sbka: Sbka, demo: Path, tmp_path: Path) -> None:
    folder = demo / "world" / "photos"
    photos = sorted(path for path in folder.rglob("*") if path.is_file())[:12]
    names = [str(photo.relative_to(folder)) for photo in photos]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for photo, name in zip(photos, names, strict=True):
            zipped.write(photo, name)
    rows = [f"a.zip!/{name},{2010 + number}\n" for number, name in enumerate(names)]
    (tmp_path / "m.csv").write_text("path,year\n" + "".join(rows) + "gone.jpg,1\n")
    gallery = tmp_path / "gallery"
    taken = sbka("ingest", tmp_path / "m.csv", "-g", gallery, "-m", demo / "models" / "sbka", "--strict")
    assert taken.code == 3
    assert f"quarantined {tmp_path}/gone.jpg does not exist; row 14 of" in taken.err

    search = ("search", sketch_of(demo), "-g", gallery, "-k", "20")
    hits = sbka(*search, "--where", "year >= 2018", "--json").json()[0]["hits"]
    assert {hit["uri"] for hit in hits} == {f"{tmp_path}/a.zip!/{name}" for name in names[8:]}
    table = sbka(*search, "--where", "year == 2010")
    assert f"photos in {tmp_path}/a.zip!/" in table.out and photos[0].name in table.out
    wrong = sbka(*search, "--where", "yaer > 1")
    assert wrong.code == 1
    assert "no column 'yaer'" in wrong.err and "did you mean 'year'" in wrong.err and "Traceback" not in wrong.err

    (tmp_path / "m.csv").write_text("path,year\n" + "".join(rows).replace(",2010", ",2050"))
    again = sbka("ingest", tmp_path / "m.csv", "-g", gallery)
    assert "0 embedded" in again.out and "1 with new metadata" in again.out
    assert len(sbka(*search, "--where", "year == 2050", "--json").json()[0]["hits"]) == 1


def test_a_watched_folder_is_taken_in_until_ctrl_c(demo: Path, tmp_path: Path) -> None:
    photos = sorted(path for path in (demo / "world" / "photos").rglob("*") if path.is_file())[:4]
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    shutil.copy(photos[0], inbox / "0.jpg")
    command = [
        sys.executable, "-m", "sbka_milvus", "ingest", str(inbox), "-g", str(tmp_path / "gallery"),
        "-m", str(demo / "models" / "sbka"), "--watch", "--every", "0.2", "--settle", "0.2",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        try:
            said = iter(run.stdout.readline, "")
            assert "1 photos found: 1 embedded" in next(said)
            assert any("version 1: 1 photos" in line for line in said)
            for number, photo in enumerate(photos[1:], 1):
                shutil.copy(photo, inbox / f"{number}.jpg")
            assert any("4 photos in" in line for line in said)
        finally:
            run.send_signal(signal.SIGINT)
            _, err = run.communicate(timeout=120)
    assert run.returncode in (0, 130), err
    assert "No longer watched" in err or run.returncode == 130
    assert "Traceback" not in err


def test_watching_goes_with_neither_workers_nor_strictness(sbka: Sbka, tmp_path: Path) -> None:
    for option in ("--background", "--strict"):
        ran = sbka("ingest", tmp_path, "-g", tmp_path / "g", "--watch", option)
        assert ran.code == 1 and "--watch goes with neither" in ran.err
    assert not (tmp_path / "g").exists()
