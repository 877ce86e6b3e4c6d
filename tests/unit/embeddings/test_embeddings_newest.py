"""Of each photo the last row counts, in whichever shard it is, and vectors are in memory once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.embeddings.newest import ids_of, newest_rows
from sbka_milvus.embeddings.rewriting import SET_ASIDE, keep_rows, remove_shard, set_aside
from sbka_milvus.embeddings.shards import columns_of, list_shards, read_embeddings, shard_name, write_shard
from sbka_milvus.embeddings.unchecked import count_rows, read_unchecked
from sbka_milvus.errors import GalleryError
from sbka_milvus.pipelines.care.expected import ExpectedCollector, marks_of

NAMES = st.sampled_from("abcdef")
SHARDS = st.lists(st.tuples(st.sets(NAMES, max_size=3), st.lists(NAMES, max_size=6)).filter(any), max_size=5)
"""What each takes out, and what it holds."""


@settings(deadline=None, max_examples=60)
@given(SHARDS)
def test_newest_rows_are_those_that_no_later_row_replaces_or_takes_out(tmp_path_factory, make_records, shards):
    folder = tmp_path_factory.mktemp("shards")
    expected: dict[str, tuple[int, int]] = {}
    for number, (removed, uris) in enumerate(shards):
        write_shard(folder, make_records(uris, seed=number) if uris else None, "m", removed=sorted(removed))
        expected = {uri: place for uri, place in expected.items() if uri not in removed}
        expected |= {uri: (number, row) for row, uri in enumerate(uris)}
    paths = list_shards(folder)
    found = newest_rows(paths)
    assert [(shard, row) for shard, rows in enumerate(found) for row in rows.tolist()] == sorted(expected.values())
    assert [count_rows(path) for path in paths] == [len(uris) for _, uris in shards]
    held = read_embeddings(folder, "m")
    assert (set() if held is None else set(held.uris)) == set(expected)
    for uri, vector in zip(held.uris, held.vectors, strict=True) if held else ():
        shard, row = expected[uri]
        np.testing.assert_array_equal(vector, make_records(shards[shard][1], seed=shard).vectors[row])
    collector = ExpectedCollector()
    for path in paths:
        one = read_unchecked(path)
        collector.remove(ids_of(one.removed))
        collector.add(ids_of(one.uris), marks_of(one.vectors))
    rows = collector.result()
    assert rows.ids.tolist() == sorted(ids_of(list(expected)).tolist())
    assert rows.superseded == sum(len(uris) for _, uris in shards) - len(expected)


def test_no_vector_is_in_memory_twice(tmp_path, make_records):
    for number in range(20):
        write_shard(tmp_path, make_records([f"{number}/{row}" for row in range(500)], dim=256, seed=number), "m")
    read_embeddings(tmp_path, "m")  # what is imported and cached at the first time
    tracemalloc.start()
    held = read_embeddings(tmp_path, "m")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held is not None
    assert peak < 1.6 * held.vectors.nbytes


def test_shards_of_different_lengths_are_told(tmp_path, make_records):
    write_shard(tmp_path, make_records(["a"], dim=8), "m")
    write_shard(tmp_path, make_records(["b"], dim=4), "m")
    with pytest.raises(GalleryError, match="another length"):
        read_embeddings(tmp_path, "m")


class TestRewriting:
    def test_kept_rows_take_the_place_of_the_shard(self, tmp_path, make_records):
        first, second = (write_shard(tmp_path, make_records(["a", "b"], seed=seed), "m") for seed in (1, 2))
        fresh = keep_rows(first, np.array([False, True]))
        remove_shard(first)
        remove_shard(first)  # twice is allowed
        assert list_shards(tmp_path) == [fresh, second]
        assert read_unchecked(fresh).uris == ("b",)
        assert read_unchecked(fresh).fingerprint == "m"
        np.testing.assert_array_equal(read_unchecked(fresh).vectors, make_records(["a", "b"], seed=1).vectors[1:])

    @pytest.mark.parametrize(("kept", "left"), [([True, False], {"a", "c"}), ([False, False], {"a"})])
    def test_what_a_shard_takes_out_stays_taken_out(self, tmp_path, make_records, kept, left):
        write_shard(tmp_path, make_records(["a", "b"]), "m")
        path = write_shard(tmp_path, make_records(["c", "d"]), "m", removed=["b"])
        fresh = keep_rows(path, np.array(kept))
        remove_shard(path)
        held = read_embeddings(tmp_path, "m")
        assert held is not None and set(held.uris) == left
        assert read_unchecked(fresh).removed == ("b",)

    def test_no_row_is_kept(self, tmp_path, make_records):
        path = write_shard(tmp_path, make_records(["a"]), "m")
        assert keep_rows(path, np.array([False])) is None
        assert list_shards(tmp_path) == [path]

    def test_set_aside_is_out_of_the_way_and_not_deleted(self, tmp_path, make_records):
        path = write_shard(tmp_path / "shards", make_records(["a"]), "m")
        content = path.read_bytes()
        moved = set_aside(tmp_path, path)
        assert moved == tmp_path / SET_ASIDE / path.name
        assert moved.read_bytes() == content
        assert list_shards(tmp_path / "shards") == []


class TestUnchecked:
    def test_rows_as_they_are(self, tmp_path, make_records):
        records = make_records(["a", "caf\udce9"])
        shard = read_unchecked(write_shard(tmp_path, records, "m"))
        assert (shard.uris, shard.content_hashes) == (records.uris, records.content_hashes)
        assert shard.usable(8).tolist() == [True, True]
        assert shard.usable(9).tolist() == [False, False]
        assert columns_of(shard.path, ("uri", "size"))[0][1] == records.sizes.tolist()

    def test_rows_are_counted_without_being_read(self, tmp_path, make_records):
        path = write_shard(tmp_path, make_records(["a", "b", "c"]), "m")
        assert count_rows(path) == 3

    @pytest.mark.parametrize("read", [count_rows, read_unchecked])
    def test_damage_is_told(self, tmp_path: Path, read):
        path = tmp_path / shard_name(1, "x")
        path.write_bytes(b"PAR1 rubbish")
        with pytest.raises(GalleryError, match=path.name):
            read(path)
