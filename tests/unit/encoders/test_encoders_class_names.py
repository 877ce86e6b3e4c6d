"""Files of class names."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbka_milvus.encoders.class_names import read_class_names
from sbka_milvus.errors import DatasetError


def test_one_name_a_line_with_spaces_for_underscores(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("cat\n\n  hot-air_balloon \r\ncafé au  lait\n", encoding="utf-8")
    assert read_class_names(path) == ("cat", "hot-air balloon", "café au lait")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "names 0 classes"),
        (b"cat\n", "names 1 classes"),
        (b"cat\ndog\ncat\n", "names 'cat' twice"),
        (b"hot_dog\nhot dog\n", "names 'hot dog' twice"),
        (b"caf\xe9\ncat\n", "cannot be read"),
    ],
)
def test_what_is_no_list_of_names_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=problem) as caught:
        read_class_names(path)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.txt cannot be read: No such file"):
        read_class_names(tmp_path / "none.txt")
