"""A gallery's folder is made once, opened ever after, and never mistaken for something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.workspace import gallery_name
from sbka_milvus.errors import EncoderMismatch, GalleryError, OutputError
from sbka_milvus.store import require_gallery_name


def manifest(root: Path, **changes: object) -> None:
    content = {"format_version": 1, "name": "cats", "fingerprint": "model-1", **changes}
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

    @pytest.mark.parametrize("version", [0, 2, "1"])
    def test_another_version_asks_for_an_upgrade(self, tmp_path, version):
        manifest(tmp_path, format_version=version)
        with pytest.raises(GalleryError, match=rf"format {version}; this version reads 1.*Upgrade"):
            Gallery.open(tmp_path)

    def test_other_keys_are_passed_over(self, tmp_path):
        manifest(tmp_path, made_by="somebody")
        assert Gallery.open(tmp_path) == Gallery(tmp_path, "cats", "model-1")


def test_everything_of_a_gallery_lies_in_its_folder(tmp_path):
    gallery = Gallery(tmp_path, "cats", "model-1")
    assert gallery.model_folder == tmp_path / "models" / "model-1"
    parts = [gallery.shard_folder, gallery.quarantine_file, gallery.index_file, gallery.milvus_folder]
    assert all(part.parent == tmp_path for part in parts)
    assert len({*parts, gallery.model_folder, tmp_path / "gallery.json"}) == 6


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
