"""Bad files and bad decoders for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sbka_milvus.images import DecodeLimits, Decoders, PhotoFile

HERE = Path(__file__).parent
PLANT = HERE / "plant"

# The corpus is a module of its own, for several tests.
sys.path.insert(0, str(HERE))

from badfiles_corpus import MAX_BYTES, MAX_PIXELS, noise  # noqa: E402

LIMITS = DecodeLimits(seconds=20.0, memory_mb=512, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, target=64)


@pytest.fixture
def limits() -> DecodeLimits:
    """Limits that all good files of the corpus keep."""
    return LIMITS


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    """Real processes."""
    with Decoders(LIMITS, 2) as pool:
        yield pool


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Path:
    """From now on photos whose names say so break the processes that decode them."""
    monkeypatch.syspath_prepend(PLANT)
    return PLANT


@pytest.fixture
def photo(tmp_path: Path) -> Callable[[str], PhotoFile]:
    """A sound photo of a name."""

    def make(name: str) -> PhotoFile:
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        noise().save(path, "PNG")
        found = path.stat()
        return PhotoFile(str(path), path, found.st_size, found.st_mtime_ns)

    return make
