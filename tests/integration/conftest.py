"""A small drawn world with what the program makes of it, once for all tests of the command line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_commands import Sbka, runner

from sbka_milvus.cli import main
from sbka_milvus.embeddings import Gallery
from sbka_milvus.store import MilvusGalleryStore


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """An empty one, of the encoder that the tests of ingest make for themselves."""
    return Gallery.create_or_open(tmp_path / "gallery", "grid-1")


@pytest.fixture
def store(gallery: Gallery) -> Iterator[MilvusGalleryStore]:
    """The Milvus Lite in it."""
    with MilvusGalleryStore(str(gallery.milvus_folder)) as opened:
        yield opened


@pytest.fixture
def sbka(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sbka:
    """Runs ``sbka`` with the arguments of a shell."""
    monkeypatch.setenv("COLUMNS", "300")
    return runner(capsys, monkeypatch)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the classifier ``timm:test_efficientnet`` of nine classes."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "classifier.safetensors"
    save_file(timm.create_model("test_efficientnet", num_classes=9).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a very short demo: world, weights, models, gallery, contact sheet."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    arguments = ["--photos", "6", "--sketches", "5", "--pretrain-epochs", "1", "--epochs", "2", "--json"]
    before, sys.argv = sys.argv, ["sbka", "demo", "-o", str(folder), *arguments]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code
    finally:
        sys.argv = before
    return folder


@pytest.fixture(scope="module")
def demo_gallery(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's gallery that the tests of a module may search and change."""
    copy = tmp_path_factory.mktemp("gallery") / "gallery"
    shutil.copytree(demo / "gallery", copy)
    return copy


@pytest.fixture(scope="module")
def teapot(demo: Path) -> Path:
    """A sketch of a category that the demo's model never saw."""
    return sorted((demo / "world" / "sketches" / "teapot").iterdir())[0]
