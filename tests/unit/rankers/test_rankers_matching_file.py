"""A matching comes back from its file as it was, or is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import (
    LiftedMatching,
    ModalityAlignment,
    PhotoParts,
    ServedMatching,
    pack_matching,
    unpack_matching,
)
from sbka_milvus.types import normalise


def make(projection: bool = True) -> ServedMatching:
    rng = np.random.default_rng(0)
    width = 3 if projection else 5
    alignment = ModalityAlignment(
        rng.normal(size=5), rng.normal(size=5), rng.normal(size=(5, 3)) if projection else None
    )
    tables = tuple(normalise(rng.normal(size=(k, width))) for k in (2, 4))
    lifted = LiftedMatching(alignment, tables, 0.8, normalise(rng.normal(size=(6, width))), 0.3, 0.1)
    clusters = np.array([[0, 3], [1, 0], [1, 2]], dtype=np.int32)
    return ServedMatching(lifted, PhotoParts(np.array([4, 9, 12]), clusters, np.float32([0.1, 0.2, 0.3])))


@pytest.mark.parametrize("projection", [True, False])
def test_it_comes_back_as_it_was(projection):
    made = make(projection)
    content = pack_matching(made)
    assert content == pack_matching(make(projection))
    read = unpack_matching(content)

    assert read.name == made.name
    assert (read.lifted.weight, read.lifted.level_weight, read.lifted.share) == (0.8, 0.3, 0.1)
    assert (read.lifted.alignment.projection is None) is not projection
    vectors = normalise(np.random.default_rng(1).normal(size=(8, 5)))
    np.testing.assert_array_equal(read.queries(vectors), made.queries(vectors))
    np.testing.assert_array_equal(read.lifted.photos(vectors).rows, made.lifted.photos(vectors).rows)
    query, ids, cosines = made.queries(vectors)[0], np.array([9, 4]), np.float32([0.2, 0.1])
    for name in ("scores", "cluster_scores", "member_scores", "levels"):
        np.testing.assert_array_equal(
            getattr(read.parts(query, ids, cosines), name), getattr(made.parts(query, ids, cosines), name)
        )


def packed(**changes: Any) -> bytes:
    with np.load(io.BytesIO(pack_matching(make()))) as opened:
        parts = {name: opened[name] for name in opened.files} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in parts.items() if value is not None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"tables": None},
        {"numbers": np.zeros(2)},
        {"numbers": np.array(["a", "b", "c"])},
        {"numbers": np.array([np.nan, 0.4, 0.1])},
        {"table_sizes": np.array([2, 5])},
        {"table_sizes": np.array([], dtype=np.int64)},
        {"table_sizes": np.array([-1, 7])},
        {"tables": np.zeros((6, 3), np.float32)},
        {"tables": np.zeros(6, np.float32)},
        {"sketches": np.zeros((2, 3))},
        {"clusters": np.full((3, 2), 4, np.int32)},
        {"ids": np.array([4, 4, 5])},
        {"ids": np.array(7)},
        {"projection": np.zeros((4, 3))},
        {"photo_mean": np.zeros((5, 5))},
        {"format_version": np.array("new")},
        {"levels": np.array([{"a": 1}, None, None], dtype=object)},
    ],
    ids=str,
)
def test_content_that_does_not_fit_is_refused(changes):
    with pytest.raises(InvalidValue):
        unpack_matching(packed(**changes))


def test_a_newer_format_asks_for_an_upgrade():
    with pytest.raises(InvalidValue, match=r"format 2.*Upgrade"):
        unpack_matching(packed(format_version=np.asarray(2)))


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"no archive at all", b"{}"])
def test_what_is_no_archive_is_refused(content):
    with pytest.raises(InvalidValue):
        unpack_matching(content)


def test_a_single_array_in_place_of_many_is_refused():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    with pytest.raises(InvalidValue):
        unpack_matching(buffer.getvalue())


def test_a_file_cut_short_or_with_a_flipped_bit_is_refused_or_the_same():
    content = pack_matching(make())
    whole = unpack_matching(content)
    for cut in range(0, len(content) - 1, 97):
        with pytest.raises(InvalidValue):
            unpack_matching(content[:cut])
    for place in range(0, len(content), 23):
        flipped = bytearray(content)
        flipped[place] ^= 0x01
        try:
            read = unpack_matching(bytes(flipped))
        except InvalidValue:
            continue
        # A byte of the archive that nothing is read from: a date, an attribute.
        np.testing.assert_array_equal(read.lifted.tables[0], whole.lifted.tables[0])
        np.testing.assert_array_equal(read.photos.clusters, whole.photos.clusters)


def test_an_archive_that_says_it_is_locked_is_refused():
    content = bytearray(pack_matching(make()))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidValue, match="encrypted"):
        unpack_matching(bytes(content))
