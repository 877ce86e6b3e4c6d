"""A gallery's folder is made once, opened ever after, and never mistaken for something else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.workspace import gallery_name
from sbka_milvus.errors import EncoderMismatch, GalleryError, OutputError
from sbka_milvus.store import require_gallery_name


def manifest(root: Path, **changes: object) -> None:
    content = {"format_version": 2, "name": "cats", "fingerprint": "model-1", **changes}
    root.mkdir(exist_ok=True)
    (root / "gallery.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


class TestCreate:
    @pytest.mark.parametrize("made_before", [False, True])
    def test_a_new_or_empty_folder_becomes_a_gallery(self, tmp_path, made_before):
        root = tmp_path / "deep" / "my cats"
        if made_before:
            root.mkdir(parents=True)
        gallery = Gallery.create_or_open(root, "model-1")

        assert gallery == Gallery(root, "my_cats", "model-1")
        assert Gallery.exists(root)
        assert Gallery.open(root) == gallery
        assert [path.name for path in root.iterdir()] == ["gallery.json"]

    def test_a_name_can_be_given_and_stays(self, tmp_path):
        Gallery.create_or_open(tmp_path / "g", "model-1", "cats")
        assert Gallery.open(tmp_path / "g").name == "cats"
        assert Gallery.create_or_open(tmp_path / "g", "model-1", "dogs").name == "cats"

    def test_another_model_is_refused_with_both_names(self, tmp_path):
        Gallery.create_or_open(tmp_path / "g", "model-1")
        with pytest.raises(EncoderMismatch, match=r"with the model model-1, and the one given is model-2.*--model"):
            Gallery.create_or_open(tmp_path / "g", "model-2")
        assert Gallery.open(tmp_path / "g").fingerprint == "model-1"

    def test_a_run_that_was_killed_while_it_made_the_gallery_bars_nobody(self, tmp_path):
        (tmp_path / f".{'0a' * 16}.tmp").write_bytes(b"")
        assert Gallery.create_or_open(tmp_path, "model-1", "cats").name == "cats"

    def test_a_folder_of_other_files_is_left_alone(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(GalleryError, match=f"{tmp_path} holds other files"):
            Gallery.create_or_open(tmp_path, "model-1")
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_a_file_in_its_place_is_left_alone(self, tmp_path):
        (tmp_path / "g").write_text("text")
        with pytest.raises(GalleryError, match="is no gallery"):
            Gallery.create_or_open(tmp_path / "g", "model-1")
        assert (tmp_path / "g").read_text() == "text"

    def test_a_place_that_cannot_be_is_a_typed_error(self, tmp_path):
        with pytest.raises(GalleryError, match="cannot be used as a gallery: File name too long"):
            Gallery.create_or_open(tmp_path / ("x" * 300), "model-1")
        (tmp_path / "file").write_text("text")
        with pytest.raises(OutputError, match="cannot be written"):
            Gallery.create_or_open(tmp_path / "file" / "g", "model-1")


class TestOpen:
    @pytest.mark.parametrize("place", [".", "missing", "file", "x" * 300])
    def test_what_is_no_gallery_says_so(self, tmp_path, place):
        (tmp_path / "file").write_text("text")
        root = tmp_path / place
        assert not Gallery.exists(root)
        with pytest.raises(GalleryError):
            Gallery.open(root)
        if len(place) < 100:
            with pytest.raises(GalleryError, match=rf"{root} is no gallery.*sbka ingest PHOTOS --gallery {root}"):
                Gallery.open(root)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"null"])
    def test_a_damaged_one_is_named(self, tmp_path, content):
        (tmp_path / "gallery.json").write_bytes(content)
        with pytest.raises(GalleryError, match=rf"{tmp_path}/gallery.json is damaged"):
            Gallery.open(tmp_path)

    @pytest.mark.parametrize("missing", ["format_version", "name", "fingerprint"])
    def test_one_that_lacks_something_is_damaged(self, tmp_path, missing):
        manifest(tmp_path, **{missing: None})
        with pytest.raises(GalleryError, match=rf"damaged: '{missing}'"):
            Gallery.open(tmp_path)

    @pytest.mark.parametrize("version", [0, 3, "2"])
    def test_another_version_asks_for_an_upgrade(self, tmp_path, version):
        manifest(tmp_path, format_version=version)
        with pytest.raises(GalleryError, match=rf"format {version}; this version reads 2.*Upgrade"):
            Gallery.open(tmp_path)

    def test_other_keys_are_passed_over(self, tmp_path):
        manifest(tmp_path, made_by="somebody")
        assert Gallery.open(tmp_path) == Gallery(tmp_path, "cats", "model-1")


def test_everything_of_a_gallery_lies_in_its_folder(tmp_path):
    gallery = Gallery(tmp_path, "cats", "model-1")
    assert gallery.model_folder == tmp_path / "models" / "model-1"
    assert gallery.shard_folder == tmp_path / "shards" / "model-1"
    parts = [gallery.quarantine_file, gallery.index_file, gallery.milvus_folder, gallery.version_folder]
    parts.append(gallery.lock_file)
    assert all(part.parent == tmp_path for part in parts)
    assert len({*parts, gallery.shard_folder, gallery.model_folder, tmp_path / "gallery.json"}) == 8


def test_another_model_sees_the_same_gallery_with_its_own_shards_and_bundle(tmp_path):
    gallery = Gallery.create_or_open(tmp_path / "g", "model-1", "cats")
    other = gallery.for_model("model-2")
    assert (other.root, other.name, other.fingerprint) == (gallery.root, "cats", "model-2")
    assert other.shard_folder != gallery.shard_folder
    assert other.model_folder != gallery.model_folder
    assert Gallery.open(gallery.root) == gallery, "nothing is written until it is saved"
    other.save()
    assert Gallery.open(gallery.root) == other


class TestFirstFormat:
    """Galleries of the first format had their shards in one folder."""

    SHARDS = ("photos-000001-00000001.parquet", "photos-000002-00000002.parquet", "photos-000003-00000003.parquet")

    @pytest.fixture
    def old(self, tmp_path):
        manifest(tmp_path, format_version=1)
        (tmp_path / "shards").mkdir()
        for name in self.SHARDS:
            (tmp_path / "shards" / name).write_text(f"vectors of {name}")
        return tmp_path

    def is_new(self, root: Path) -> None:
        gallery = Gallery.open(root)
        assert gallery == Gallery(root, "cats", "model-1")
        assert sorted(path.name for path in gallery.shard_folder.iterdir()) == list(self.SHARDS)
        for name in self.SHARDS:
            assert (gallery.shard_folder / name).read_text() == f"vectors of {name}"
        assert [path.name for path in (root / "shards").iterdir()] == ["model-1"]
        assert json.loads((root / "gallery.json").read_text())["format_version"] == 2

    def test_opening_one_sorts_its_shards_below_their_model(self, old):
        self.is_new(old)
        self.is_new(old)

    @pytest.mark.parametrize("moved", range(4))
    def test_one_that_was_killed_halfway_is_finished(self, old, moved):
        (old / "shards" / "model-1").mkdir()
        for name in self.SHARDS[:moved]:
            (old / "shards" / name).rename(old / "shards" / "model-1" / name)
        self.is_new(old)

    def test_one_without_shards_is_opened(self, tmp_path):
        manifest(tmp_path, format_version=1)
        assert Gallery.open(tmp_path).fingerprint == "model-1"
        assert json.loads((tmp_path / "gallery.json").read_text())["format_version"] == 2

    def test_two_that_open_it_at_once_lose_nothing(self, old):
        with ThreadPoolExecutor(8) as pool:
            opened = list(pool.map(lambda _: Gallery.open(old), range(8)))
        assert set(opened) == {Gallery(old, "cats", "model-1")}
        self.is_new(old)

    def test_a_place_in_the_way_is_a_typed_error_and_loses_nothing(self, old):
        (old / "shards" / "model-1").write_text("a file")
        with pytest.raises(OutputError, match=f"{old} is of an earlier format.*nothing is lost"):
            Gallery.open(old)
        (old / "shards" / "model-1").unlink()
        self.is_new(old)

    @pytest.mark.parametrize("fingerprint", ["", ".", "..", "a/b"])
    def test_a_fingerprint_that_is_no_folder_is_damage(self, old, fingerprint):
        manifest(old, format_version=1, fingerprint=fingerprint)
        with pytest.raises(GalleryError, match="damaged"):
            Gallery.open(old)
        assert sorted(path.name for path in (old / "shards").iterdir()) == list(self.SHARDS)


class TestName:
    @pytest.mark.parametrize(
        ("folder", "name"),
        [
            ("cats", "cats"),
            ("my photos-2024", "my_photos_2024"),
            ("2024", "g_2024"),
            ("_hidden_", "hidden"),
            ("köln", "k_ln"),
            ("猫", "gallery"),
            ("photos__v2", "photos_v2"),
            ("x" * 250, "x" * 100),
        ],
    )
    def test_it_is_made_from_the_folders_name(self, folder, name):
        assert gallery_name(Path("/data") / folder) == name

    def test_a_relative_folder_is_named_as_it_is_called(self, tmp_path, monkeypatch):
        (tmp_path / "cats").mkdir()
        monkeypatch.chdir(tmp_path / "cats")
        assert gallery_name(Path()) == "cats"

    def test_the_root_has_a_name_too(self):
        assert gallery_name(Path("/")) == "gallery"

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.one_of(st.text(min_size=1), st.text("_v19 a", min_size=1)).filter(lambda name: "\0" not in name))
    def test_the_store_takes_it_whatever_the_folder_is_called(self, folder):
        require_gallery_name(gallery_name(Path("/data") / folder.replace("/", "_")))
