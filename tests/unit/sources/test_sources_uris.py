"""The grammar of URIs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sbka_milvus.images.uris import (
    ARCHIVE_SUFFIXES,
    absolute_source,
    belongs_to,
    is_archive,
    is_manifest,
    is_remote,
    member_uri,
    split_member,
    still_there,
)

SUFFIXES = st.sampled_from(ARCHIVE_SUFFIXES)
NAMES = st.binary(min_size=1, max_size=60).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)


@settings(deadline=None)
@given(
    NAMES,
    st.sampled_from(["/p/a", "/ä b/%41", "s3://bucket/key", "https://example.org/d"]),
    st.sampled_from(ARCHIVE_SUFFIXES),
)
@example("a.zip!/b.jpg", "/p/a", ".tar")
@example("100%25#2", "/p/a", ".zip")
@example("caf\udce9.jpg", "/p/a", ".TGZ")
def test_a_member_comes_back_from_its_uri(name: str, folder: str, suffix: str) -> None:
    archive = folder + suffix
    uri = member_uri(archive, name)
    assert split_member(uri) == (archive, name)
    uri.encode()  # which every store can keep


@settings(deadline=None)
@given(NAMES, NAMES)
def test_two_members_have_two_uris(one: str, other: str) -> None:
    assert (member_uri("/a.zip", one) == member_uri("/a.zip", other)) == (one == other)


def test_names_stay_readable() -> None:
    assert member_uri("/p/a.tar", "cats & dogs/ünï 猫!.jpg") == "/p/a.tar!/cats & dogs/ünï 猫!.jpg"
    assert member_uri("/p/a.tar", "100%\n#1") == "/p/a.tar!/100%25%0A%231"


@pytest.mark.parametrize("uri", ["/p/a.jpg", "/p/a.zip", "/p/a.zip/b.jpg", "/p/a!/b.jpg", "/p/a.zipper!/b.jpg", ""])
def test_other_uris_are_no_members(uri: str) -> None:
    assert split_member(uri) is None


def test_the_query_of_an_address_belongs_to_the_archive() -> None:
    assert split_member("https://e.org/a.tar?token=x/y!/1.jpg") == ("https://e.org/a.tar?token=x/y", "1.jpg")


@pytest.mark.parametrize(
    ("text", "archive", "manifest", "remote"),
    [
        ("a.tar", True, False, False),
        ("A.TAR.GZ", True, False, False),
        ("/p/b.tgz", True, False, False),
        ("c.csv", False, True, False),
        ("s3://b/c.PARQUET", False, True, True),
        ("https://e.org/c.jsonl?a=b.tar", False, True, True),
        ("https://e.org/?a.tar", False, False, True),
        ("file:///p/a.zip", True, False, False),
        ("a.jpg", False, False, False),
        ("c:/p/a.zip", True, False, False),
    ],
)
def test_kinds_by_name(text: str, archive: bool, manifest: bool, remote: bool) -> None:
    assert (is_archive(text), is_manifest(text), is_remote(text)) == (archive, manifest, remote)


def test_sources_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_source("a/../b.tar") == f"{tmp_path}/b.tar"
    assert absolute_source("file:///p/my%20cats") == "/p/my cats"
    assert absolute_source("https://e.org/a/../b") == "https://e.org/a/../b"


@pytest.mark.parametrize(
    ("uri", "source", "belongs"),
    [
        ("/p/a.jpg", "/p", True),
        ("/p/a.jpg", "/p/", True),
        ("/p/a.jpg", "/p/a.jpg", True),
        ("/p/a.zip!/1.jpg", "/p/a.zip", True),
        ("/p/m.csv#row=3", "/p/m.csv", True),
        ("/pq/a.jpg", "/p", False),
        ("/p/a.zip2", "/p/a.zip", False),
        ("/x.jpg", "/", True),
        ("s3://b/c/1.jpg", "s3://b/c", True),
        ("s3://b/cc/1.jpg", "s3://b/c", False),
    ],
)
def test_what_belongs_to_a_source(uri: str, source: str, belongs: bool) -> None:
    assert belongs_to(uri, source) is belongs


def test_what_is_still_there(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.zip", "m.csv"):
        (tmp_path / name).touch()
    there = ["a.jpg", "a.zip!/x.jpg", "m.csv#row=3"]
    gone = ["b.jpg", "b.zip!/x.jpg", "n.csv#row=3", "a.jpg#row"]
    assert [still_there(f"{tmp_path}/{name}") for name in there + gone] == [True] * 3 + [False] * 4
    assert still_there("https://example.org/gone.jpg")
