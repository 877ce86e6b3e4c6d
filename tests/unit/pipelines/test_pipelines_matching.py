"""What a version is matched by is read whole and of that version, or told as missing or damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sbka_milvus.embeddings.versions import matching_file
from sbka_milvus.errors import MatchingError, OutputError
from sbka_milvus.pipelines.matching import (
    is_matched,
    matching_digest,
    matching_finder,
    read_matching,
    write_matching,
)
from sbka_milvus.rankers import LiftedOptions, PhotoParts, ServedMatching, fit_lifted, pack_matching
from sbka_milvus.types import VersionInfo

PLAIN = VersionInfo("cats", 1, "grid-1", 16, 4, "t1")


@pytest.fixture
def content(pictures) -> bytes:
    vectors = pictures.photos(30)
    lifted = fit_lifted(vectors, pictures.sketches(20), LiftedOptions(4))
    return pack_matching(ServedMatching(lifted, PhotoParts.of(np.arange(30), lifted.photos(vectors))))


@pytest.fixture
def info(content, gallery) -> VersionInfo:
    """A version whose matching was written."""
    from sbka_milvus.rankers import unpack_matching

    dim = unpack_matching(content).lifted.dim
    made = VersionInfo("cats", 2, "grid-1", dim, 4, "t2", matching_digest(content))
    write_matching(gallery, made, content)
    return made


def test_it_comes_back_as_it_was_written(gallery, info, content):
    read = matching_finder(gallery)(info)
    assert isinstance(read, ServedMatching)
    assert pack_matching(read) == content
    assert is_matched(gallery, info)
    # Whichever model the gallery has now.
    assert read_matching(gallery.for_model("grid-2"), info) is not None


def test_a_version_of_the_photos_own_vectors_has_none(gallery):
    assert read_matching(gallery, PLAIN) is None
    assert is_matched(gallery, PLAIN)


def test_a_missing_one_is_told_with_the_way_out(gallery, info):
    matching_file(gallery.version_folder, "t2").unlink()
    with pytest.raises(MatchingError, match=r"Version 2 .*t2\.npz is missing.*sbka ingest"):
        read_matching(gallery, info)
    assert not is_matched(gallery, info)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_damaged_one_is_told(gallery, info, content, keep):
    matching_file(gallery.version_folder, "t2").write_bytes(content[:keep])
    with pytest.raises(MatchingError, match=r"t2\.npz is damaged"):
        read_matching(gallery, info)


def test_that_of_another_version_is_not_taken_for_it(gallery, info, content):
    with pytest.raises(MatchingError, match="of another version"):
        read_matching(gallery, replace(info, matching=matching_digest(content + b" ")))


def test_content_that_says_something_else_is_told(gallery, info, content):
    strange = b"something else"
    write_matching(gallery, info, strange)
    with pytest.raises(MatchingError, match=r"t2\.npz cannot be used: It holds no matching"):
        read_matching(gallery, replace(info, matching=matching_digest(strange)))
    write_matching(gallery, info, content)
    with pytest.raises(MatchingError, match="not of 99 dimensions"):
        read_matching(gallery, replace(info, dim=99))


def test_a_file_that_cannot_be_read_or_written_is_told(gallery, info, content):
    path = matching_file(gallery.version_folder, "t2")
    path.unlink()
    path.mkdir()
    with pytest.raises(MatchingError, match=r"t2\.npz cannot be read"):
        read_matching(gallery, info)
    with pytest.raises(OutputError, match=r"t2\.npz cannot be written"):
        write_matching(gallery, info, content)
