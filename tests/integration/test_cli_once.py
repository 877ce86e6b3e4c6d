"""Every photo once, from the shell: moves, copies, pruning, removal, duplicates."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus import SketchSearch

Sbka = Callable[..., Any]


@pytest.fixture(scope="module")
def first(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of twelve photos, and a gallery of them."""
    root = tmp_path_factory.mktemp("once")
    (root / "photos").mkdir()
    found = sorted((demo / "world" / "photos").rglob("*.png")) or sorted((demo / "world" / "photos").rglob("*.jpg"))
    for number, path in enumerate(found[:: max(1, len(found) // 12)][:12]):
        shutil.copy2(path, root / "photos" / f"{number:02d}{path.suffix}")
    return root, demo / "models" / "sbka"


@pytest.fixture
def place(first: tuple[Path, Path], tmp_path: Path, sbka: Sbka) -> Path:
    """The folder that holds ``photos`` and the ``gallery`` of them."""
    root, model = first
    shutil.copytree(root / "photos", tmp_path / "photos")
    done = sbka("ingest", tmp_path / "photos", "--model", model, "--gallery", tmp_path / "gallery", "--json")
    assert done.code == 0, done.err
    return tmp_path


@pytest.fixture
def suffix(place: Path) -> str:
    return next((place / "photos").iterdir()).suffix


def sketch_of(demo: Path) -> Path:
    return sorted((demo / "world" / "sketches").rglob("*.png"))[0]


def served(sbka: Sbka, demo: Path, place: Path, k: int = 100) -> list[dict[str, Any]]:
    found = sbka("search", sketch_of(demo), "--gallery", place / "gallery", "-k", str(k), "--json")
    assert found.code == 0, found.err
    hits: list[dict[str, Any]] = found.json()[0]["hits"]
    return hits


def test_copies_are_one_hit_that_names_them(sbka: Sbka, demo: Path, place: Path, suffix: str) -> None:
    for number in range(6):
        shutil.copy(place / "photos" / f"{number:02d}{suffix}", place / "photos" / f"copy{number}{suffix}")
    done = sbka("ingest", place / "photos", "--gallery", place / "gallery")
    assert "0 embedded" in done.out and "6 copied" in done.out
    assert "18 photos, 12 of them distinct," in done.out
    hits = served(sbka, demo, place)
    assert len(hits) == 12
    duplicates = {Path(hit["uri"]).stem: [Path(uri).stem for uri in hit["duplicates"]] for hit in hits}
    assert duplicates == {f"{n:02d}": [f"copy{n}"] if n < 6 else [] for n in range(12)}
    assert "(and 1 equal)" in sbka("search", sketch_of(demo), "--gallery", place / "gallery").out
    with SketchSearch.open(place / "gallery") as search:
        (hit,) = search(sketch_of(demo), k=1, where=f"uri like '%/copy3{suffix}'")
        assert Path(hit.uri).stem == "copy3"
        assert [Path(uri).stem for uri in hit.duplicates] == ["03"]
    (version,) = [one for one in sbka("gallery", "versions", place / "gallery", "--json").json() if one["served"]]
    assert (version["photos"], version["distinct"], version["complete"]) == (18, 12, True)


def test_moved_photos_are_served_from_where_they_are(sbka: Sbka, demo: Path, place: Path) -> None:
    before = {Path(hit["uri"]).name: hit["score"] for hit in served(sbka, demo, place)}
    (place / "photos").rename(place / "elsewhere")
    report = sbka("ingest", place / "elsewhere", "--gallery", place / "gallery", "--json").json()["embed"]
    assert (report["embedded"], report["moved"]) == (0, 12)
    hits = served(sbka, demo, place)
    assert {Path(hit["uri"]).name: pytest.approx(hit["score"], abs=1e-5) for hit in hits} == before
    assert all(Path(hit["uri"]).exists() for hit in hits)


def test_prune(sbka: Sbka, demo: Path, place: Path) -> None:
    files = sorted((place / "photos").iterdir())
    for path in files[:4]:
        path.unlink()
    assert sbka("ingest", place / "photos", "--gallery", place / "gallery", "--json").json()["index"]["photos"] == 12
    done = sbka("ingest", place / "photos", "--gallery", place / "gallery", "--prune")
    assert done.code == 0 and "4 pruned" in done.out
    assert len(served(sbka, demo, place)) == 8
    for path in files[4:10]:
        path.unlink()
    refused = sbka("ingest", place / "photos", "--gallery", place / "gallery", "--prune")
    assert refused.code == 1
    assert "6 of the 8 photos" in refused.err and "--prune-all" in refused.err
    assert len(served(sbka, demo, place)) == 8
    assert sbka("ingest", place / "photos", "--gallery", place / "gallery", "--prune-all").code == 0
    assert {Path(hit["uri"]) for hit in served(sbka, demo, place)} == set(files[10:])


class TestRemove:
    def remove(self, sbka: Sbka, place: Path, *arguments: str | Path) -> Any:
        return sbka("remove", *arguments, "--gallery", place / "gallery")

    def test_a_photo_goes_stays_away_and_comes_back(self, sbka: Sbka, demo: Path, place: Path, suffix: str) -> None:
        gone = place / "photos" / f"03{suffix}"
        looked = self.remove(sbka, place, gone, "--dry-run")
        assert looked.code == 0 and str(gone) in looked.out and "1 of 12 photos would be removed" in looked.out
        assert len(served(sbka, demo, place)) == 12

        done = self.remove(sbka, place, gone, "--yes", "--json")
        assert done.code == 0, done.err
        assert (done.json()["removed"], done.json()["index"]["photos"]) == ([str(gone)], 11)
        assert str(gone) not in [hit["uri"] for hit in served(sbka, demo, place)]
        assert gone.exists()

        again = self.remove(sbka, place, gone, "--yes", "--json").json()
        assert (again["removed"], again["removed_before"], again["index"]["rebuilt"]) == ([], [str(gone)], False)

        back = sbka("ingest", place / "photos", "--gallery", place / "gallery", "--json").json()
        assert (back["embed"]["embedded"], back["index"]["photos"]) == (1, 12)

    def test_nobody_is_asked_where_nobody_can_be(self, sbka: Sbka, demo: Path, place: Path, suffix: str) -> None:
        refused = self.remove(sbka, place, place / "photos" / f"03{suffix}")
        assert refused.code == 1 and "--yes" in refused.err
        assert len(served(sbka, demo, place)) == 12

    def test_what_is_not_held_is_an_error_and_nothing_goes(
        self, sbka: Sbka, demo: Path, place: Path, suffix: str
    ) -> None:
        refused = self.remove(sbka, place, place / "photos" / f"03{suffix}", "/nowhere/cat.jpg", "--yes")
        assert refused.code == 1 and "/nowhere/cat.jpg" in refused.err
        assert len(served(sbka, demo, place)) == 12

    def test_a_gallery_is_never_emptied(self, sbka: Sbka, demo: Path, place: Path) -> None:
        refused = self.remove(sbka, place, place / "photos", "--yes")
        assert refused.code == 1 and "without a photo" in refused.err
        assert len(served(sbka, demo, place)) == 12

    def test_folders_patterns_braces_and_relative_paths(
        self, sbka: Sbka, place: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(place)
        done = self.remove(sbka, place, f"photos/0[0-2]{suffix}", f"photos/{{03,04}}{suffix}", "--yes", "--json").json()
        assert [Path(uri).stem for uri in done["removed"]] == ["00", "01", "02", "03", "04"]
        shutil.copytree(place / "photos", place / "more" / "deep")
        sbka("ingest", "more", "--gallery", place / "gallery")
        assert len(self.remove(sbka, place, "more/", "--yes", "--json").json()["removed"]) == 12

    def test_odd_names_archives_and_addresses(self, sbka: Sbka, place: Path, suffix: str) -> None:
        photo = place / "photos" / f"00{suffix}"
        odd = place / "odd"
        odd.mkdir()
        names = [f"a[1]{suffix}", f"ünï {{x,y}} 猫{suffix}", f"new\nline*{suffix}", f"a1{suffix}"]
        for name in names:
            shutil.copy(photo, odd / name)
        archive = place / "a.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            packed.write(photo, f"cats/100% #1{suffix}")
            packed.write(photo, f"dogs/2{suffix}")
        sbka("ingest", odd, archive, "--gallery", place / "gallery")
        # The very name of a photo means that photo alone.
        done = self.remove(sbka, place, *(odd / name for name in names[:3]), "--yes", "--json").json()
        assert sorted(done["removed"]) == sorted(os.fspath(odd / name) for name in names[:3])
        done = self.remove(sbka, place, f"{archive}!/cats", "--yes", "--json").json()
        assert done["removed"] == [f"{archive}!/cats/100%25 %231{suffix}"]
        archive.unlink()
        assert self.remove(sbka, place, archive, "--yes", "--json").json()["removed"] == [f"{archive}!/dogs/2{suffix}"]


class TestDuplicates:
    def test_groups_are_listed_printed_and_drawn(self, sbka: Sbka, place: Path, suffix: str) -> None:
        shutil.copy(place / "photos" / f"00{suffix}", place / "photos" / f"copy{suffix}")
        sbka("ingest", place / "photos", "--gallery", place / "gallery")
        found = sbka("duplicates", "--gallery", place / "gallery", "--exact", "--json").json()
        assert (found["photos"], found["distinct"], found["spare"], found["threshold"]) == (13, 12, 1, None)
        ((group,),) = [found["groups"]]
        assert group["kind"] == "exact"
        assert [Path(photo["uri"]).stem for photo in group["photos"]] == ["00", "copy"]
        size = (place / "photos" / f"00{suffix}").stat().st_size
        assert all(photo["size"] == size for photo in group["photos"])

        sheet = place / "sheet.html"
        shown = sbka("duplicates", "--gallery", place / "gallery", "--threshold", "0.1", "--sheet", sheet)
        assert shown.code == 0 and f"{size:,}" in shown.out
        assert sheet.read_text().count("<img") >= 2

    def test_nothing_alike_is_said(self, sbka: Sbka, place: Path) -> None:
        shown = sbka("duplicates", "--gallery", place / "gallery", "--exact")
        assert shown.code == 0 and "0 groups" in shown.out

    def test_a_folder_that_is_no_gallery_and_a_sheet_of_no_kind_are_refused(self, sbka: Sbka, place: Path) -> None:
        assert sbka("duplicates", "--gallery", place / "photos").code == 1
        refused = sbka("duplicates", "--gallery", place / "gallery", "--sheet", "x.pdf")
        assert refused.code == 1 and ".html" in refused.err
