"""Shards give back what went in, exist whole or not at all, and say when they cannot be used."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sbka_milvus.embeddings import PhotoRecords
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_known, read_records, write_shard
from sbka_milvus.errors import EncoderMismatch, GalleryError, InvalidValue, OutputError

ODD_URIS = ("/p/plain.jpg", "/p/ünïcödé 猫.jpg", os.fsdecode(b"/p/caf\xe9 \xff.jpg"), "/p/new\nline\0.jpg")
COLUMNS = ("sizes", "mtimes_ns", "widths", "heights", "vectors")


def assert_equal(one: PhotoRecords, other: PhotoRecords) -> None:
    assert (one.uris, one.content_hashes) == (other.uris, other.content_hashes)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype


class TestRoundTrip:
    def test_records_come_back_as_they_went_in(self, tmp_path, make_records):
        records = make_records(ODD_URIS)
        path = write_shard(tmp_path, records, "model-1")

        (read,) = read_records(tmp_path, "model-1")
        assert_equal(read, records)
        assert list(tmp_path.iterdir()) == [path]

    def test_many_records_come_back_in_order(self, tmp_path, make_records):
        records = make_records([f"/p/{number}.jpg" for number in range(3000)], dim=512)
        write_shard(tmp_path, records, "model-1")
        (read,) = read_records(tmp_path, "model-1")
        assert_equal(read, records)

    def test_rows_that_do_not_lie_together_in_memory_are_written_right(self, tmp_path, make_records):
        whole = make_records([f"/p/{number}.jpg" for number in range(10)])
        every_other = PhotoRecords(
            whole.uris[::2], whole.content_hashes[::2], *(getattr(whole, name)[::2] for name in COLUMNS)
        )
        write_shard(tmp_path, every_other, "model-1")
        (read,) = read_records(tmp_path, "model-1")
        assert_equal(read, every_other)

    def test_the_newest_vector_of_a_uri_wins(self, tmp_path, make_records):
        first = make_records(("/p/b", "/p/a"), seed=1)
        second = make_records(("/p/c", "/p/b"), seed=2)
        for records in (first, second):
            write_shard(tmp_path, records, "model-1")
        embeddings = read_embeddings(tmp_path, "model-1")

        assert embeddings is not None
        assert embeddings.uris == ("/p/a", "/p/b", "/p/c")
        expected = [first.vectors[1], second.vectors[1], second.vectors[0]]
        np.testing.assert_array_equal(embeddings.vectors, expected)

    def test_what_is_known_is_the_newest_size_and_time(self, tmp_path, make_records):
        first, second = make_records(ODD_URIS, seed=1), make_records(ODD_URIS[2:], seed=2)
        for records in (first, second):
            write_shard(tmp_path, records, "model-1")

        assert read_known(tmp_path) == {
            ODD_URIS[0]: (first.sizes[0], first.mtimes_ns[0]),
            ODD_URIS[1]: (first.sizes[1], first.mtimes_ns[1]),
            ODD_URIS[2]: (second.sizes[0], second.mtimes_ns[0]),
            ODD_URIS[3]: (second.sizes[1], second.mtimes_ns[1]),
        }

    def test_no_shards_hold_nothing(self, tmp_path):
        for folder in (tmp_path, tmp_path / "missing"):
            assert list_shards(folder) == []
            assert read_embeddings(folder, "model-1") is None
            assert read_known(folder) == {}


class TestNumbers:
    def test_shards_are_numbered_and_listed_oldest_first(self, tmp_path, make_records):
        paths = [write_shard(tmp_path, make_records(("/p/a",)), "model-1") for _ in range(3)]
        assert [path.name[:14] for path in paths] == ["photos-000001-", "photos-000002-", "photos-000003-"]
        assert list_shards(tmp_path) == paths

    def test_a_removed_shard_leaves_a_gap_and_numbers_go_on_above(self, tmp_path, make_records):
        paths = [write_shard(tmp_path, make_records(("/p/a",)), "model-1") for _ in range(2)]
        paths[0].unlink()
        assert write_shard(tmp_path, make_records(("/p/a",)), "model-1").name.startswith("photos-000003-")

    def test_numbers_are_compared_as_numbers(self, tmp_path, make_records):
        tmp_path.joinpath("photos-1000000-00000000.parquet").touch()
        tmp_path.joinpath("photos-999999-ffffffff.parquet").touch()
        assert [path.name[7:14] for path in list_shards(tmp_path)] == ["999999-", "1000000"]
        assert write_shard(tmp_path, make_records(("/p/a",)), "m").name.startswith("photos-1000001-")

    def test_a_name_never_comes_twice(self, tmp_path, make_records):
        path = write_shard(tmp_path, make_records(("/p/a",)), "model-1")
        path.unlink()
        assert write_shard(tmp_path, make_records(("/p/a",)), "model-1").name != path.name

    def test_other_files_are_no_shards(self, tmp_path):
        names = ["notes.txt", "photos-1.parquet", ".photos-000001-00000000.parquet.x8", "photos-000001-00000000.tmp"]
        for name in names:
            tmp_path.joinpath(name).touch()
        assert list_shards(tmp_path) == []


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may have more than 64 kB, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_nothing(tmp_path, make_records, small_files):
    write_shard(tmp_path, make_records(("/p/a",)), "model-1")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=r"photos-000002-.*cannot be written.*free space"):
        write_shard(tmp_path, make_records([f"/p/{number}" for number in range(200)], dim=512), "model-1")
    assert sorted(tmp_path.iterdir()) == before
    assert list(read_known(tmp_path)) == ["/p/a"]


class TestDamage:
    @pytest.fixture
    def shard(self, tmp_path, make_records) -> Path:
        return write_shard(tmp_path, make_records([f"/p/{number}" for number in range(100)], dim=64), "model-1")

    def refused(self, shard: Path, *, also_known: bool = True) -> None:
        with pytest.raises(GalleryError, match=rf"{shard} is damaged.*Move it away"):
            list(read_records(shard.parent, "model-1"))
        with pytest.raises(GalleryError, match="is damaged"):
            read_embeddings(shard.parent, "model-1")
        if also_known:
            with pytest.raises(GalleryError, match=rf"{shard} is damaged"):
                read_known(shard.parent)

    @pytest.mark.parametrize("keep", [0, 1, 100, 5000])
    def test_a_shard_that_was_cut_short_is_named(self, shard, keep):
        shard.write_bytes(shard.read_bytes()[:keep])
        self.refused(shard)

    def test_a_shard_that_is_something_else_is_named(self, shard):
        shard.write_bytes(b"no parquet at all " * 10)
        self.refused(shard)

    @pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
    def test_a_flipped_bit_among_the_vectors_is_noticed(self, shard, place):
        content = bytearray(shard.read_bytes())
        content[int(place * len(content))] ^= 1
        shard.write_bytes(content)
        self.refused(shard, also_known=False)
        assert len(read_known(shard.parent)) == 100

    def test_a_shard_without_its_columns_is_named(self, shard):
        metadata = pq.read_schema(shard).metadata
        pq.write_table(pa.table({"size": [1], "other": [2]}).replace_schema_metadata(metadata), shard)
        self.refused(shard)

    def test_vectors_that_are_no_unit_vectors_are_named(self, shard):
        table = pq.read_table(shard)
        zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(100 * 64, np.float32)), 64)
        pq.write_table(table.set_column(table.schema.get_field_index("vector"), "vector", zeros), shard)
        self.refused(shard, also_known=False)

    def test_a_shard_of_a_later_format_asks_for_an_upgrade(self, shard):
        table = pq.read_table(shard)
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"sbka.format": b"9"}), shard)
        for read in (lambda: list(read_records(shard.parent, "model-1")), lambda: read_known(shard.parent)):
            with pytest.raises(GalleryError, match=r"has format 9.*Upgrade"):
                read()


class TestEncoder:
    def test_a_shard_of_another_encoder_is_refused_with_both_names(self, tmp_path, make_records):
        write_shard(tmp_path, make_records(("/p/a",)), "model-1")
        path = write_shard(tmp_path, make_records(("/p/b",)), "model-2")
        with pytest.raises(EncoderMismatch, match=rf"{path} was made with the model model-2, not model-1"):
            read_embeddings(tmp_path, "model-1")

    def test_a_shard_that_names_no_encoder_is_refused(self, tmp_path, make_records):
        path = write_shard(tmp_path, make_records(("/p/a",)), "model-1")
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
        with pytest.raises(EncoderMismatch, match="the model unknown, not model-1"):
            list(read_records(tmp_path, "model-1"))


@pytest.mark.parametrize("name", ["uris", "content_hashes", "sizes", "mtimes_ns", "widths", "heights"])
def test_records_of_unequal_lengths_are_refused(make_records, name):
    records = make_records(("/p/a", "/p/b"))
    fields = {field: getattr(records, field) for field in ("uris", "content_hashes", *COLUMNS)}
    with pytest.raises(InvalidValue, match=f"{name} has 1 entries for 2 vectors"):
        PhotoRecords(**{**fields, name: fields[name][:1]})


def test_records_of_vectors_that_are_no_unit_vectors_are_refused(make_records):
    records = make_records(("/p/a", "/p/b"))
    fields = {field: getattr(records, field) for field in ("uris", "content_hashes", *COLUMNS)}
    with pytest.raises(InvalidValue, match="unit L2 norm"):
        PhotoRecords(**{**fields, "vectors": 2 * records.vectors})
    assert len(records) == 2
