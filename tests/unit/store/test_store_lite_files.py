"""Indexes that a kill cut off: recognised, and removed where nobody has the directory open."""

from __future__ import annotations

import fcntl
import io
from pathlib import Path

import faiss
import numpy as np
import pytest

from sbka_milvus.store.lite_files import is_whole, remove_unfinished


def npy() -> bytes:
    content = io.BytesIO()
    np.save(content, np.ones((5, 7), np.float32), allow_pickle=False)
    return content.getvalue()


def planted(folder: Path, content: bytes, name: str = "data_1.vector.flat.idx") -> Path:
    path = folder / "collections" / "cats__v1" / "partitions" / "c00000" / "indexes" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    (folder / "LOCK").touch()
    return path


@pytest.mark.parametrize("length", [0, 1, 5, 6, 7, 9, 60, 127, 128, 129, len(npy()) - 1])
def test_an_index_that_was_cut_off_goes(tmp_path: Path, length: int) -> None:
    path = planted(tmp_path, npy()[:length])
    assert not is_whole(path)
    assert remove_unfinished(tmp_path) == [path]
    assert not path.exists()


def test_whole_ones_and_those_of_other_kinds_stay(tmp_path: Path) -> None:
    other = faiss.serialize_index(faiss.IndexFlatIP(4)).tobytes()
    paths = [planted(tmp_path, npy()), planted(tmp_path, other, "data_1.vector.hnsw.idx")]
    paths.append(planted(tmp_path, b"", "data_1.year.inverted.sidx"))
    assert remove_unfinished(tmp_path) == []
    assert all(path.exists() for path in paths)


def test_nothing_is_touched_while_the_directory_is_open(tmp_path: Path) -> None:
    path = planted(tmp_path, b"")
    with (tmp_path / "LOCK").open("ab") as engine:
        fcntl.flock(engine, fcntl.LOCK_EX)
        assert remove_unfinished(tmp_path) == []
    assert path.exists()
    assert remove_unfinished(tmp_path) == [path]


def test_there_need_be_no_directory(tmp_path: Path) -> None:
    assert remove_unfinished(tmp_path / "none") == []
