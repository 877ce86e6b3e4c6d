"""Small pictures drawn from numbers, and models with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress

NET = "timm:test_efficientnet"
CLASSES = ("bar", "box", "disc", "pole", "ring")


def draw_photos(folder: Path, first: int, each: int) -> None:
    """``each`` photos of every category, numbered from ``first``."""
    _draw(folder, first, each, photo=True)


def draw_sketches(folder: Path, each: int) -> None:
    """``each`` sketches of every category."""
    _draw(folder, 0, each, photo=False)


def damage(folder: Path) -> set[Path]:
    """Files that are called photos and are none."""
    whole = min((folder / CLASSES[0]).iterdir()).read_bytes()
    contents = {"empty": b"", "text": b"this is no picture", "cut": whole[:200], "zeros": bytes(4096)}
    broken = folder / "broken"
    broken.mkdir(exist_ok=True)
    for name, content in contents.items():
        (broken / f"{name}.jpg").write_bytes(content)
    return {broken / f"{name}.jpg" for name in contents}


def save_weights(path: Path) -> None:
    """A classifier with random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(BackboneSpec.parse(NET).model, num_classes=9).state_dict(), path)


def make_model(weights: Path, folder: Path) -> None:
    """The bundle of these weights."""
    import_model(BuildRequest(BackboneSpec.parse(NET), weights, size=32), folder, "base", SilentProgress())


def _draw(root: Path, first: int, each: int, *, photo: bool) -> None:
    for kind, category in enumerate(CLASSES):
        folder = root / category
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + each):
            chance = np.random.default_rng([kind, number, photo])
            ground = tuple(chance.integers(100, 240, 3).tolist()) if photo else "white"
            image = Image.new("RGB", (40, 40), ground)
            x, y = chance.integers(4, 10, 2).tolist()
            corner = (x + 6 + 4 * kind, y + 26 - 4 * kind)
            ImageDraw.Draw(image).rectangle((x, y, *corner), "navy" if photo else None, "black", 2)
            image.save(folder / f"{number:03}.{'jpg' if photo else 'png'}")
