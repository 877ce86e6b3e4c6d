"""Vectors come in from every kind of file, checked row by row, and go out again without a difference."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.newest import newest_rows
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_known, read_metadata
from sbka_milvus.embeddings.vector_files import ColumnNames
from sbka_milvus.errors import EncoderMismatch, FilterError, GalleryError, SettingsError, SourceError
from sbka_milvus.pipelines import shard_buffer
from sbka_milvus.pipelines.care.export import NO_CLUSTER, ClusterOf, ExportOptions, export_gallery
from sbka_milvus.pipelines.care.imports import ImportOptions, ImportReport, import_vectors
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.progress import SilentProgress
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import normalise

DIM = 48


def vectors(n: int, seed: int = 0, dim: int = DIM) -> Any:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def names(n: int) -> list[str]:
    return [f"/far/{number:03d}.jpg" for number in range(n)]


def table(uris: list[Any], found: Any, **columns: Any) -> Any:
    kind = pa.list_(pa.from_numpy_dtype(found.dtype)) if isinstance(found, np.ndarray) else None
    return pa.table({"uri": uris, "vector": pa.array(list(found), kind), **columns})


def parquet(path: Path, *arguments: Any, **columns: Any) -> Path:
    pq.write_table(table(*arguments, **columns), path, row_group_size=7)
    return path


def take(gallery: Gallery, *paths: Path, encoder: Any = None, **options: Any) -> ImportReport:
    return import_vectors(paths, gallery, DIM, encoder, ImportOptions(**options), SilentProgress())


def held(gallery: Gallery) -> dict[str, Any]:
    found = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    return {} if found is None else dict(zip(found.uris, found.vectors, strict=True))


class TestFiles:
    def test_parquet_with_metadata(self, gallery, tmp_path):
        found = vectors(20) * 3
        path = parquet(tmp_path / "a.parquet", names(20), found, year=list(range(20)), tags=[["x"]] * 20)
        report = take(gallery, path, shard_size=6)
        assert (report.rows, report.imported, report.unchanged, report.repeated) == (20, 20, 0, 0)
        assert [len(rows) for rows in newest_rows(list_shards(gallery.shard_folder))] == [6, 6, 6, 2]
        np.testing.assert_allclose(list(held(gallery).values()), normalise(found), atol=1e-7)
        assert read_metadata(gallery.shard_folder)["/far/007.jpg"] == {"year": 7}

    @pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
    def test_other_numbers(self, gallery, tmp_path, kind):
        found = (vectors(5) * 30).astype(kind)
        take(gallery, parquet(tmp_path / "a.parquet", names(5), found))
        np.testing.assert_allclose(list(held(gallery).values()), normalise(found), atol=1e-6)

    def test_fixed_size_lists_and_other_names(self, gallery, tmp_path):
        found = vectors(5)
        column = pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), DIM)
        pq.write_table(pa.table({"photo": names(5), "clip": column}), tmp_path / "a.parquet")
        with pytest.raises(SourceError, match="no known column of names"):
            take(gallery, tmp_path / "a.parquet")
        take(gallery, tmp_path / "a.parquet", columns=ColumnNames("photo", "clip"))
        assert list(held(gallery)) == names(5)

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_npz(self, gallery, tmp_path, save):
        save(tmp_path / "a.npz", uri=np.array(names(9)), vectors=vectors(9), year=np.arange(9), note=np.zeros((2, 2)))
        assert take(gallery, tmp_path / "a.npz", shard_size=4).imported == 9
        np.testing.assert_allclose(list(held(gallery).values()), normalise(vectors(9)), atol=1e-7)
        assert read_metadata(gallery.shard_folder)["/far/008.jpg"] == {"year": 8}

    def test_npz_with_pickles_is_refused(self, gallery, tmp_path):
        np.savez(tmp_path / "a.npz", uri=np.array(names(2), dtype=object), vector=vectors(2))
        with pytest.raises(SourceError, match=r"a\.npz cannot be read.*allow_pickle"):
            take(gallery, tmp_path / "a.npz")

    def test_npy_with_a_csv(self, gallery, tmp_path):
        np.save(tmp_path / "a.npy", vectors(3))
        (tmp_path / "a.csv").write_text("file,year\nx/1.jpg,2001\nx/2.jpg,2002\n/abs/3.jpg,2003\n")
        take(gallery, tmp_path / "a.npy", root=tmp_path)
        assert list(held(gallery)) == ["/abs/3.jpg", f"{tmp_path}/x/1.jpg", f"{tmp_path}/x/2.jpg"]
        assert read_metadata(gallery.shard_folder)["/abs/3.jpg"] == {"year": 2003}

    def test_names_stay_as_they_are_without_a_root(self, gallery, tmp_path):
        take(gallery, parquet(tmp_path / "a.parquet", ["product 7", "https://example.org/1.jpg"], vectors(2)))
        assert list(held(gallery)) == ["https://example.org/1.jpg", "product 7"]

    def test_names_in_bytes_and_numbers(self, gallery, tmp_path):
        pq.write_table(pa.table({"uri": [b"/p/caf\xe9.jpg"], "vector": list(vectors(1))}), tmp_path / "a.parquet")
        pq.write_table(pa.table({"id": [17], "vector": list(vectors(1))}), tmp_path / "b.parquet")
        take(gallery, tmp_path / "a.parquet", tmp_path / "b.parquet")
        assert list(held(gallery)) == ["/p/caf\udce9.jpg", "17"]

    @pytest.mark.parametrize("name", ["missing.parquet", "missing.npz", "missing.npy", "notes.txt"])
    def test_what_is_not_there_or_of_another_kind(self, gallery, tmp_path, name):
        with pytest.raises(SourceError, match=name):
            take(gallery, tmp_path / name)

    @pytest.mark.parametrize("name", ["a.parquet", "a.npz", "a.npy"])
    def test_rubbish(self, gallery, tmp_path, name):
        (tmp_path / name).write_bytes(b"rubbish")
        with pytest.raises(SourceError, match=name):
            take(gallery, tmp_path / name)

    def test_rows_that_do_not_match(self, gallery, tmp_path):
        np.savez(tmp_path / "a.npz", uri=np.array(names(4)), vector=vectors(5))
        with pytest.raises(SourceError, match="4 rows"):
            take(gallery, tmp_path / "a.npz")


class TestRowsThatCannotBeUsed:
    """Each names its row and file, and nothing is written, also where the row comes late."""

    @pytest.fixture
    def refused(self, gallery: Gallery, tmp_path: Path) -> Callable[..., str]:
        def refuse(change: Callable[[list[Any], list[Any]], None], error: type[Exception] = SourceError) -> str:
            uris: list[Any] = list(names(12))
            rows: list[Any] = [row.tolist() for row in vectors(12)]
            change(uris, rows)
            path = parquet(tmp_path / "late.parquet", uris, rows)
            first = parquet(tmp_path / "good.parquet", ["/good.jpg"], vectors(1))
            with pytest.raises(error) as found:
                take(gallery, first, path, shard_size=5)
            assert list_shards(gallery.shard_folder) == []
            assert str(path) in str(found.value)
            return str(found.value)

        return refuse

    def test_of_another_length(self, refused):
        assert "Row 10 " in refused(lambda uris, rows: rows.__setitem__(9, [1.0] * 7), EncoderMismatch)

    def test_all_of_another_length(self, refused):
        def cut(uris: list[Any], rows: list[Any]) -> None:
            rows[:] = [row[:32] for row in rows]

        assert "32 numbers, not 48" in refused(cut, EncoderMismatch)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
    def test_not_finite_or_missing(self, refused, value):
        assert "Row 12 " in refused(lambda uris, rows: rows[11].__setitem__(3, value))

    def test_zero(self, refused):
        assert "Row 3 " in refused(lambda uris, rows: rows.__setitem__(2, [0.0] * DIM))

    def test_no_vector(self, refused):
        assert "Row 4 " in refused(lambda uris, rows: rows.__setitem__(3, None), EncoderMismatch)

    @pytest.mark.parametrize("name", [None, "", "x" * 20_000])
    def test_no_name(self, refused, name):
        assert "Row 8 " in refused(lambda uris, rows: uris.__setitem__(7, name))

    def test_no_rows(self, gallery, tmp_path):
        with pytest.raises(SourceError, match="no row"):
            take(gallery, parquet(tmp_path / "a.parquet", [], np.empty((0, DIM), np.float32)))

    def test_values_that_no_gallery_keeps(self, gallery, tmp_path):
        path = parquet(tmp_path / "a.parquet", names(2), vectors(2), text=["a", "b" * 20_000])
        with pytest.raises(SourceError, match=r"Row 2 of .*a\.parquet cannot be taken.*'text'"):
            take(gallery, path)


class TestRunningAgain:
    def test_changes_nothing(self, gallery, tmp_path):
        path = parquet(tmp_path / "a.parquet", names(20), vectors(20), year=list(range(20)))
        take(gallery, path)
        before = list_shards(gallery.shard_folder)
        report = take(gallery, path, shard_size=3)
        assert (report.imported, report.unchanged) == (0, 20)
        assert list_shards(gallery.shard_folder) == before

    def test_the_last_row_of_a_photo_counts_however_often(self, gallery, tmp_path):
        path = parquet(tmp_path / "a.parquet", ["/a.jpg", "/b.jpg", "/a.jpg"], vectors(3))
        for imported in (2, 0):
            report = take(gallery, path, shard_size=1)
            assert (report.imported, report.repeated) == (imported, 1)
        np.testing.assert_allclose(held(gallery)["/a.jpg"], normalise(vectors(3))[2], atol=1e-7)

    def test_takes_what_is_other_than_before(self, gallery, tmp_path):
        take(gallery, parquet(tmp_path / "a.parquet", names(5), vectors(5), year=[1] * 5))
        other = vectors(5)
        other[2] = vectors(1, seed=9)
        report = take(gallery, parquet(tmp_path / "a.parquet", names(5), other, year=[1, 1, 1, 1, 2]))
        assert (report.imported, report.unchanged) == (2, 3)
        assert read_metadata(gallery.shard_folder)["/far/004.jpg"] == {"year": 2}

    def test_says_nothing_of_metadata_and_takes_none_away(self, gallery, tmp_path):
        take(gallery, parquet(tmp_path / "a.parquet", names(2), vectors(2), year=[1, 2]))
        report = take(gallery, parquet(tmp_path / "b.parquet", names(2), np.flipud(vectors(2))))
        assert report.imported == 2
        assert read_metadata(gallery.shard_folder) == {"/far/000.jpg": {"year": 1}, "/far/001.jpg": {"year": 2}}

    def test_goes_on_where_it_was_stopped(self, gallery, tmp_path, monkeypatch):
        path = parquet(tmp_path / "a.parquet", names(20), vectors(20))
        write, written = shard_buffer.write_shard, []

        def until_full(*arguments: Any) -> Any:
            if len(written) == 2:
                raise KeyboardInterrupt
            written.append(write(*arguments))
            return written[-1]

        monkeypatch.setattr(shard_buffer, "write_shard", until_full)
        with pytest.raises(KeyboardInterrupt):
            take(gallery, path, shard_size=5)
        monkeypatch.setattr(shard_buffer, "write_shard", write)
        report = take(gallery, path, shard_size=5)
        assert (report.imported, report.unchanged) == (10, 10)
        assert len(held(gallery)) == 20


def test_an_ingest_of_imported_photos_embeds_them(photos, gallery, tmp_path, make_encoder):
    """Nothing is known of their files, so they count as changed: the photo itself is better than somebody's word."""
    found = sorted(str(path) for path in photos.iterdir())
    take(gallery, parquet(tmp_path / "a.parquet", found, vectors(len(found))))
    assert set(read_known(gallery.shard_folder).values()) == {(-1, -1)}
    encoder = make_encoder()
    report = embed_photos([photos], gallery, encoder, EmbedOptions(), SilentProgress())
    assert (report.embedded, report.unchanged) == (10, 0)
    again = embed_photos([photos], gallery, encoder, EmbedOptions(), SilentProgress())
    assert (again.embedded, again.unchanged) == (0, 10)


class TestChecking:
    @pytest.fixture
    def exported(self, photos: Path, gallery: Gallery, tmp_path: Path, make_encoder: Any) -> Path:
        embed_photos([photos], gallery, make_encoder(), EmbedOptions(), SilentProgress())
        export_gallery(gallery, tmp_path / "a.parquet", None, ExportOptions(), SilentProgress())
        return tmp_path / "a.parquet"

    @pytest.fixture
    def other(self, tmp_path: Path) -> Gallery:
        return Gallery.create_or_open(tmp_path / "other", "grid-1")

    def test_vectors_of_the_same_encoder_pass(self, exported, other, make_encoder):
        report = take(other, exported, encoder=make_encoder(), check=4)
        assert report.checked == 4
        assert report.worst_cosine == pytest.approx(1.0, abs=1e-5)

    def test_vectors_of_another_are_refused(self, exported, other, make_encoder):
        found = pq.read_table(exported)
        rolled = pa.array([row[1:] + row[:1] for row in found["vector"].to_pylist()])
        changed = found.set_column(found.column_names.index("vector"), "vector", rolled).replace_schema_metadata({})
        pq.write_table(changed, exported)
        with pytest.raises(EncoderMismatch, match="cosine"):
            take(other, exported, encoder=make_encoder(), check=2)
        assert list_shards(other.shard_folder) == []

    def test_photos_that_are_gone_are_passed_over(self, exported, other, make_encoder, photos):
        for path in sorted(photos.iterdir())[1:]:
            path.unlink()
        assert take(other, exported, encoder=make_encoder(), check=3).checked == 1

    def test_no_photo_at_all(self, other, make_encoder, tmp_path):
        path = parquet(tmp_path / "b.parquet", [*names(3), "product 7"], vectors(4))
        with pytest.raises(SourceError, match="None of the photos"):
            take(other, path, encoder=make_encoder(), check=3)

    def test_what_was_exported_from_another_model_is_refused(self, exported, tmp_path):
        gallery = Gallery.create_or_open(tmp_path / "third", "grid-2")
        with pytest.raises(EncoderMismatch, match="grid-1"):
            take(gallery, exported)


class TestThereAndBack:
    @pytest.fixture
    def filled(self, gallery: Gallery, tmp_path: Path) -> Gallery:
        """Photos with metadata, names that are no text, and some embedded again, in several shards."""
        uris = [*names(18), "/p/caf\udce9.jpg", "sbka-bytes:odd"]
        encoded = [uri.encode("utf-8", "surrogateescape") for uri in uris]
        years = [None if number % 3 else number for number in range(20)]
        extra = {"year": years, "place": ["Rome"] * 20, "size": list(range(20)), "mtime_ns": list(range(20))}
        extra["content_hash"] = [f"{number:x}" for number in range(20)]
        take(gallery, parquet(tmp_path / "1.parquet", encoded, vectors(20), **extra), shard_size=8)
        again = {name: values[:5] for name, values in extra.items()}
        take(gallery, parquet(tmp_path / "2.parquet", encoded[:5], vectors(5, seed=3), **again), shard_size=8)
        return gallery

    @pytest.mark.parametrize("suffix", ["parquet", "npz"])
    def test_nothing_is_different(self, filled, tmp_path, suffix):
        path = tmp_path / f"out.{suffix}"
        report = export_gallery(filled, path, None, ExportOptions(), SilentProgress())
        assert (report.photos, report.dim, report.model) == (20, DIM, "grid-1")
        # Into the gallery itself: every row is known.
        assert take(filled, path).unchanged == 20
        other = Gallery.create_or_open(tmp_path / "other", "grid-1")
        assert take(other, path, shard_size=7).imported == 20
        assert held(other).keys() == held(filled).keys()
        np.testing.assert_array_equal(list(held(other).values()), list(held(filled).values()))
        for read in (read_known, read_metadata):
            assert read(other.shard_folder) == read(filled.shard_folder)
        second = tmp_path / f"again.{suffix}"
        export_gallery(other, second, None, ExportOptions(), SilentProgress())
        assert take(filled, second).unchanged == 20

    def test_clusters_are_those_of_the_served_version(self, filled, tmp_path):
        store = MemoryGalleryStore()
        build_index(filled, store, IndexOptions(), SilentProgress())
        info = store.served("cats")
        take(filled, parquet(tmp_path / "new.parquet", ["/new.jpg"], vectors(1, seed=8)))
        clusters = ClusterOf.of(store, info)
        export_gallery(filled, tmp_path / "out.parquet", clusters, ExportOptions(), SilentProgress())
        export_gallery(filled, tmp_path / "out.npz", clusters, ExportOptions(), SilentProgress())
        found = pq.read_table(tmp_path / "out.parquet").to_pydict()
        expected = {
            uri: cluster
            for part in store.scan(info)
            for uri, cluster in zip(part.embeddings.uris, part.cluster_ids.tolist(), strict=True)
        }
        by_uri = dict(zip(found["uri"], found["cluster_id"], strict=True))
        assert by_uri.pop("/new.jpg") is None
        assert by_uri["/far/003.jpg"] == expected["/far/003.jpg"]
        assert sorted(by_uri.values()) == sorted(expected.values())
        with np.load(tmp_path / "out.npz") as arrays:
            assert arrays["cluster_id"][arrays["uri"] == b"/new.jpg"].tolist() == [NO_CLUSTER]

    def test_a_filter_and_no_vectors(self, filled, tmp_path):
        options = ExportOptions(vectors=False, where="year >= 9 and place == 'Rome'")
        export_gallery(filled, tmp_path / "out.parquet", None, options, SilentProgress())
        found = pq.read_table(tmp_path / "out.parquet").to_pydict()
        assert "vector" not in found
        assert [json.loads(text)["year"] for text in found["metadata"]] == [9, 12, 15, 18]
        by_uri = ExportOptions(where="uri like '%01_.jpg'")
        assert export_gallery(filled, tmp_path / "out.npz", None, by_uri, SilentProgress()).photos == 8

    def test_what_cannot_be_exported(self, filled, tmp_path):
        def refuse(target: str, error: type[Exception], gallery: Gallery = filled, **options: Any) -> None:
            with pytest.raises(error):
                export_gallery(gallery, tmp_path / target, None, ExportOptions(**options), SilentProgress())
            assert not (tmp_path / target).exists()

        refuse("out.csv", SettingsError)
        refuse("out.parquet", FilterError, where="height > 3")
        refuse("out.parquet", GalleryError, where="year > 3000")
        refuse("out.npz", GalleryError, where="year > 3000")
        refuse("out.parquet", GalleryError, Gallery.create_or_open(tmp_path / "empty", "grid-1"))


def test_memory_stays_that_of_a_block(gallery, tmp_path):
    """Importing twenty blocks takes about the memory of importing one, at numpy's and Python's side."""

    def peak(rows: int) -> int:
        path = parquet(tmp_path / f"{rows}.parquet", [f"/{rows}/{row}.jpg" for row in range(rows)], vectors(rows))
        target = Gallery.create_or_open(tmp_path / f"g{rows}", "grid-1")
        tracemalloc.start()
        take(target, path, shard_size=500)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(500)  # what is imported and cached at the first time
    small, large = peak(500), peak(10_000)
    assert large < 3 * small
