"""A photo that is known by its content is not embedded again, whatever it is called now."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from sbka_milvus.embeddings.contents import find_contents, read_hashes, read_stamps
from sbka_milvus.embeddings.removal import remove_photos
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_known, read_metadata, shard_name
from sbka_milvus.images import PhotoFile, content_hash, find_photos
from sbka_milvus.pipelines import reuse
from sbka_milvus.pipelines.chunks import embed_chunk, known_shard_name
from sbka_milvus.pipelines.embed import EmbedReport, embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.reuse import find_reuse
from sbka_milvus.progress import SilentProgress

SMALL = EmbedOptions(batch_size=2, decode_size=32)


@pytest.fixture
def embed(gallery, make_encoder, photos):
    """Takes the folder, or other sources, in; gives the report, and how many pictures were encoded."""

    def run(*sources: Path | str) -> tuple[EmbedReport, int]:
        encoder = make_encoder()
        named = list(sources) or [photos]
        return embed_photos(named, gallery, encoder, SMALL, SilentProgress()), sum(encoder.batches)

    return run


@pytest.fixture
def read_paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read to be hashed before it is decoded."""
    read: list[str] = []
    inner = reuse.read_photo

    def watched(uri: str, max_pixels: int) -> bytes:
        read.append(uri)
        return inner(uri, max_pixels)

    monkeypatch.setattr(reuse, "read_photo", watched)
    return read


def vectors_by_name(gallery: Any) -> dict[str, Any]:
    found = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    assert found is not None
    return {Path(uri).name: vector.tolist() for uri, vector in zip(found.uris, found.vectors, strict=True)}


class TestInline:
    def test_a_new_collection_is_not_read_twice(self, embed, read_paths):
        report, encoded = embed()
        assert (report.embedded, encoded, read_paths) == (10, 10, [])

    def test_a_moved_folder_is_recognised_and_its_old_names_are_gone(self, embed, gallery, photos):
        embed()
        before = vectors_by_name(gallery)
        moved = photos.rename(photos.parent / "elsewhere")
        report, encoded = embed(moved)
        assert (report.found, report.embedded, report.moved, report.copied, report.touched) == (10, 0, 10, 0, 0)
        assert encoded == 0
        assert set(read_known(gallery.shard_folder)) == {str(path) for path in moved.iterdir()}
        assert vectors_by_name(gallery) == before
        # And there is nothing left to do.
        assert embed(moved)[0].unchanged == 10

    def test_a_renamed_file_keeps_size_hash_and_shape(self, embed, gallery, photos, draw):
        wide = draw(photos / "wide.png", 77, (64, 20))
        embed()
        wide.rename(photos / "renamed.png")
        assert embed()[0].moved == 1
        digest = content_hash((photos / "renamed.png").read_bytes())
        record = find_contents(gallery.shard_folder, "grid-1", [digest])
        assert record is not None and record.uris == (str(photos / "renamed.png"),)
        assert (record.widths.tolist(), record.heights.tolist()) == ([64], [20])
        assert record.sizes.tolist() == [(photos / "renamed.png").stat().st_size]

    def test_a_copy_is_recognised_and_both_are_held(self, embed, gallery, photos):
        embed()
        shutil.copy(photos / "03.png", photos / "copy.png")
        report, encoded = embed()
        assert (report.moved, report.copied, report.unchanged, encoded) == (0, 1, 10, 0)
        found = vectors_by_name(gallery)
        assert found["copy.png"] == found["03.png"]
        hashes = read_hashes(gallery.shard_folder)
        assert hashes[str(photos / "copy.png")] == hashes[str(photos / "03.png")]

    def test_of_two_copies_of_one_that_is_gone_only_one_has_moved(self, embed, gallery, photos):
        embed()
        shutil.copy(photos / "03.png", photos / "x.png")
        (photos / "03.png").rename(photos / "y.png")
        report, encoded = embed()
        assert (report.moved, report.copied, encoded) == (1, 1, 0)
        assert {"x.png", "y.png"} <= vectors_by_name(gallery).keys()
        assert "03.png" not in vectors_by_name(gallery)

    def test_a_touched_file_is_not_embedded_again(self, embed, gallery, photos):
        embed()
        os.utime(photos / "05.png", ns=(10**18, 10**18))
        report, encoded = embed()
        assert (report.touched, report.embedded, encoded) == (1, 0, 0)
        assert read_known(gallery.shard_folder)[str(photos / "05.png")][1] == 10**18
        assert embed()[0].unchanged == 10

    def test_files_that_swap_their_names_swap_their_vectors(self, embed, gallery, photos):
        embed()
        before = vectors_by_name(gallery)
        (photos / "01.png").rename(photos / "aside")
        (photos / "02.png").rename(photos / "01.png")
        (photos / "aside").rename(photos / "02.png")
        for name in ("01.png", "02.png"):
            os.utime(photos / name, ns=(10**18, 10**18))
        _, encoded = embed()
        assert encoded == 0
        after = vectors_by_name(gallery)
        assert (after["01.png"], after["02.png"]) == (before["02.png"], before["01.png"])
        assert len(after) == 10

    def test_a_file_of_the_same_size_and_another_content_is_embedded(self, embed, photos, gallery, read_paths):
        for number in range(2):
            (photos.parent / f"bmp{number}").mkdir()
        for number in range(2):
            cells = np.full((16, 16, 3), 40 + 100 * number, dtype=np.uint8)
            Image.fromarray(cells).save(photos.parent / f"bmp{number}" / "a.bmp")
        embed(photos.parent / "bmp0")
        report, encoded = embed(photos.parent / "bmp1")
        assert (report.embedded, report.moved, report.copied, encoded) == (1, 0, 0, 1)
        assert read_paths == [str(photos.parent / "bmp1" / "a.bmp")]

    def test_a_file_that_cannot_be_read_is_quarantined_as_ever(self, embed, photos, gallery):
        embed()
        (photos / "loop.png").symlink_to(photos / "03.png")
        (photos / "03.png").rename(photos / "3.png")
        report, _ = embed()
        assert report.moved == 1
        assert [Path(file.uri).name for file in report.quarantined] == ["loop.png"]

    def test_what_was_removed_is_embedded_anew(self, embed, gallery, photos):
        embed()
        remove_photos(gallery, [str(photos / "04.png")])
        report, encoded = embed()
        assert (report.embedded, report.unchanged, encoded) == (1, 9, 1)

    def test_equal_new_files_of_one_run_are_both_held(self, embed, gallery, photos):
        shutil.copy(photos / "03.png", photos / "copy.png")
        report, _ = embed()
        assert (report.found, report.embedded) == (11, 11)
        hashes = read_hashes(gallery.shard_folder)
        assert len(hashes) == 11 and len(set(hashes.values())) == 10

    def test_what_was_said_of_a_photo_moves_with_it(self, embed, gallery, photos):
        (photos.parent / "m.csv").write_text("path,year\nphotos/03.png,1999\nphotos/04.png,2000\n")
        embed(photos.parent / "m.csv")
        (photos / "03.png").rename(photos / "moved.png")
        shutil.copy(photos / "04.png", photos / "copied.png")
        report, _ = embed()
        assert (report.moved, report.copied) == (1, 1)
        assert read_metadata(gallery.shard_folder) == {
            str(photos / "moved.png"): {"year": 1999},
            str(photos / "04.png"): {"year": 2000},
        }

    def test_files_and_members_of_archives_are_the_same_photos(self, embed, gallery, photos):
        embed()
        archive = photos.parent / "a.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted(photos.iterdir()):
                packed.write(path, f"in/{path.name}")
        report, encoded = embed(archive)
        assert (report.copied, encoded) == (10, 0)
        # Packed anew under other names: moved within the archive.
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted(photos.iterdir()):
                packed.write(path, f"out/{path.name}")
        report, encoded = embed(archive)
        assert (report.moved, report.copied, encoded) == (10, 0, 0)
        assert sum("!/in/" in uri for uri in read_known(gallery.shard_folder)) == 0

    def test_at_an_address_only_what_has_a_known_stamp_is_fetched_to_be_compared(
        self, embed, gallery, photos, read_paths
    ):
        memory = fsspec.filesystem("memory")
        try:
            for name in ("a", "b"):
                memory.pipe(f"/once/{name}/1.png", (photos / "01.png").read_bytes())
            assert embed("memory://once/a/1.png")[1] == 1
            size, stamp = read_known(gallery.shard_folder)["memory://once/a/1.png"]
            file = PhotoFile("memory://once/b/1.png", Path("/"), size, stamp + 1)
            # They may be equal all the same: to find out would cost as much as it saves.
            assert find_reuse([file], gallery, SMALL).left == [file]
            assert read_paths == []
            # This store tells of no stamps, so that of every photo is the same.
            report, encoded = embed("memory://once/b/1.png")
            assert (report.copied, encoded, read_paths) == (1, 0, ["memory://once/b/1.png"])
        finally:
            memory.rm("/once", recursive=True)


class TestChunks:
    def test_a_chunk_takes_over_what_is_known_and_embeds_the_rest(self, embed, gallery, photos, draw, make_encoder):
        embed()
        for number in range(4):
            (photos / f"{number:02d}.png").rename(photos / f"moved{number}.png")
        draw(photos / "new.png", 99)
        files = [file for file in find_photos([photos]) if "moved" in file.uri or "new" in file.uri]
        name = shard_name(20, "job/1")
        for _ in range(2):  # a worker may do it twice, and must then find and tell the same
            encoder = make_encoder()
            report = embed_chunk(files, gallery, encoder, SMALL, name, SilentProgress())
            assert (report.embedded, report.moved, report.copied, report.touched) == (1, 4, 0, 0)
            assert sum(encoder.batches) == 1
        assert [path.name for path in list_shards(gallery.shard_folder)][-2:] == sorted([name, known_shard_name(name)])
        assert set(read_known(gallery.shard_folder)) == {str(path) for path in photos.iterdir()}

    def test_a_chunk_of_known_photos_leaves_one_shard(self, embed, gallery, photos, make_encoder):
        embed()
        shutil.copytree(photos, photos.parent / "copies")
        files = list(find_photos([photos.parent / "copies"]))
        report = embed_chunk(files, gallery, make_encoder(), SMALL, shard_name(5, "j"), SilentProgress())
        assert (report.embedded, report.copied, report.known) == (0, 10, 10)
        assert list_shards(gallery.shard_folder)[-1].name == known_shard_name(shard_name(5, "j"))


class TestContents:
    def test_the_newest_record_of_a_photo_counts(self, embed, gallery, photos, draw):
        embed()
        old = content_hash((photos / "03.png").read_bytes())
        draw(photos / "03.png", 303)
        os.utime(photos / "03.png", ns=(10**18, 10**18))
        embed()
        assert find_contents(gallery.shard_folder, "grid-1", [old]) is None
        found = find_contents(gallery.shard_folder, "grid-1", [content_hash((photos / "03.png").read_bytes()), old])
        assert found is not None and found.uris == (str(photos / "03.png"),)

    def test_an_empty_gallery_holds_nothing(self, gallery):
        assert find_contents(gallery.shard_folder, "grid-1", ["0" * 32]) is None
        assert read_stamps(gallery.shard_folder).shape == (0, 2)
        file = PhotoFile("/p/1.png", Path("/p/1.png"), 1, 1)
        assert find_reuse([file], gallery, SMALL).left == [file]
