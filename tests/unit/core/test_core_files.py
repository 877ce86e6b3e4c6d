"""A replaced file is old or new and never a part, whatever goes wrong on the way."""

from __future__ import annotations

import errno
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbka_milvus.errors import OutputError
from sbka_milvus.files import replacing


@pytest.fixture
def small_files() -> Iterator[int]:
    """The most bytes a file may have, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    yield 65_536
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_new_file_appears_whole_with_its_folders(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file.bin"
    with replacing(path) as file:
        file.write(b"content")
        assert not path.exists()

    assert path.read_bytes() == b"content"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode), "as the umask says"


def test_the_old_content_is_there_until_the_block_ends(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("failure", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failure_inside_leaves_the_old_content_and_nothing_else(tmp_path: Path, failure: BaseException):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(type(failure)) as caught, replacing(path) as file:
        file.write(b"half")
        raise failure

    assert caught.value is failure
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_named_and_leaves_the_old_content(tmp_path: Path, small_files: int):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    refused = pytest.raises(OutputError, match=r"file cannot be written: File too large.*free space")
    with refused as caught, replacing(path) as file:
        file.write(b"x" * (2 * small_files))

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path):
    (tmp_path / "taken").write_bytes(b"a file")
    path = tmp_path / "taken" / "file"
    with pytest.raises(OutputError, match=f"{path} cannot be written"), replacing(path):
        pytest.fail("the block must not begin")
    assert (tmp_path / "taken").read_bytes() == b"a file"


def test_a_folder_in_the_files_place_is_an_output_error_and_leaves_no_draft(tmp_path: Path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken cannot be written"), replacing(tmp_path / "taken") as file:
        file.write(b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]
