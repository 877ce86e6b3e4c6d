"""The list of files that could not be used survives whatever their names are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbka_milvus.embeddings import QuarantinedFile, read_quarantine, write_quarantine
from sbka_milvus.errors import GalleryError

FILES = [
    QuarantinedFile("/p/b.jpg", "It is empty."),
    QuarantinedFile(os.fsdecode(b"/p/caf\xe9.jpg"), "has a name that is not valid UTF-8"),
    QuarantinedFile("/p/a\nb\u2028c.jpg", 'It says "no",\x85 in 猫.'),
]


def test_it_comes_back_in_order_of_uri(tmp_path: Path):
    path = tmp_path / "gallery" / "quarantine.jsonl"
    write_quarantine(path, FILES)
    assert read_quarantine(path) == sorted(FILES, key=lambda file: file.uri)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_writing_replaces_the_list(tmp_path: Path):
    path = tmp_path / "quarantine.jsonl"
    write_quarantine(path, FILES)
    write_quarantine(path, iter(FILES[:1]))
    assert read_quarantine(path) == FILES[:1]
    write_quarantine(path, [])
    assert read_quarantine(path) == []
    assert path.read_bytes() == b""


def test_no_list_is_an_empty_one(tmp_path: Path):
    assert read_quarantine(tmp_path / "quarantine.jsonl") == []


@pytest.mark.parametrize(
    "content",
    [
        b"no json\n",
        b'{"uri": "/p/a"}\n',
        b'{"uri": "/p/a", "reason": "x", "more": 1}\n',
        b'["/p/a", "x"]\n',
        b'{"uri": 5, "reason": "x"}\n',
        b'{"uri": "/p/a", "reason": null}\n',
        b'{"uri": "/p/a", "reason": "\xff"}\n',
    ],
)
def test_a_damaged_list_is_named_with_the_way_out(tmp_path: Path, content: bytes):
    path = tmp_path / "quarantine.jsonl"
    path.write_bytes(content)
    with pytest.raises(GalleryError, match=rf"{path} is damaged.*Delete it"):
        read_quarantine(path)


def test_a_folder_in_its_place_is_named(tmp_path: Path):
    with pytest.raises(GalleryError, match=f"{tmp_path} is damaged or unreadable"):
        read_quarantine(tmp_path)
