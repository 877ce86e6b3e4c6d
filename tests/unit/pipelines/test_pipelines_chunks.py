"""A plan's chunks hold every photo once, and a chunk done twice is one shard."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_known, shard_name
from sbka_milvus.errors import EncoderMismatch, GalleryError, OutputError
from sbka_milvus.images import PhotoFile, find_photos
from sbka_milvus.pipelines.chunks import chunk_file, embed_chunk, embedded_files, read_chunk, write_chunks
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions

SMALL = EmbedOptions(batch_size=2, decode_size=32)
NAME = shard_name(7, "job/3")


def some(number: int, folder: str = "/photos") -> list[PhotoFile]:
    return [PhotoFile(f"{folder}/{n}.png", Path(f"{folder}/{n}.png"), n, 10**18 + n) for n in range(number)]


class TestFiles:
    @pytest.mark.parametrize(("number", "counts"), [(0, []), (1, [1]), (3, [3]), (7, [3, 3, 1])])
    def test_every_photo_is_in_one_chunk(self, tmp_path: Path, number: int, counts: list[int]) -> None:
        files = some(number)
        assert write_chunks(tmp_path, iter(files), 3, first=12) == counts
        found = [read_chunk(chunk_file(tmp_path, 12 + chunk)) for chunk in range(len(counts))]
        assert [file for chunk in found for file in chunk] == files
        assert len(list(tmp_path.iterdir())) == len(counts)

    def test_names_of_any_bytes_come_back_as_they_were(self, tmp_path: Path) -> None:
        names = ["caf\u00e9", "a\udcffb", "line\nbreak", "para\u2028graph", 'quote"', "back\\slash", "\u0085", "\x1c"]
        files = [PhotoFile(f"/p/{name}", Path(f"/p/{name}"), 1, 2) for name in names]
        write_chunks(tmp_path, files, 100)
        assert read_chunk(chunk_file(tmp_path, 0)) == files

    def test_a_list_is_never_held_as_a_whole(self, tmp_path: Path) -> None:
        """A plan of ten million photos must not fill the memory: a chunk is written before the next is asked for."""
        seen: list[int] = []

        def watched():
            for file in some(9):
                seen.append(len(list(tmp_path.glob("*.jsonl"))))
                yield file

        write_chunks(tmp_path, watched(), 3)
        assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2]

    @pytest.mark.parametrize("content", [None, b"{", b'["/a", 1]\n', b"3\n", b'["/a", "big", 1]\n', b"\xff\n"])
    def test_a_damaged_or_missing_list_is_an_error_of_ours(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "000000.jsonl").write_bytes(content)
        with pytest.raises(GalleryError, match=r"000000\.jsonl is damaged or missing"):
            read_chunk(chunk_file(tmp_path, 0))

    def test_a_folder_that_cannot_be_written_is_an_error_of_ours(self, tmp_path: Path) -> None:
        (tmp_path / "chunks").write_text("a file where the folder should be")
        with pytest.raises(OutputError, match="chunks"):
            write_chunks(tmp_path / "chunks", some(1), 3)


class TestEmbedding:
    def test_a_chunk_is_one_shard_however_often_it_is_done(self, photos, gallery, make_encoder, progress) -> None:
        files = list(find_photos([photos]))
        first = embed_chunk(files, gallery, make_encoder(), SMALL, NAME, progress)
        again = embed_chunk(files, gallery, make_encoder(), SMALL, NAME, progress)
        assert (first.embedded, again.embedded, first.quarantined) == (10, 10, ())
        assert [path.name for path in list_shards(gallery.shard_folder)] == [NAME]
        found = read_embeddings(gallery.shard_folder, "grid-1")
        assert found is not None and found.uris == tuple(file.uri for file in files)
        assert progress.stages == [["Embedding photos", 10, 10]] * 2

    def test_it_embeds_as_an_ingest_in_the_foreground(self, photos, gallery, make_encoder, progress, tmp_path) -> None:
        other = Gallery.create_or_open(tmp_path / "other", "grid-1")
        embed_photos([photos], other, make_encoder(), SMALL, progress)
        embed_chunk(list(find_photos([photos])), gallery, make_encoder(), SMALL, NAME, progress)
        ours, theirs = (read_embeddings(one.shard_folder, "grid-1") for one in (gallery, other))
        assert ours is not None and theirs is not None and ours.uris == theirs.uris
        np.testing.assert_array_equal(ours.vectors, theirs.vectors)
        assert read_known(gallery.shard_folder) == read_known(other.shard_folder)

    def test_bad_files_are_named_and_the_rest_embedded(self, photos, gallery, make_encoder, progress) -> None:
        files = list(find_photos([photos]))
        files[3].path.write_bytes(b"no photo")
        files[5].path.unlink()
        report = embed_chunk(files, gallery, make_encoder(), SMALL, NAME, progress)
        assert report.embedded == 8
        assert [file.uri for file in report.quarantined] == [files[3].uri, files[5].uri]
        assert all(file.reason for file in report.quarantined)

    def test_a_chunk_of_bad_files_leaves_no_shard(self, photos, gallery, make_encoder, progress) -> None:
        files = list(find_photos([photos]))
        for file in files:
            file.path.unlink()
        report = embed_chunk(files, gallery, make_encoder(), SMALL, NAME, progress)
        assert (report.embedded, len(report.quarantined)) == (0, 10)
        assert list_shards(gallery.shard_folder) == []

    def test_it_is_all_or_nothing(self, photos, gallery, make_encoder, progress) -> None:
        def stop(batches: int) -> None:
            if batches == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            embed_chunk(list(find_photos([photos])), gallery, make_encoder(on_batch=stop), SMALL, NAME, progress)
        assert list_shards(gallery.shard_folder) == []

    def test_each_file_is_named_before_it_is_touched(self, photos, gallery, make_encoder, progress) -> None:
        named: list[str | None] = []
        counts: list[int] = []
        encoder = make_encoder(on_batch=lambda _: counts.append(len(named)))
        one = EmbedOptions(batch_size=1, decode_processes=1, decode_size=32, ahead=1)
        files = list(find_photos([photos]))
        embed_chunk(files, gallery, encoder, one, NAME, progress, lambda file: named.append(file and file.uri))
        # With one at a time nobody but the last one named can be at fault; of all read, none.
        assert named == [*(file.uri for file in files), None]
        assert counts == list(range(1, 11))

    def test_another_models_encoder_is_refused(self, photos, gallery, make_encoder, progress) -> None:
        with pytest.raises(EncoderMismatch, match="grid-2"):
            embed_chunk(list(find_photos([photos])), gallery, make_encoder("grid-2"), SMALL, NAME, progress)
        assert list_shards(gallery.shard_folder) == []


class TestEmbeddedFiles:
    def test_each_photo_comes_once_as_it_was_last_embedded(self, photos, gallery, make_encoder, progress) -> None:
        files = list(find_photos([photos]))
        embed_chunk(files[:6], gallery, make_encoder(), SMALL, shard_name(1, "a"), progress)
        later = files[2].path.stat().st_mtime_ns + 10**9
        os.utime(files[2].path, ns=(later, later))
        again = [*find_photos([photos])][2:]
        embed_chunk(again, gallery, make_encoder(), SMALL, shard_name(2, "b"), progress)
        found = sorted(embedded_files(gallery), key=lambda file: file.uri)
        assert found == sorted(find_photos([photos]), key=lambda file: file.uri)
        assert found[2].mtime_ns == later

    def test_an_empty_gallery_has_none_and_a_shard_of_another_model_is_refused(
        self, photos, gallery, make_encoder, progress
    ) -> None:
        assert list(embedded_files(gallery)) == []
        embed_chunk(list(find_photos([photos])), gallery, make_encoder(), SMALL, NAME, progress)
        other = gallery.for_model("grid-2")
        other.shard_folder.mkdir(parents=True)
        list_shards(gallery.shard_folder)[0].rename(other.shard_folder / NAME)
        with pytest.raises(EncoderMismatch):
            list(embedded_files(other))


def test_chunks_are_readable_by_workers_of_other_accounts(tmp_path: Path) -> None:
    write_chunks(tmp_path, some(1), 3)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(chunk_file(tmp_path, 0).stat().st_mode) == 0o666 & ~mask
