"""Sketches to give verdicts on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from sbka_milvus.feedback import FeedbackLog


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Draws a sketch of a box that depends on a number."""

    def make(number: int, name: str = "") -> Path:
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).rectangle((4, 4, 10 + number, 50), outline="black", width=2)
        path = tmp_path / (name or f"sketch-{number}.png")
        image.save(path)
        return path

    return make


@pytest.fixture
def log(tmp_path: Path) -> FeedbackLog:
    return FeedbackLog(tmp_path / "gallery")
