"""A gallery knows in which Milvus it is indexed, and says so where another one is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.index_record import IndexRecord, read_index_record, write_index_record
from sbka_milvus.errors import GalleryError
from sbka_milvus.places import (
    live_up_milvus,
    milvus_address,
    milvus_place,
    missing_index,
    remember_place,
    require_index,
)
from sbka_milvus.settings import MilvusSettings, Settings

UP = "http://127.0.0.1:23456"
RECORD = IndexRecord(1, "digest", 40, "token")


@pytest.fixture
def gallery(tmp_path):
    return Gallery.create_or_open(tmp_path / "gallery", "model-1", "cats")


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def settings(workspace: Path, uri: str = "") -> Settings:
    return Settings(workspace=workspace, milvus=MilvusSettings(uri=uri))


def start_up(workspace: Path, **changes: object) -> None:
    """This very process stands for a running ``sbka up``."""
    state = {"pid": os.getpid(), "started": psutil.Process().create_time(), "milvus": UP, "redis": "redis://x"}
    (workspace / "up.json").write_text(json.dumps(state | changes))


class TestAddress:
    def test_the_settings_come_first_then_a_running_up_then_the_folder(self, gallery, workspace):
        assert milvus_address(settings(workspace), gallery) == str(gallery.milvus_folder)
        assert milvus_place(settings(workspace)) == "embedded"
        start_up(workspace)
        assert milvus_address(settings(workspace), gallery) == milvus_address(settings(workspace), None) == UP
        assert milvus_place(settings(workspace)) == f"up:{workspace}"
        assert milvus_address(settings(workspace, "http://milvus:1"), gallery) == "http://milvus:1"
        assert milvus_place(settings(workspace, "http://milvus:1")) == "http://milvus:1"

    def test_neither_is_told(self, workspace):
        with pytest.raises(GalleryError, match=r"No Milvus is named.*SBKA_MILVUS__URI"):
            milvus_address(settings(workspace), None)

    def test_a_relative_workspace_is_recorded_with_its_whole_path(self, workspace, monkeypatch):
        start_up(workspace)
        monkeypatch.chdir(workspace.parent)
        assert milvus_place(settings(Path("workspace"))) == f"up:{workspace}"

    def test_a_password_in_the_address_is_not_recorded(self, workspace):
        place = milvus_place(settings(workspace, "https://user:secret@milvus:19530/db"))
        assert place == "https://milvus:19530/db"

    @pytest.mark.parametrize("changes", [{"started": 1.0}, {"pid": "x"}, {"pid": -4}, {"milvus": ""}, {"milvus": None}])
    def test_what_is_no_running_up_is_none(self, workspace, changes):
        start_up(workspace, **changes)
        assert live_up_milvus(workspace) == ""

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
    def test_a_damaged_file_is_none(self, workspace, content):
        (workspace / "up.json").write_bytes(content)
        assert live_up_milvus(workspace) == ""

    def test_one_that_was_killed_is_none(self, workspace):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            start_up(workspace, pid=process.pid, started=psutil.Process(process.pid).create_time())
            assert live_up_milvus(workspace) == UP
            process.kill()
        assert live_up_milvus(workspace) == ""


class TestMissing:
    def problem(self, gallery: Gallery, chosen: Settings, place: str = "") -> str:
        if place:
            write_index_record(gallery.index_file, IndexRecord(1, "digest", 40, "token", place))
        return str(missing_index(gallery, chosen))

    def test_a_gallery_that_was_never_indexed_says_so(self, gallery, workspace):
        with pytest.raises(GalleryError, match=rf"{gallery.root} has no index yet.*sbka ingest"):
            require_index(gallery, settings(workspace))
        gallery.milvus_folder.mkdir()
        require_index(gallery, settings(workspace))

    def test_a_server_is_asked_itself(self, gallery, workspace):
        require_index(gallery, settings(workspace, "http://milvus:1"))
        start_up(workspace)
        require_index(gallery, settings(workspace))

    def test_a_server_that_is_not_named_any_more(self, gallery, workspace):
        write_index_record(gallery.index_file, IndexRecord(1, "digest", 40, "token", "http://milvus:1"))
        with pytest.raises(GalleryError) as refused:
            require_index(gallery, settings(workspace))
        for part in ("the Milvus at http://milvus:1", "in its own folder", "Set SBKA_MILVUS__URI=http://milvus:1"):
            assert part in str(refused.value)

    def test_an_up_that_is_not_running(self, gallery, workspace):
        said = self.problem(gallery, settings(workspace), f"up:{workspace}")
        assert f"the Milvus of `sbka up` in {workspace}" in said
        assert f"Start `sbka up` with SBKA_WORKSPACE={workspace}" in said

    def test_another_server(self, gallery, workspace):
        said = self.problem(gallery, settings(workspace, "http://milvus:2"), "http://milvus:1")
        assert "the Milvus at http://milvus:1" in said
        assert "the Milvus at http://milvus:2, which is used now" in said
        assert "nothing is embedded again" in said

    def test_an_embedded_one_while_up_is_running(self, gallery, workspace):
        start_up(workspace)
        said = self.problem(gallery, settings(workspace), "embedded")
        assert "the Milvus in its own folder" in said
        assert "end `sbka up`" in said

    def test_the_same_place_has_none(self, gallery, workspace):
        said = self.problem(gallery, settings(workspace, "http://milvus:1"), "http://milvus:1")
        assert "has no index yet" in said


class TestRemembering:
    def test_a_record_without_a_place_gets_it(self, gallery, workspace):
        write_index_record(gallery.index_file, RECORD)
        remember_place(gallery, settings(workspace, "http://milvus:1"))
        assert read_index_record(gallery.index_file).place == "http://milvus:1"
        remember_place(gallery, settings(workspace, "http://milvus:2"))
        assert read_index_record(gallery.index_file).place == "http://milvus:1"

    def test_a_gallery_without_a_record_gets_none(self, gallery, workspace):
        remember_place(gallery, settings(workspace))
        assert not gallery.index_file.exists()
