"""Verifying finds each thing that can go wrong, in a real embedded Milvus and real files, and repairs what it can."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.rewriting import SET_ASIDE
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, write_shard
from sbka_milvus.pipelines.care.findings import KINDS
from sbka_milvus.pipelines.care.verify import VerifyOptions, VerifyReport, repair_gallery, verify_gallery
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions, build_index, is_built_from
from sbka_milvus.progress import SilentProgress
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import Embeddings, GalleryRows, photo_id

N = 60


@pytest.fixture
def store(gallery: Gallery) -> Iterator[MilvusGalleryStore]:
    with MilvusGalleryStore(str(gallery.milvus_folder)) as opened:
        yield opened


@pytest.fixture
def filled(gallery: Gallery, pictures: Any, store: MilvusGalleryStore) -> Gallery:
    """Two shards, one embedded later, indexed and served."""
    pictures.give_bundle(gallery)
    pictures.add(gallery, 40, "a")
    pictures.add(gallery, 20, "b")
    index(gallery, store)
    return gallery


def index(gallery: Gallery, store: Any, **options: Any) -> None:
    build_index(gallery, store, IndexOptions(place="embedded", **options), SilentProgress())


def look(gallery: Gallery, store: Any, **options: Any) -> VerifyReport:
    return verify_gallery(gallery, store, VerifyOptions(**options), SilentProgress())


def mend(gallery: Gallery, store: Any, **options: Any) -> VerifyReport:
    def is_built(record: Any) -> bool:
        return is_built_from(gallery, record, IndexOptions())

    return repair_gallery(
        gallery, store, VerifyOptions(**options), IndexOptions(place="embedded"), SilentProgress(), is_built
    )


def kinds(report: VerifyReport) -> dict[str, int]:
    return {finding.kind: finding.count for finding in report.findings}


def first_rows(store: Any) -> GalleryRows:
    return next(store.scan(store.served("cats")))


def write_raw(store: Any, row: dict[str, Any], partition: str) -> None:
    """A row past all checks, as another program may write it."""
    info = store.served("cats")
    name = partition if partition == "_default" else f"{partition}_{info.token[:16]}"
    store._session.call("upsert", f"cats__v{info.version}", [row], partition_name=name)


def take_out(store: Any, rows: GalleryRows) -> None:
    """Deletes the first row for good: Milvus Lite brings one back that is deleted and written elsewhere unflushed."""
    info = store.served("cats")
    store.delete(info, rows.embeddings.ids[:1])
    store._session.call("flush", f"cats__v{info.version}", long=True)


def raw(rows: GalleryRows, place: int = 0, **changed: Any) -> dict[str, Any]:
    return {
        "id": int(rows.embeddings.ids[place]),
        "uri": rows.embeddings.uris[place],
        "cluster_id": int(rows.cluster_ids[place]),
        "vector": rows.embeddings.vectors[place],
        **changed,
    }


class TestASoundGallery:
    def test_is_clean_and_counted(self, filled, store):
        report = look(filled, store)
        assert report.is_clean, report
        assert (report.version, report.shards, report.rows, report.photos, report.milvus_rows) == (1, 2, N, N, N)
        assert report.files_checked is None

    def test_a_photo_embedded_again_is_no_fault(self, filled, store, pictures):
        pictures.add(filled, 20, "b")
        index(filled, store)
        report = look(filled, store)
        assert report.is_clean, report
        assert (report.rows, report.photos, report.superseded) == (N + 20, N, 20)

    def test_with_clusters_that_share_partitions(self, gallery, pictures):
        pictures.give_bundle(gallery)
        pictures.add(gallery, N)
        with MilvusGalleryStore(str(gallery.milvus_folder), max_partitions=3) as store:
            index(gallery, store)
            assert look(gallery, store).is_clean

    def test_lifted_vectors_are_compared_as_they_are_stored(self, gallery, pictures, store):
        pictures.teach(gallery)
        pictures.add(gallery, N)
        index(gallery, store)
        info = store.served("cats")
        assert info.matching
        assert look(gallery, store).is_clean

        rows = first_rows(store)
        other = np.roll(rows.embeddings.vectors[0], 1)
        write_raw(store, raw(rows, vector=other), f"c{rows.cluster_ids[0]:05d}")
        assert kinds(look(gallery, store))["row_stale"] == 1

        (gallery.version_folder / f"{info.token}.npz").unlink()
        assert "matching_unusable" in kinds(look(gallery, store))
        assert mend(gallery, store).is_clean

    def test_damaged_codes_are_seen_and_made_anew(self, filled, store):
        path = filled.version_folder / f"{store.served('cats').token}.codes"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert kinds(look(filled, store)) == {"codes_damaged": 1}
        assert mend(filled, store).is_clean

    def test_uris_that_are_no_text(self, gallery, pictures, store, make_records_of):
        write_shard(gallery.shard_folder, make_records_of(["/p/caf\udce9.jpg", "/p/b.jpg"]), gallery.fingerprint)
        index(gallery, store)
        assert look(gallery, store).is_clean


@pytest.fixture
def make_records_of() -> Callable[..., PhotoRecords]:
    def make(uris: list[str], dim: int = 16) -> PhotoRecords:
        n = len(uris)
        numbers = np.arange(n, dtype=np.int64)
        vectors = np.random.default_rng(5).normal(size=(n, dim))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return PhotoRecords(tuple(uris), ("0",) * n, numbers, numbers, numbers, numbers, vectors)

    return make


class TestMilvusAgainstTheShards:
    """Each is planted, found by its name with the photo, mended by a repair, and not found again."""

    def test_missing(self, filled, store):
        rows = first_rows(store)
        store.delete(store.served("cats"), rows.embeddings.ids[:1])
        report = look(filled, store)
        assert kinds(report) == {"clusters_wrong": 1, "row_missing": 1}
        assert report.findings[1].examples == (rows.embeddings.uris[0],)
        self.mended(filled, store)

    def test_extra(self, filled, store):
        rows = first_rows(store)
        uri = "/elsewhere.jpg"
        write_raw(store, raw(rows, id=photo_id(uri), uri=uri), f"c{rows.cluster_ids[0]:05d}")
        report = look(filled, store)
        assert kinds(report) == {"clusters_wrong": 1, "row_extra": 1}
        assert report.findings[1].examples == (uri,)
        self.mended(filled, store)

    def test_doubled_in_another_partition(self, filled, store):
        rows = first_rows(store)
        other = (int(rows.cluster_ids[0]) + 1) % store.served("cats").n_clusters
        write_raw(store, raw(rows, cluster_id=other), f"c{other:05d}")
        report = look(filled, store)
        assert kinds(report)["row_doubled"] == 1
        assert kinds(report)["row_wrong_cluster"] == 1
        assert "row_misplaced" not in kinds(report)
        self.mended(filled, store)

    def test_misplaced(self, filled, store):
        rows = first_rows(store)
        info = store.served("cats")
        take_out(store, rows)
        other = (int(rows.cluster_ids[0]) + 1) % info.n_clusters
        write_raw(store, raw(rows), f"c{other:05d}")
        assert kinds(look(filled, store)) == {"row_misplaced": 1}
        self.mended(filled, store)

    def test_in_no_partition_of_a_cluster(self, filled, store):
        rows = first_rows(store)
        take_out(store, rows)
        write_raw(store, raw(rows), "_default")
        assert kinds(look(filled, store)) == {"row_misplaced": 1}

    def test_of_a_cluster_that_does_not_exist(self, filled, store):
        rows = first_rows(store)
        write_raw(store, raw(rows, cluster_id=999), f"c{rows.cluster_ids[0]:05d}")
        assert kinds(look(filled, store)) == {"clusters_wrong": 1, "row_misplaced": 1, "row_wrong_cluster": 1}

    @pytest.mark.parametrize(("angle", "found"), [(1e-6, 0), (5e-3, 1)])
    def test_stale_beyond_rounding(self, filled, store, angle, found):
        rows = first_rows(store)
        vector = rows.embeddings.vectors[0].astype(np.float64)
        aside = np.roll(vector, 1) - vector * (np.roll(vector, 1) @ vector)
        vector = np.cos(angle) * vector + np.sin(angle) * aside / np.linalg.norm(aside)
        write_raw(store, raw(rows, vector=vector.astype(np.float32)), f"c{rows.cluster_ids[0]:05d}")
        assert kinds(look(filled, store)).get("row_stale", 0) == found

    def test_a_photo_embedded_anew_and_not_indexed(self, filled, store, pictures):
        pictures.add(filled, 10, "b")
        report = look(filled, store)
        assert kinds(report) == {"row_stale": 10}
        self.mended(filled, store)

    def test_misnamed(self, filled, store):
        rows = first_rows(store)
        write_raw(store, raw(rows, uri="/not/this.jpg"), f"c{rows.cluster_ids[0]:05d}")
        report = look(filled, store)
        assert kinds(report) == {"row_misnamed": 1}
        assert report.findings[0].examples == ("/not/this.jpg",)

    def test_clusters_that_are_gone(self, filled, store):
        store._session.call("delete", "cats__v1__clusters", ids=[0])
        assert kinds(look(filled, store)) == {"clusters_wrong": 1}
        self.mended(filled, store)

    def test_nothing_indexed(self, gallery, pictures, store):
        pictures.add(gallery, N)
        assert kinds(look(gallery, store)) == {"not_indexed": 1}
        self.mended(gallery, store)

    def test_an_empty_gallery_is_clean(self, gallery, store):
        assert look(gallery, store).is_clean

    def mended(self, gallery: Gallery, store: Any) -> None:
        before = [info.version for info in store.versions("cats")]
        report = mend(gallery, store)
        assert report.is_clean, report
        assert report.repaired
        assert report.version not in before
        # What was damaged is not left for a roll-back.
        assert [info.version for info in store.versions("cats")] == [report.version]


class TestShardsAgainstThemselves:
    def rewrite(self, path: Path, change: Callable[[Any], Any]) -> None:
        table = pq.read_table(path)
        changed = change(table)
        pq.write_table(changed, path, compression="zstd", use_dictionary=False, write_page_checksum=True)

    def vectors(self, table: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
        import pyarrow as pa

        column = table["vector"].combine_chunks()
        found = change(column.flatten().to_numpy().reshape(len(table), -1).copy())
        array = pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), found.shape[1])
        return table.set_column(table.column_names.index("vector"), "vector", array)

    def test_a_flipped_bit(self, filled, store):
        path = list_shards(filled.shard_folder)[0]
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0x10
        path.write_bytes(content)
        report = look(filled, store)
        assert kinds(report)["shard_damaged"] == 1
        assert path.name in report.findings[0].examples[0]
        # The rows of that shard are not called extra: they may well be those of the shard.
        assert "row_extra" not in kinds(report)

    def test_a_damaged_shard_is_set_aside_and_embedded_anew(self, photos, gallery, make_encoder, store):
        """Ten real photos in two shards: of one nothing can be read; the same ingest brings its photos back."""
        encoder, options = make_encoder(), EmbedOptions(batch_size=5, shard_size=5)
        embed_photos([photos], gallery, encoder, options, SilentProgress())
        index(gallery, store)
        first, second = list_shards(gallery.shard_folder)
        before = read_embeddings(gallery.shard_folder, gallery.fingerprint)
        first.write_bytes(first.read_bytes()[:-7])

        report = mend(gallery, store)

        assert report.is_clean, report
        assert (report.photos, report.milvus_rows) == (5, 5)
        assert list_shards(gallery.shard_folder) == [second]
        assert (gallery.root / SET_ASIDE / first.name).is_file()
        assert any(first.name in line for line in report.repaired)
        again = embed_photos([photos], gallery, encoder, options, SilentProgress())
        assert (again.embedded, again.unchanged) == (5, 5)
        after = read_embeddings(gallery.shard_folder, gallery.fingerprint)
        assert after.uris == before.uris
        np.testing.assert_array_equal(after.vectors, before.vectors)

    def test_of_another_model(self, filled, store):
        path = list_shards(filled.shard_folder)[1]
        self.rewrite(path, lambda table: table.replace_schema_metadata({b"sbka.fingerprint": b"other"}))
        report = look(filled, store)
        assert report.findings[0].kind == "shard_foreign"
        assert "other" in report.findings[0].examples[0]
        assert mend(filled, store).photos == 40

    def test_of_the_wrong_length(self, filled, store):
        path = list_shards(filled.shard_folder)[0]
        self.rewrite(path, lambda table: self.vectors(table, lambda vectors: vectors[:, :8]))
        assert kinds(look(filled, store))["vector_unusable"] == 40

    @pytest.mark.parametrize("value", [np.nan, np.inf, 7.0, 0.0])
    def test_a_vector_without_a_direction_or_length(self, filled, store, value):
        path = list_shards(filled.shard_folder)[1]
        uri = pq.read_table(path)["uri"][3].as_py().decode()

        def spoil(vectors: np.ndarray) -> np.ndarray:
            vectors[3] = value
            return vectors

        self.rewrite(path, lambda table: self.vectors(table, spoil))
        report = look(filled, store)
        assert kinds(report) == {"vector_unusable": 1}
        assert uri in report.findings[0].examples[0]

        mended = mend(filled, store)
        assert mended.is_clean, mended
        assert mended.photos == N - 1
        assert (filled.root / SET_ASIDE / path.name).is_file()
        held = read_embeddings(filled.shard_folder, filled.fingerprint)
        assert held is not None
        assert uri not in held.uris

    def test_the_rows_kept_of_a_shard_stay_older_than_later_ones(self, filled, store, pictures):
        """A photo is in the damaged shard and in a later one: the later vector still counts after the repair."""
        first = list_shards(filled.shard_folder)[0]
        newest = pictures.add(filled, 40, "a")

        def spoil(vectors: np.ndarray) -> np.ndarray:
            vectors[0] = 0
            return vectors

        self.rewrite(first, lambda table: self.vectors(table, spoil))
        assert mend(filled, store).is_clean
        held = read_embeddings(filled.shard_folder, filled.fingerprint)
        np.testing.assert_array_equal(held.vectors[:40], newest)

    def test_nothing_usable_is_left(self, gallery, store, pictures):
        pictures.add(gallery, N)
        index(gallery, store)
        list_shards(gallery.shard_folder)[0].write_bytes(b"PAR1")
        report = mend(gallery, store)
        assert list_shards(gallery.shard_folder) == []
        assert any("no version was built" in line for line in report.repaired)
        assert store.served("cats").version == 1


class TestFilesAgainstTheShards:
    @pytest.fixture
    def embedded(self, photos: Path, gallery: Gallery, make_encoder: Any, store: Any) -> Gallery:
        with zipfile.ZipFile(photos.parent / "more.zip", "w") as archive:
            for number in (0, 1):
                archive.write(photos / f"{number:02d}.png", f"{number}.png")
        sources = [photos, photos.parent / "more.zip"]
        embed_photos(sources, gallery, make_encoder(), EmbedOptions(), SilentProgress())
        index(gallery, store)
        return gallery

    def test_as_they_were(self, embedded, store):
        report = look(embedded, store, by_content=True)
        assert report.is_clean, report
        assert (report.files_checked, report.files_unchecked) == (12, 0)

    def test_gone_and_changed(self, embedded, store, photos, draw):
        (photos / "03.png").unlink()
        draw(photos / "04.png", 99, (64, 64))
        report = look(embedded, store, files=True)
        assert kinds(report) == {"file_missing": 1, "file_changed": 1}
        assert [finding.examples for finding in report.findings] == [
            (str(photos / "03.png"),),
            (str(photos / "04.png"),),
        ]
        # The shards cannot mend that, so nothing is done.
        assert mend(embedded, store, files=True).repaired == ()
        assert store.served("cats").version == 1

    def test_other_bytes_of_the_same_size_and_time(self, embedded, store, photos):
        path = photos / "05.png"
        found = path.stat()
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        assert look(embedded, store, files=True).is_clean
        assert kinds(look(embedded, store, by_content=True)) == {"file_changed": 1}

    def test_a_member_that_changed(self, embedded, store, photos):
        archive = photos.parent / "more.zip"
        shutil.copy(archive, photos.parent / "kept.zip")
        with zipfile.ZipFile(archive, "w") as rewritten:
            rewritten.write(photos / "07.png", "0.png")
        report = look(embedded, store, files=True)
        assert kinds(report) == {"file_missing": 1, "file_changed": 1}
        assert report.findings[0].examples == (f"{archive}!/1.png",)

    def test_what_is_not_known_of_files_is_counted_and_not_guessed(self, embedded, store, make_records_of):
        records = make_records_of(["/nowhere/1.jpg", "product 7", "https://example.org/1.jpg"], 48)
        unknown = np.full(3, -1, dtype=np.int64)
        write_shard(embedded.shard_folder, replace(records, sizes=unknown, mtimes_ns=unknown), embedded.fingerprint)
        report = look(embedded, store, files=True)
        assert (report.files_checked, report.files_unchecked) == (12, 3)
        assert kinds(report) == {"row_missing": 3}


def test_a_repair_of_a_sound_gallery_does_nothing(filled, store):
    report = mend(filled, store)
    assert report.is_clean
    assert report.repaired == ()
    assert [info.version for info in store.versions("cats")] == [1]


def test_a_repair_keeps_the_clusters_that_were_asked_for(gallery, pictures, store):
    pictures.add(gallery, N)
    index(gallery, store, n_clusters=3)
    store.delete(store.served("cats"), first_rows(store).embeddings.ids[:1])
    assert mend(gallery, store).is_clean
    assert store.served("cats").n_clusters == 3


def test_rows_are_inserted_again_without_a_double(filled, store):
    """The planted doubles above are none of the store's making."""
    info = store.served("cats")
    rows = first_rows(store)
    store.insert(info, GalleryRows(Embeddings(rows.embeddings.uris, rows.embeddings.vectors), rows.cluster_ids))
    assert look(filled, store).is_clean


def test_every_kind_says_what_it_means_and_what_mends_it():
    for name, kind in KINDS.items():
        assert kind.meaning.endswith("."), name
        assert kind.remedy.endswith("."), name
        assert (kind.mend == "nothing") != ("--repair" in kind.remedy), name
