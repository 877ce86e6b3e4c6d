"""Splits are read strictly, and their digest says whether two are the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sbka_milvus.errors import DatasetError
from sbka_milvus.images import Split


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "small.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_split_is_read(tmp_path: Path) -> None:
    split = Split.load(written(tmp_path, '{"name": "s", "unseen": ["dog", "ape"], "seen": ["cat"], "n_seen": 1}'))
    assert (split.name, split.seen, split.unseen) == ("s", ("cat",), ("dog", "ape"))


def test_name_and_seen_may_be_left_out(tmp_path: Path) -> None:
    split = Split.load(str(written(tmp_path, '\ufeff{"unseen": ["dog"]}')))
    assert (split.name, split.seen, split.unseen) == ("small", (), ("dog",))


def test_the_digest_is_of_the_sorted_lists() -> None:
    split = Split("any", ("zèbre", "cat"), ("dog", "ape"))
    text = '{"seen":["cat","zèbre"],"unseen":["ape","dog"]}'
    assert split.digest == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert split.digest == Split("other", ("cat", "zèbre"), ("ape", "dog")).digest
    assert split.digest != Split("any", ("dog", "cat"), ("zèbre", "ape")).digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON at line 1"),
        ('{"unseen": [\n"dog",]}', "not valid JSON at line 2"),
        ("[" * 100_000, "not valid JSON"),
        ('["dog"]', "not a JSON object"),
        ('{"seen": ["dog"]}', "no list 'unseen'"),
        ('{"unseen": []}', "no unseen classes"),
        ('{"unseen": "dog"}', "'unseen' is not a list of class names"),
        ('{"unseen": ["dog", 3]}', "'unseen' is not a list of class names"),
        ('{"unseen": [" "]}', "'unseen' is not a list of class names"),
        ('{"unseen": ["dog"], "seen": null}', "'seen' is not a list of class names"),
        ('{"unseen": ["dog"], "name": 3}', "'name' that is no text"),
        ('{"unseen": ["dog"], "seen": ["cat", "dog"]}', "'dog' both seen and unseen"),
        ('{"unseen": ["Hot-dog"], "seen": ["hot_dog"]}', "'Hot-dog' both seen and unseen"),
        ('{"unseen": ["dog", "dog"]}', "'dog' twice in 'unseen'"),
    ],
)
def test_what_is_wrong_with_a_split_is_said(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        Split.load(written(tmp_path, text))
    assert caught.value.remedy


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(json.dumps({"unseen": ["é"]}, ensure_ascii=False).encode("latin-1"))
    for path, reason in (
        (tmp_path / "none.json", "none.json does not exist"),
        (tmp_path, "cannot be read"),
        (tmp_path / "latin.json", "latin.json is not valid JSON"),
    ):
        with pytest.raises(DatasetError, match=reason):
            Split.load(path)
