"""A small drawn world with what the program makes of it, once for all tests of the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.cli import main
from sbka_milvus.embeddings import Gallery
from sbka_milvus.store import MilvusGalleryStore


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Sbka = Callable[..., Ran]


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

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["sbka", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


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
