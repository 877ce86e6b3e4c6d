import pytest

from sbka_milvus.errors import SettingsError
from sbka_milvus.sheets.files import atomic_file


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_takes_its_place_when_the_block_ends(tmp_path):
    target = tmp_path / "sheet.html"
    target.write_bytes(b"old")
    with atomic_file(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["sheet.html"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "sheet.html"
    target.write_bytes(b"old")
    with pytest.raises(KeyError), atomic_file(str(target)) as file:
        file.write(b"half")
        raise KeyError
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["sheet.html"]


def test_others_may_read_the_file_as_the_umask_says(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_file(tmp_path / "sheet"):
        pass
    assert (tmp_path / "sheet").stat().st_mode == plain.stat().st_mode


def test_places_that_take_no_file_are_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for place in ("missing/sheet", "file/sheet", "folder"):
        with pytest.raises(SettingsError, match=f"{place} cannot be written"), atomic_file(tmp_path / place):
            pass
    assert names(tmp_path) == ["file", "folder"]
