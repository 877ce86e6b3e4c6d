"""Photo records to write and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sbka_milvus.embeddings import PhotoRecords
from sbka_milvus.types import normalise


def _records(uris: Sequence[str], dim: int = 8, seed: int = 0) -> PhotoRecords:
    rng = np.random.default_rng(seed)
    n = len(uris)
    return PhotoRecords(
        uris=tuple(uris),
        content_hashes=tuple(f"{number:032x}" for number in range(n)),
        sizes=rng.integers(1, 2**40, n),
        mtimes_ns=rng.integers(2**60, 2**61, n),
        widths=rng.integers(1, 10_000, n),
        heights=rng.integers(1, 10_000, n),
        vectors=normalise(rng.normal(size=(n, dim))),
    )


@pytest.fixture(scope="session")
def make_records() -> Callable[..., PhotoRecords]:
    return _records
