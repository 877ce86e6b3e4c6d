"""Embedding takes what is new, survives what is broken, and loses nothing that was finished."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.embeddings import QuarantinedFile, read_quarantine, write_quarantine
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_records
from sbka_milvus.errors import EncoderMismatch, ImageError, OutputError
from sbka_milvus.images import load_photo
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.types import Embeddings

SMALL = EmbedOptions(batch_size=2, shard_size=100, decode_size=32)


def embedded(gallery) -> Embeddings:
    found = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    assert found is not None
    return found


def change(path: Path) -> None:
    """As if it had been written a minute later."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 60 * 10**9))


class TestNew:
    def test_every_photo_is_embedded_with_what_identifies_it(self, photos, gallery, make_encoder, progress):
        encoder = make_encoder()
        report = embed_photos([photos], gallery, encoder, SMALL, progress)

        assert (report.found, report.embedded, report.unchanged, report.quarantined) == (10, 10, 0, ())
        assert report.seconds > 0
        found = embedded(gallery)
        paths = sorted(photos.iterdir())
        assert found.uris == tuple(str(path) for path in paths)
        expected = make_encoder().encode_photos([load_photo(path) for path in paths])
        np.testing.assert_array_equal(found.vectors, expected)
        (records,) = read_records(gallery.shard_folder, "grid-1")
        assert records.sizes.tolist() == [path.stat().st_size for path in paths]
        assert records.mtimes_ns.tolist() == [path.stat().st_mtime_ns for path in paths]
        assert set(zip(records.widths.tolist(), records.heights.tolist(), strict=True)) == {(48, 32)}
        assert len(set(records.content_hashes)) == 10
        assert not gallery.quarantine_file.exists()
        assert progress.stages == [["Finding photos", None, 10], ["Embedding photos", 10, 10]]

    def test_a_second_run_embeds_nothing(self, photos, gallery, make_encoder, progress):
        embed_photos([photos], gallery, make_encoder(), SMALL, progress)
        shards = list_shards(gallery.shard_folder)
        encoder = make_encoder()
        report = embed_photos([photos], gallery, encoder, SMALL, progress)

        assert (report.found, report.embedded, report.unchanged) == (10, 0, 10)
        assert encoder.batches == []
        assert list_shards(gallery.shard_folder) == shards

    def test_only_new_and_changed_files_are_embedded(self, photos, gallery, make_encoder, progress, draw):
        embed_photos([photos], gallery, make_encoder(), SMALL, progress)
        before = embedded(gallery)
        draw(photos / "03.png", 99)
        change(photos / "03.png")
        draw(photos / "new.png", 50)
        encoder = make_encoder()
        report = embed_photos([photos], gallery, encoder, SMALL, progress)

        assert (report.embedded, report.unchanged, sum(encoder.batches)) == (2, 9, 2)
        after = embedded(gallery)
        assert after.uris == (*before.uris, str(photos / "new.png"))
        same = [bool((one == other).all()) for one, other in zip(before.vectors, after.vectors, strict=False)]
        assert same == [number != 3 for number in range(10)]
        expected = make_encoder().encode_photos([load_photo(photos / "03.png")])
        np.testing.assert_array_equal(after.vectors[3:4], expected)

    def test_photos_of_several_sources_come_together(self, photos, gallery, make_encoder, progress, draw, tmp_path):
        other = draw(tmp_path / "other" / "one.jpg", 77)
        embed_photos([photos], gallery, make_encoder(), SMALL, progress)
        report = embed_photos([other, photos], gallery, make_encoder(), SMALL, progress)
        assert (report.found, report.embedded, report.unchanged) == (11, 1, 10)
        assert len(embedded(gallery)) == 11

    def test_shards_are_written_on_the_way(self, photos, gallery, make_encoder, progress):
        options = EmbedOptions(batch_size=2, shard_size=3)
        embed_photos([photos], gallery, make_encoder(), options, progress)
        assert [len(part) for part in read_records(gallery.shard_folder, "grid-1")] == [4, 4, 2]

    def test_large_jpegs_are_decoded_for_the_size_of_the_encoder(self, gallery, make_encoder, progress, draw, tmp_path):
        path = draw(tmp_path / "large.jpg", 1, (640, 480))
        encoder = make_encoder()
        embed_photos([path], gallery, encoder, EmbedOptions(decode_size=64), progress)
        assert encoder.sizes == [(160, 120)]
        (records,) = read_records(gallery.shard_folder, "grid-1")
        assert (records.widths.tolist(), records.heights.tolist()) == ([640], [480])


class TestQuarantine:
    def spoil(self, photos: Path) -> dict[str, str]:
        """Bad files, and a word of the reason for each."""
        (photos / "04-empty.png").touch()
        (photos / "05-text.jpg").write_text("no picture")
        (photos / "06-cut.png").write_bytes((photos / "06.png").read_bytes()[:100])
        (photos / "07-link.png").symlink_to(photos / "nowhere.png")
        return {"04-empty.png": "empty", "05-text.jpg": "known kind", "06-cut.png": "damaged", "07-link.png": "link"}

    def test_bad_files_are_listed_with_reasons_while_the_run_goes_on(self, photos, gallery, make_encoder, progress):
        reasons = self.spoil(photos)
        report = embed_photos([photos], gallery, make_encoder(), SMALL, progress)

        assert (report.found, report.embedded) == (13, 10)
        assert [Path(file.uri).name for file in report.quarantined] == sorted(reasons)
        for file in report.quarantined:
            assert reasons[Path(file.uri).name] in file.reason
        assert read_quarantine(gallery.quarantine_file) == list(report.quarantined)
        assert len(embedded(gallery)) == 10
        assert progress.stages[-1] == ["Embedding photos", 13, 13]

    def test_too_many_pixels_are_refused(self, photos, gallery, make_encoder, progress, draw):
        draw(photos / "wide.png", 1, (400, 300))
        options = EmbedOptions(max_pixels=48 * 32)
        report = embed_photos([photos], gallery, make_encoder(), options, progress)
        assert report.embedded == 10
        assert "120,000 pixels" in report.quarantined[0].reason

    def test_nothing_but_bad_files_makes_no_shard(self, gallery, make_encoder, progress, tmp_path):
        (tmp_path / "bad.png").write_text("no picture")
        report = embed_photos([tmp_path / "bad.png"], gallery, make_encoder(), SMALL, progress)
        assert (report.embedded, len(report.quarantined)) == (0, 1)
        assert list_shards(gallery.shard_folder) == []

    def test_a_repaired_file_leaves_the_list(self, photos, gallery, make_encoder, progress, draw):
        self.spoil(photos)
        embed_photos([photos], gallery, make_encoder(), SMALL, progress)
        draw(photos / "04-empty.png", 44)
        draw(photos / "nowhere.png", 45)
        report = embed_photos([photos], gallery, make_encoder(), SMALL, progress)

        assert [Path(file.uri).name for file in report.quarantined] == ["05-text.jpg", "06-cut.png"]
        assert read_quarantine(gallery.quarantine_file) == list(report.quarantined)
        assert str(photos / "04-empty.png") in embedded(gallery).uris

    def test_a_removed_file_leaves_the_list(self, photos, gallery, make_encoder, progress):
        self.spoil(photos)
        embed_photos([photos], gallery, make_encoder(), SMALL, progress)
        for name in ("04-empty.png", "05-text.jpg", "07-link.png"):
            (photos / name).unlink()
        embed_photos([photos], gallery, make_encoder(), SMALL, progress)
        assert [Path(file.uri).name for file in read_quarantine(gallery.quarantine_file)] == ["06-cut.png"]

    def test_a_folder_that_can_be_listed_again_leaves_the_list(self, photos, gallery, make_encoder, progress, draw):
        draw(photos / "sub" / "1.png", 1)
        write_quarantine(gallery.quarantine_file, [QuarantinedFile(str(photos / "sub"), "cannot be listed")])
        embed_photos([photos], gallery, make_encoder(), SMALL, progress)
        assert read_quarantine(gallery.quarantine_file) == []

    def test_files_of_other_sources_stay_listed_while_they_are_there(
        self, photos, gallery, make_encoder, progress, tmp_path
    ):
        bad = {name: tmp_path / "other" / name for name in ("stays.png", "goes.png")}
        bad["stays.png"].parent.mkdir()
        for path in bad.values():
            path.write_text("no picture")
        embed_photos([tmp_path / "other"], gallery, make_encoder(), SMALL, progress)
        bad["goes.png"].unlink()
        report = embed_photos([photos], gallery, make_encoder(), SMALL, progress)

        assert report.quarantined == ()
        assert [file.uri for file in read_quarantine(gallery.quarantine_file)] == [str(bad["stays.png"])]


class TestStopping:
    def test_finished_photos_are_kept_and_the_next_run_goes_on(self, photos, gallery, make_encoder, progress):
        def interrupt(batch: int) -> None:
            if batch == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            embed_photos([photos], gallery, make_encoder(on_batch=interrupt), SMALL, progress)
        assert embedded(gallery).uris == tuple(str(photos / f"{number:02d}.png") for number in range(6))

        encoder = make_encoder()
        report = embed_photos([photos], gallery, encoder, SMALL, progress)
        assert (report.embedded, report.unchanged, sum(encoder.batches)) == (4, 6, 4)
        assert len(embedded(gallery)) == 10

    def test_what_waits_is_given_up(self, gallery, make_encoder, progress, draw, tmp_path, count_alive):
        for number in range(30):
            draw(tmp_path / "many" / f"{number}.png", number)

        def interrupt(batch: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as caught:
            embed_photos([tmp_path / "many"], gallery, make_encoder(on_batch=interrupt), SMALL, progress)
        # The traceback still holds the frame with the batch, and nothing that was decoded ahead of it.
        assert caught.tb is not None
        assert count_alive() <= SMALL.batch_size

    def test_a_failing_encoder_keeps_finished_photos_too(self, photos, gallery, make_encoder, progress):
        def fail(batch: int) -> None:
            if batch == 1:
                raise RuntimeError("out of memory")

        with pytest.raises(RuntimeError, match="out of memory"):
            embed_photos([photos], gallery, make_encoder(on_batch=fail), SMALL, progress)
        assert len(embedded(gallery)) == 2

    @pytest.mark.parametrize("processes", [1, 3])
    def test_few_pictures_are_in_memory_at_once(
        self, gallery, make_encoder, progress, draw, tmp_path, count_alive, processes
    ):
        for number in range(60):
            draw(tmp_path / "many" / f"{number}.png", number)
        assert count_alive() == 0
        encoder = make_encoder()
        options = EmbedOptions(batch_size=2, decode_processes=processes)
        embed_photos([tmp_path / "many"], gallery, encoder, options, progress)
        assert sum(encoder.batches) == 60
        assert 2 <= encoder.most_alive <= (4 + 1) * 2


class TestRefusals:
    def test_another_encoder_is_refused_before_anything_is_written(self, photos, gallery, make_encoder, progress):
        encoder = make_encoder("grid-2")
        with pytest.raises(EncoderMismatch, match="with the model grid-1, not grid-2"):
            embed_photos([photos], gallery, encoder, SMALL, progress)
        assert encoder.batches == []
        assert list_shards(gallery.shard_folder) == []

    def test_a_source_that_is_not_there_is_named(self, gallery, make_encoder, progress, tmp_path):
        with pytest.raises(ImageError, match="missing does not exist"):
            embed_photos([tmp_path / "missing"], gallery, make_encoder(), SMALL, progress)

    def test_a_shard_that_cannot_be_written_is_an_output_error(self, photos, gallery, make_encoder, progress):
        gallery.shard_folder.parent.mkdir()
        gallery.shard_folder.write_text("a file in its place")
        with pytest.raises(OutputError, match=r"shards.*cannot be written"):
            embed_photos([photos], gallery, make_encoder(), SMALL, progress)
