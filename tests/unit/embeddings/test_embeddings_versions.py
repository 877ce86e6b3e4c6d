"""Records of versions are whole or not there, and say what became of a version."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from sbka_milvus.embeddings.index_record import IndexRecord, read_index_record, write_index_record
from sbka_milvus.embeddings.versions import (
    VersionRecord,
    matching_file,
    read_version_record,
    remove_version_record,
    utc_now,
    write_version_record,
)
from sbka_milvus.errors import OutputError

RECORD = VersionRecord(3, "t3", "model-1", 40, 8, "digest", "2026-01-01T00:00:00.000000+00:00", {"n_clusters": 0})


def test_a_record_comes_back_as_it_was_written(tmp_path):
    judged = replace(RECORD, gate={"passed": True, "measure": "mAP@all"}, promoted=utc_now(), rolled_back=utc_now())
    judged = replace(judged, matching={"form": "linear", "weight": 0.8})
    for record in (RECORD, judged):
        write_version_record(tmp_path / "versions", record)
        assert read_version_record(tmp_path / "versions", "t3") == record
    assert [path.name for path in (tmp_path / "versions").iterdir()] == ["t3.json"]


def test_a_record_that_is_removed_is_not_there(tmp_path):
    assert read_version_record(tmp_path, "t3") is None
    write_version_record(tmp_path, RECORD)
    remove_version_record(tmp_path, "t3")
    remove_version_record(tmp_path, "t3")
    assert read_version_record(tmp_path, "t3") is None


def test_what_lies_beside_a_record_goes_with_it_and_not_before_it(tmp_path):
    write_version_record(tmp_path, RECORD)
    matching_file(tmp_path, "t3").write_bytes(b"of t3")
    matching_file(tmp_path, "t4").write_bytes(b"of t4")
    remove_version_record(tmp_path, "t3")
    assert [path.name for path in tmp_path.iterdir()] == ["t4.npz"]

    matching_file(tmp_path, "t5").mkdir()  # which cannot be unlinked
    write_version_record(tmp_path, replace(RECORD, token="t5"))
    with pytest.raises(OutputError, match=r"t5\.npz cannot be removed"):
        remove_version_record(tmp_path, "t5")
    assert read_version_record(tmp_path, "t5") is None


def test_a_record_of_a_release_that_knew_one_form_has_none(tmp_path):
    earlier = asdict(RECORD)
    del earlier["matching"]
    (tmp_path / "t3.json").write_text(json.dumps(earlier))
    assert read_version_record(tmp_path, "t3") == RECORD
    (tmp_path / "t3.json").write_text(json.dumps(earlier | {"something": "new"}))
    assert read_version_record(tmp_path, "t3") == RECORD
    del earlier["photos"]
    (tmp_path / "t3.json").write_text(json.dumps(earlier))
    assert read_version_record(tmp_path, "t3") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff", b"{}"])
def test_a_damaged_record_is_none(tmp_path, content):
    (tmp_path / "t3.json").write_bytes(content)
    assert read_version_record(tmp_path, "t3") is None


@pytest.mark.parametrize(
    "change", [{"token": "other"}, {"photos": "40"}, {"gate": "yes"}, {"gate": {}}, {"matching": {}}, {"matching": 7}]
)
def test_a_record_that_says_something_else_is_none(tmp_path, change):
    (tmp_path / "t3.json").write_text(json.dumps(asdict(RECORD) | change))
    assert read_version_record(tmp_path, "t3") is None


def test_a_folder_that_cannot_be_written_is_a_typed_error(tmp_path):
    (tmp_path / "versions").write_text("a file in its place")
    with pytest.raises(OutputError, match="cannot be written"):
        write_version_record(tmp_path / "versions", RECORD)
    with pytest.raises(OutputError, match="cannot be removed"):
        remove_version_record(tmp_path / "versions", "t3")


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({}, True),
        ({"gate": {"passed": True}}, True),
        ({"gate": {"passed": False}}, False),
        ({"promoted": utc_now()}, False),
        ({"rolled_back": utc_now()}, False),
    ],
)
def test_a_version_waits_until_something_is_decided_of_it(change, waits):
    assert replace(RECORD, **change).waits is waits


def test_times_sort_as_text():
    times = [utc_now() for _ in range(50)]
    assert times == sorted(times)
    assert times[0].endswith("+00:00")


class TestIndexRecord:
    def test_it_comes_back_as_it_was_written(self, tmp_path):
        record = IndexRecord(3, "digest", 40, "t3", "embedded")
        write_index_record(tmp_path / "index.json", record)
        assert read_index_record(tmp_path / "index.json") == record

    def test_one_that_says_the_same_is_not_written_again(self, tmp_path):
        record = IndexRecord(3, "digest", 40, "t3", "embedded")
        write_index_record(tmp_path / "index.json", record)
        before = (tmp_path / "index.json").stat().st_ino
        write_index_record(tmp_path / "index.json", record)
        assert (tmp_path / "index.json").stat().st_ino == before

    def test_one_of_an_earlier_release_has_neither_token_nor_place(self, tmp_path):
        (tmp_path / "index.json").write_text('{"version": 1, "source": "digest", "photos": 40}')
        assert read_index_record(tmp_path / "index.json") == IndexRecord(1, "digest", 40)

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"7", b"\xff", b"{}", b'{"version": 1, "source": "x", "photos": 4, "place": 7}']
    )
    def test_a_damaged_one_is_none(self, tmp_path, content):
        (tmp_path / "index.json").write_bytes(content)
        assert read_index_record(tmp_path / "index.json") is None
