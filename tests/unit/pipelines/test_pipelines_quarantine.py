"""What could not be used is told, exported whole, and taken in once it can be used."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.embeddings import Gallery, QuarantinedFile, read_quarantine, write_quarantine
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.errors import EncoderMismatch, OutputError, SettingsError
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.pipelines.quarantine import (
    RetryReport,
    count_kinds,
    export_quarantine,
    quarantined_files,
    retry_quarantined,
    write_export,
)
from sbka_milvus.store import MemoryGalleryStore

SMALL = EmbedOptions(batch_size=2, decode_processes=1, decode_size=32, max_pixels=10_000)
ODD = os.fsdecode(b"/p/caf\xe9.jpg")
FILES = [
    QuarantinedFile("/p/a.png", "/p/a.png is empty (0 bytes)."),
    QuarantinedFile("/p/b.png", "/p/b.png is empty (0 bytes)."),
    QuarantinedFile('/p/c,\n"d".png', '/p/c,\n"d".png has 200 x 100 = 20,000 pixels, more than the limit of 10,000.'),
    QuarantinedFile("/p/e.png", "/p/e.png has 300 x 100 = 30,000 pixels, more than the limit of 10,000."),
    QuarantinedFile(ODD, "has a name that is not valid UTF-8"),
]  # fmt: skip


@pytest.fixture
def listed(gallery: Gallery) -> Gallery:
    write_quarantine(gallery.quarantine_file, FILES)
    return gallery


@pytest.fixture
def store() -> MemoryGalleryStore:
    return MemoryGalleryStore()


class TestListing:
    def test_files_come_with_what_is_there_now(self, listed: Gallery, tmp_path: Path) -> None:
        there = tmp_path / "f.png"
        there.write_bytes(b"12345")
        os.utime(there, (0, 1_600_000_000))
        write_quarantine(listed.quarantine_file, [*FILES, QuarantinedFile(str(there), "no picture")])
        files = {file.uri: file for file in quarantined_files(listed)}
        assert (files["/p/a.png"].size, files["/p/a.png"].changed) == (None, None)
        assert (files[str(there)].size, files[str(there)].changed) == (5, "2020-09-13T12:26:40+00:00")

    def test_those_of_a_reason_alone(self, listed: Gallery) -> None:
        assert [file.uri for file in quarantined_files(listed, "IS EMPTY")] == ["/p/a.png", "/p/b.png"]
        assert quarantined_files(listed, "on fire") == []

    def test_reasons_are_counted_whatever_the_file_and_its_numbers(self, listed: Gallery) -> None:
        assert count_kinds(quarantined_files(listed)) == {
            "is empty (N bytes)": 2,
            "has N x N = N pixels, more than the limit of N": 2,
            "has a name that is not valid UTF-8": 1,
        }

    def test_a_gallery_without_a_list_has_none(self, gallery: Gallery) -> None:
        assert quarantined_files(gallery) == []
        assert export_quarantine([], ".csv") == b"uri,reason,kind,size,changed\r\n"
        assert export_quarantine([], ".jsonl") == b""


class TestExport:
    def test_a_table_holds_names_of_any_bytes(self, listed: Gallery, tmp_path: Path) -> None:
        files = quarantined_files(listed)
        write_export(files, tmp_path / "bad.csv")
        text = (tmp_path / "bad.csv").read_bytes().decode("utf-8", "surrogateescape")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [(row["uri"], row["reason"]) for row in rows] == [(file.uri, file.reason) for file in files]
        assert b"/p/caf\xe9.jpg" in (tmp_path / "bad.csv").read_bytes()

    def test_lines_of_json_do_too(self, listed: Gallery, tmp_path: Path) -> None:
        write_export(quarantined_files(listed), tmp_path / "bad.JSONL")
        rows = [json.loads(line) for line in (tmp_path / "bad.JSONL").read_text("ascii").splitlines()]
        assert [row["uri"] for row in rows] == [file.uri for file in sorted(FILES, key=lambda file: file.uri)]
        assert rows[0].keys() == {"uri", "reason", "kind", "size", "changed"}

    @pytest.mark.parametrize("name", ["bad.xlsx", "bad"])
    def test_other_forms_are_refused_before_anything_is_written(
        self, listed: Gallery, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(SettingsError, match=r"cannot be exported.*\.csv or \.jsonl"):
            write_export(quarantined_files(listed), tmp_path / name)
        assert not (tmp_path / name).exists()

    def test_a_place_that_cannot_be_written_is_named(self, listed: Gallery, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="cannot be written"):
            write_export([], tmp_path / "file" / "bad.csv")


class TestRetry:
    """Of a folder with ten good photos, and some that were bad."""

    @pytest.fixture
    def spoilt(
        self, photos: Path, gallery: Gallery, store: MemoryGalleryStore, make_encoder: Any, progress: Any, draw: Any
    ) -> Path:
        (photos / "empty.png").touch()
        (photos / "text.png").write_text("no picture")
        draw(photos / "wide.png", 60, (200, 100))
        with zipfile.ZipFile(photos.parent / "more.zip", "w") as archive:
            archive.write(photos / "00.png", "good.png")
            archive.write(photos / "text.png", "bad.png")
        sources = [photos, photos.parent / "more.zip"]
        report = embed_photos(sources, gallery, make_encoder(), SMALL, progress)
        assert [Path(file.uri).name for file in report.quarantined] == ["bad.png", "empty.png", "text.png", "wide.png"]
        build_index(gallery, store, IndexOptions(), progress)
        return photos

    @pytest.fixture
    def retry(self, gallery: Gallery, store: MemoryGalleryStore, make_encoder: Any, progress: Any) -> Any:
        def run(options: EmbedOptions = SMALL, reason: str = "") -> RetryReport:
            return retry_quarantined(gallery, make_encoder(), store, options, IndexOptions(), progress, reason)

        return run

    def names(self, gallery: Gallery) -> list[str]:
        return [Path(file.uri).name for file in read_quarantine(gallery.quarantine_file)]

    def test_nothing_has_changed(self, spoilt: Path, gallery: Gallery, retry: Any) -> None:
        before = read_quarantine(gallery.quarantine_file)
        report = retry()
        assert (report.tried, report.embedded, report.gone, report.index) == (4, 0, 0, None)
        assert list(report.remaining) == read_quarantine(gallery.quarantine_file) == before

    def test_what_was_repaired_is_taken_in_and_indexed(
        self, spoilt: Path, gallery: Gallery, retry: Any, draw: Any, store: MemoryGalleryStore
    ) -> None:
        draw(spoilt / "empty.png", 70)
        report = retry()
        assert (report.tried, report.embedded, len(report.remaining)) == (4, 1, 3)
        assert report.index is not None and (report.index.version, report.index.photos) == (2, 12)
        assert self.names(gallery) == ["bad.png", "text.png", "wide.png"]
        found = {uri for part in store.scan(store.served(gallery.name)) for uri in part.embeddings.uris}
        assert str(spoilt / "empty.png") in found and len(found) == 12

    def test_a_higher_limit_lets_in_what_it_kept_out(self, spoilt: Path, gallery: Gallery, retry: Any) -> None:
        report = retry(replace(SMALL, max_pixels=20_000), "SBKA_INGEST__MAX_PIXELS")
        assert (report.tried, report.embedded, report.remaining) == (1, 1, ())
        assert self.names(gallery) == ["bad.png", "empty.png", "text.png"]
        assert str(spoilt / "wide.png") in read_known(gallery.shard_folder)

    def test_what_is_gone_leaves_the_list(self, spoilt: Path, gallery: Gallery, retry: Any) -> None:
        (spoilt / "empty.png").unlink()
        (spoilt.parent / "more.zip").unlink()
        report = retry()
        assert (report.tried, report.gone, len(report.remaining)) == (4, 2, 2)
        assert self.names(gallery) == ["text.png", "wide.png"]

    def test_a_member_of_an_archive_is_tried_by_its_name(self, spoilt: Path, gallery: Gallery, retry: Any) -> None:
        with zipfile.ZipFile(spoilt.parent / "more.zip", "w") as archive:
            archive.write(spoilt / "01.png", "bad.png")
        report = retry(reason="more.zip")
        assert (report.tried, report.embedded, report.remaining) == (1, 1, ())
        assert f"{spoilt.parent}/more.zip!/bad.png" in read_known(gallery.shard_folder)

    def test_what_only_says_where_it_went_wrong_keeps_its_reason(
        self, spoilt: Path, gallery: Gallery, retry: Any
    ) -> None:
        (spoilt / "list.csv").touch()
        row = QuarantinedFile(f"{spoilt / 'list.csv'}#row=7", "names nothing")
        write_quarantine(gallery.quarantine_file, [*read_quarantine(gallery.quarantine_file), row])
        assert row in retry().remaining
        assert row in read_quarantine(gallery.quarantine_file)

    def test_a_folder_that_can_be_listed_again_gives_what_is_new_in_it(
        self, spoilt: Path, gallery: Gallery, retry: Any, draw: Any
    ) -> None:
        draw(spoilt / "sub" / "new.png", 80)
        write_quarantine(gallery.quarantine_file, [QuarantinedFile(str(spoilt), "cannot be listed")])
        report = retry()
        assert (report.tried, report.embedded) == (1, 1)
        assert self.names(gallery) == ["empty.png", "text.png", "wide.png"]

    def test_another_models_encoder_is_refused(
        self, spoilt: Path, gallery: Gallery, store: MemoryGalleryStore, make_encoder: Any, progress: Any
    ) -> None:
        with pytest.raises(EncoderMismatch):
            retry_quarantined(gallery, make_encoder("grid-2"), store, SMALL, IndexOptions(), progress)
