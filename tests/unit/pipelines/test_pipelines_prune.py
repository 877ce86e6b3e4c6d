"""What is gone goes, and nothing that may only be away."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import fsspec
import pytest

from sbka_milvus.embeddings.shards import list_shards, read_known
from sbka_milvus.errors import GalleryError, ImageError, PruneRefused
from sbka_milvus.pipelines.embed import EmbedReport, embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.prune import Missing, PruneOptions, find_missing
from sbka_milvus.progress import SilentProgress

SMALL = EmbedOptions(batch_size=2, decode_size=32)


class Listening(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def listening() -> Listening:
    return Listening()


@pytest.fixture
def ingest(gallery, make_encoder, listening):
    def run(*sources: Path | str, prune: bool = True, consent: bool = False) -> EmbedReport:
        pruning = PruneOptions(consent) if prune else None
        return embed_photos(list(sources), gallery, make_encoder(), SMALL, listening, pruning)

    return run


def names(gallery) -> set[str]:
    return {Path(uri).name for uri in read_known(gallery.shard_folder)}


class TestPrune:
    def test_what_is_gone_goes_and_the_rest_stays(self, ingest, gallery, photos):
        ingest(photos)
        for number in range(4):
            (photos / f"0{number}.png").unlink()
        assert ingest(photos, prune=False).pruned == 0
        assert len(names(gallery)) == 10
        report = ingest(photos)
        assert (report.pruned, report.unchanged, report.unpruned) == (4, 6, {})
        assert names(gallery) == {path.name for path in photos.iterdir()}
        shards = list_shards(gallery.shard_folder)
        assert ingest(photos).pruned == 0
        assert list_shards(gallery.shard_folder) == shards

    def test_more_than_half_goes_only_with_consent(self, ingest, gallery, photos):
        ingest(photos)
        for number in range(6):
            (photos / f"0{number}.png").unlink()
        with pytest.raises(PruneRefused, match=r"6 of the 10 photos .*--prune-all"):
            ingest(photos)
        assert len(names(gallery)) == 10
        assert ingest(photos, consent=True).pruned == 6
        assert names(gallery) == {path.name for path in photos.iterdir()}

    def test_an_empty_mount_point_empties_nothing(self, ingest, gallery, photos, draw):
        other = draw(photos.parent / "other" / "x.png", 50).parent
        ingest(photos, other)
        for path in photos.iterdir():
            path.unlink()
        # Of all photos these are not half; of those that came from there they are.
        for number in range(30):
            draw(other / f"{number}.png", 100 + number)
        with pytest.raises(PruneRefused, match=str(photos)):
            ingest(photos, other)
        assert len(names(gallery)) == 11

    def test_a_source_that_is_not_there_is_an_error_before_anything_is_done(self, ingest, gallery, photos):
        ingest(photos)
        photos.rename(photos.parent / "away")
        with pytest.raises(ImageError, match="does not exist"):
            ingest(photos)
        assert len(names(gallery)) == 10

    def test_a_folder_that_moved_within_a_source_is_no_loss(self, ingest, gallery, photos):
        root = photos.parent / "root"
        root.mkdir()
        shutil.move(photos, root / "a")
        ingest(root)
        (root / "a").rename(root / "b")
        report = ingest(root)
        assert (report.moved, report.pruned, report.embedded) == (10, 0, 0)
        assert all("/b/" in uri for uri in read_known(gallery.shard_folder))

    def test_other_sources_are_left_alone(self, ingest, gallery, photos, draw):
        other = draw(photos.parent / "other" / "x.png", 50).parent
        draw(photos.parent / "photos2" / "y.png", 51)
        ingest(photos, other, photos.parent / "photos2")
        (other / "x.png").unlink()
        (photos.parent / "photos2" / "y.png").unlink()
        (photos / "00.png").unlink()
        assert ingest(photos).pruned == 1
        assert {"x.png", "y.png"} <= names(gallery)

    def test_nothing_goes_from_a_source_that_cannot_be_listed_whole(
        self, ingest, gallery, photos, draw, listening, monkeypatch
    ):
        import os

        for number in range(3):
            draw(photos / "locked" / f"l{number}.png", 60 + number)
        ingest(photos)
        (photos / "00.png").unlink()
        inner = os.scandir

        def refused(path):
            if str(path).endswith("locked"):
                raise PermissionError(13, "Permission denied")
            return inner(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", refused)
            report = ingest(photos)
        assert report.pruned == 0
        assert "Permission denied" in report.unpruned[str(photos)]
        assert any("Nothing is pruned" in said for said in listening.said)
        assert len(names(gallery)) == 13
        assert ingest(photos).pruned == 1

    def test_a_file_that_is_there_under_another_name_is_not_gone(self, ingest, gallery, photos):
        """Found once by the name of its target: the name of the link is passed over then, and still there."""
        links = photos.parent / "links"
        links.mkdir()
        for number in range(3):
            (links / f"link{number}.png").symlink_to(photos / f"0{number}.png")
        ingest(links)
        report = ingest(photos, links)
        assert report.pruned == 0
        assert {f"link{number}.png" for number in range(3)} <= names(gallery)

    def test_a_file_that_can_no_longer_be_decoded_stays_as_it_was(self, ingest, gallery, photos):
        ingest(photos)
        (photos / "00.png").write_bytes(b"no photo any more")
        report = ingest(photos)
        assert (report.pruned, len(report.quarantined)) == (0, 1)
        assert "00.png" in names(gallery)

    def test_a_gallery_is_never_emptied(self, ingest, gallery, photos):
        only = photos.parent / "only"
        only.mkdir()
        shutil.copy(photos / "00.png", only / "a.png")
        ingest(only)
        (only / "a.png").unlink()
        with pytest.raises(GalleryError, match="without a photo"):
            ingest(only, consent=True)
        assert names(gallery) == {"a.png"}


class TestArchives:
    @pytest.fixture
    def archive(self, photos) -> Path:
        return self.pack(photos, photos.parent / "a.zip", range(10))

    @staticmethod
    def pack(photos: Path, path: Path, numbers) -> Path:
        with zipfile.ZipFile(path, "w") as packed:
            for number in numbers:
                packed.write(photos / f"0{number}.png", f"{number}.png")
        return path

    def test_members_that_are_gone_go(self, ingest, gallery, photos, archive):
        ingest(archive)
        self.pack(photos, archive, range(3, 10))
        assert ingest(archive).pruned == 3
        assert names(gallery) == {f"{number}.png" for number in range(3, 10)}

    def test_a_damaged_archive_loses_nothing(self, ingest, gallery, photos, archive):
        ingest(archive)
        archive.write_bytes(archive.read_bytes()[:-40])
        report = ingest(archive)
        assert report.pruned == 0
        assert str(archive) in report.unpruned
        assert len(names(gallery)) == 10

    def test_what_could_never_be_used_speaks_not_against_it(self, ingest, gallery, photos, archive):
        """An archive within the archive is passed over each time."""
        for numbers in (range(10), range(3, 10)):
            self.pack(photos, archive, numbers)
            with zipfile.ZipFile(archive, "a") as packed:
                packed.writestr("inner.tar", b"0" * 100)
            report = ingest(archive)
        assert (report.pruned, report.unpruned) == (3, {})

    def test_archives_in_a_folder_are_not_looked_into_and_lose_nothing(self, ingest, gallery, photos, draw):
        folder = draw(photos.parent / "mixed" / "x.png", 80).parent
        archive = self.pack(photos, folder / "a.zip", range(10))
        ingest(archive, folder)
        self.pack(photos, archive, range(7))
        assert ingest(folder).pruned == 0
        assert len(names(gallery)) == 11
        assert ingest(archive).pruned == 3

    def test_an_archive_that_is_gone_goes_with_its_members(self, ingest, gallery, photos, archive):
        folder = photos.parent / "packed"
        folder.mkdir()
        for number in range(3):
            self.pack(photos, folder / f"{number}.zip", range(3 * number, 3 * number + 3))
        ingest(folder / "{0,1,2}.zip")
        (folder / "2.zip").unlink()
        assert ingest(folder / "*.zip").pruned == 3
        assert len(names(gallery)) == 6


class TestSources:
    def test_patterns_cover_what_they_match(self, ingest, gallery, photos):
        ingest(photos)
        for name in ("00.png", "01.png"):
            (photos / name).unlink()
        assert ingest(photos / "0[0-3].png").pruned == 2
        assert len(names(gallery)) == 8

    def test_a_pattern_of_folders_covers_what_lies_in_them(self, ingest, gallery, photos, draw):
        for folder in ("cats", "cars", "dogs"):
            for number in range(3):
                draw(photos / folder / f"{folder}{number}.png", sum(map(ord, folder)) + 10 * number)
        ingest(photos)
        for path in (photos / "cats" / "cats0.png", photos / "dogs" / "dogs0.png"):
            path.unlink()
        assert ingest(photos / "c*").pruned == 1
        assert "dogs0.png" in names(gallery)

    def test_a_deep_pattern_covers_what_lies_below(self, ingest, gallery, photos, draw):
        for number in range(4):
            draw(photos / "deep" / "er" / f"d{number}.png", 40 + number)
        ingest(photos)
        (photos / "deep" / "er" / "d0.png").unlink()
        (photos / "00.png").unlink()
        assert ingest(photos / "**" / "d*.png").pruned == 1
        assert "00.png" in names(gallery)

    def test_an_object_store_is_pruned_by_its_list(self, ingest, gallery, photos):
        memory = fsspec.filesystem("memory")
        try:
            for number in range(6):
                memory.pipe(f"/prune/{number}.png", (photos / f"0{number}.png").read_bytes())
            ingest("memory://prune/")
            memory.rm("/prune/0.png")
            assert ingest("memory://prune/").pruned == 1
            assert len(names(gallery)) == 5
        finally:
            memory.rm("/prune", recursive=True)

    def test_a_manifest_takes_nothing_away(self, ingest, gallery, photos):
        manifest = photos.parent / "m.csv"
        manifest.write_text("path\n" + "".join(f"photos/0{number}.png\n" for number in range(10)))
        ingest(manifest)
        (photos / "00.png").unlink()
        manifest.write_text("path\nphotos/01.png\n")
        assert ingest(manifest).pruned == 0
        assert len(names(gallery)) == 10

    def test_what_is_found_comes_back_from_its_written_form(self):
        missing = find_missing(["/nowhere"], ["/nowhere/a.png", "/nowhere/b.png"], {"/nowhere/b.png"}, {})
        assert missing.gone == {"/nowhere": ["/nowhere/a.png"]}
        assert Missing.from_dict(missing.to_dict()) == missing
