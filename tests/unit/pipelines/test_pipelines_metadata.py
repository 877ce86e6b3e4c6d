"""Metadata on its way: which photos need work, columns and their kinds, shards that are written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import read_embeddings, read_known, read_metadata, read_records, write_shard
from sbka_milvus.images import PhotoFile
from sbka_milvus.pipelines.chunks import chunk_file, embedded_files, read_chunk, write_chunks
from sbka_milvus.pipelines.metadata import Sorting, indexed_metadata, metadata_fields, renew_metadata
from sbka_milvus.types import MetadataField, normalise


def photo(name: str, metadata: Any = None, mtime_ns: int = 2) -> PhotoFile:
    return PhotoFile(name, Path(name), 1, mtime_ns, metadata)


def shard(gallery: Gallery, names: str, seed: int = 0, metadata: Any = ()) -> PhotoRecords:
    n = len(names)
    ones, vectors = np.ones(n, dtype=np.int64), normalise(np.random.default_rng(seed).normal(size=(n, 4)))
    records = PhotoRecords(tuple(names), tuple(names), ones, 2 * ones, ones, ones, vectors, metadata)
    write_shard(gallery.shard_folder, records, gallery.fingerprint)
    return records


def test_sorting() -> None:
    sorting = Sorting({name: (1, 2) for name in "abcd"}, {"a": {"year": 1}, "b": {"year": 1}, "e": {"x": 1}})
    files = [
        photo("a", {"year": 1}),  # as it was
        photo("b", {"year": 2}),  # other metadata
        photo("c", {}),  # nothing then, nothing now
        photo("d"),  # of a source that says nothing
        photo("a", None, 3),  # changed: keeps what was said
        photo("e"),  # new, and said of before
        photo("f", {"year": 5}),  # new
    ]
    found = sorting.sort(files)
    assert found.unchanged == 3
    assert found.renewed == [files[1]]
    assert [(file.uri, file.metadata) for file in found.fresh] == [
        ("a", {"year": 1}),
        ("e", {"x": 1}),
        ("f", {"year": 5}),
    ]


def test_a_true_and_a_one_are_not_the_same() -> None:
    assert [field.kind for field in metadata_fields([{"a": True}])] == ["bool"]
    assert metadata_fields([{"a": True, "b": 1}, {"a": 1, "b": "x"}, {"c": 1.5}, {"c": 2}]) == (
        MetadataField("a", "text"), MetadataField("b", "text"), MetadataField("c", "float"),
    )  # fmt: skip
    assert metadata_fields([]) == metadata_fields([{}]) == ()


def test_metadata_is_written_again_with_the_newest_vectors(gallery: Gallery) -> None:
    shard(gallery, "abc", 1, ({"year": 1}, None, {"year": 3}))
    newest = shard(gallery, "bcd", 2)
    renew_metadata(gallery, [photo("a", {"year": 10}), photo("c", {"place": "Rome"}), photo("missing", {"year": 1})])
    assert [list(part.uris) for part in read_records(gallery.shard_folder, "grid-1")] == [
        ["a", "b", "c"], ["b", "c", "d"], ["a", "c"],
    ]  # fmt: skip
    embeddings = read_embeddings(gallery.shard_folder, "grid-1")
    assert embeddings is not None
    np.testing.assert_array_equal(embeddings.vectors[2], newest.vectors[1])
    assert read_metadata(gallery.shard_folder) == {"a": {"year": 10}, "c": {"place": "Rome"}}
    assert read_known(gallery.shard_folder) == {name: (1, 2) for name in "abcd"}
    before = sorted(gallery.shard_folder.iterdir())
    renew_metadata(gallery, [])
    assert sorted(gallery.shard_folder.iterdir()) == before


def test_the_newest_record_of_a_photo_counts_also_where_it_says_nothing(gallery: Gallery) -> None:
    shard(gallery, "ab", 1, ({"year": 1}, {"year": 2}))
    shard(gallery, "a", 2)
    assert read_metadata(gallery.shard_folder) == {"b": {"year": 2}}


def test_values_are_indexed_in_the_kind_of_their_column(gallery: Gallery) -> None:
    said = ({"a": 1, "b": True, "c": "x"}, None, {"a": 2.5, "b": 3, "c": "y"}, {"c": 4})
    shard(gallery, "abcd", 1, said)
    embeddings = read_embeddings(gallery.shard_folder, "grid-1")
    assert embeddings is not None
    fields, values = indexed_metadata(gallery, embeddings)
    assert fields == (MetadataField("a", "float"), MetadataField("b", "text"), MetadataField("c", "text"))
    assert values == [{"a": 1.0, "b": "true", "c": "x"}, {}, {"a": 2.5, "b": "3", "c": "y"}, {"c": "4"}]
    assert type(values[0]["a"]) is float


def test_metadata_goes_through_chunks_and_comes_back_from_shards(gallery: Gallery, tmp_path: Path) -> None:
    files = [photo("a", {"place": "São\n猫", "ok": True, "n": 2**62, "x": 0.1}), photo("b"), photo("c", {})]
    assert write_chunks(tmp_path, files, 10) == [3]
    assert read_chunk(chunk_file(tmp_path, 0)) == files
    # As an earlier release wrote it.
    chunk_file(tmp_path, 1).write_text('["/p/a.jpg", 1, 2]\n')
    assert read_chunk(chunk_file(tmp_path, 1)) == [photo("/p/a.jpg")]
    shard(gallery, "abc", 1, tuple(file.metadata for file in files))
    assert list(embedded_files(gallery)) == files
