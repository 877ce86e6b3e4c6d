"""The stores that the contract holds for, and galleries to put into them.

The whole contract runs on the twin in memory, on Milvus Lite in a directory and on its local server. A real Milvus
server takes seconds to make a version, so what is marked ``real_server`` alone runs there; with ``SERVER_CONTRACT=all``
everything does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from milvus_servers import NoServer, Server, lite_server, real_server

from sbka_milvus.protocols import GalleryStore
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import Clustering, ClusterTable, Embeddings, FloatArray, GalleryRows, normalise

_STORES = ["memory", "milvus_lite", "lite_server"]
_WHOLE_CONTRACT = os.environ.get("SERVER_CONTRACT") == "all"
_FEW_PARTITIONS = 4
"""So that galleries of a handful of clusters already have super-cluster partitions."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs what asks for a store on each kind of store."""
    if "store" in metafunc.fixturenames:
        marked = _WHOLE_CONTRACT or any(metafunc.definition.iter_markers("real_server"))
        metafunc.parametrize("store", [*_STORES, *(["milvus_server"] if marked else [])], indirect=True)


@pytest.fixture(scope="package")
def milvus_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Milvus server, installed where this Python is; tests are skipped where there can be none."""
    try:
        with real_server(Path(sys.prefix) / "milvus-server", tmp_path_factory.mktemp("server")) as server:
            yield server
    except NoServer as reason:
        pytest.skip(f"there is no Milvus server: {reason}")


@pytest.fixture(scope="package")
def local_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Milvus Lite's own server, in another process."""
    with lite_server(tmp_path_factory.mktemp("lite_server")) as server:
        yield server


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GalleryStore]:
    """An empty store of each kind."""
    opened: GalleryStore
    server: Server | None = None
    if request.param == "memory":
        opened = MemoryGalleryStore()
    elif request.param == "milvus_lite":
        opened = MilvusGalleryStore(str(tmp_path / "lite"), max_partitions=_FEW_PARTITIONS)
    else:
        server = request.getfixturevalue("local_lite" if request.param == "lite_server" else request.param)
        opened = server.open(max_partitions=_FEW_PARTITIONS)
    yield opened
    opened.close()
    if server is not None:
        server.clear()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Callable[..., MilvusGalleryStore]]:
    """Opens stores in one directory, and closes them."""
    opened = []

    def open_store(**options: Any) -> MilvusGalleryStore:
        opened.append(MilvusGalleryStore(str(tmp_path / "lite"), **options))
        return opened[-1]

    yield open_store
    for one in opened:
        one.close()


class Gallery:
    """Photos around random centroids: ``n`` of them, ``k`` clusters, ``dim`` dimensions."""

    def __init__(self, n: int = 60, k: int = 3, dim: int = 8, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        centres = normalise(rng.normal(size=(k, dim)))
        assignments = np.arange(n, dtype=np.int64) % k
        vectors = normalise(centres[assignments] + 0.5 * rng.normal(size=(n, dim)) / np.sqrt(dim))
        uris = tuple(f"photos/{seed}/{number:05d}.jpg" for number in range(n))
        centroids = normalise(np.stack([vectors[assignments == cluster].mean(axis=0) for cluster in range(k)]))
        cosines = [vectors[assignments == cluster] @ centroids[cluster] for cluster in range(k)]
        table = ClusterTable(
            centroids=centroids,
            sizes=np.bincount(assignments, minlength=k).astype(np.int64),
            radii=np.array([np.arccos(cosine.min()) for cosine in cosines], dtype=np.float32),
            exemplars=tuple(tuple(uris[row] for row in np.flatnonzero(assignments == c)[:2]) for c in range(k)),
        )
        self.embeddings = Embeddings(uris, vectors)
        self.clustering = Clustering(table, assignments)

    @property
    def table(self) -> ClusterTable:
        return self.clustering.table

    @property
    def rows(self) -> GalleryRows:
        return GalleryRows(self.embeddings, self.clustering.assignments)

    def part(self, rows: slice) -> GalleryRows:
        embeddings = Embeddings(self.embeddings.uris[rows], self.embeddings.vectors[rows])
        return GalleryRows(embeddings, self.clustering.assignments[rows])

    def probes(self, n: int, seed: int = 1) -> FloatArray:
        """shape (n, dim): unit vectors near random photos."""
        rng = np.random.default_rng(seed)
        near = self.embeddings.vectors[rng.integers(len(self.embeddings), size=n)]
        return normalise(near + 0.3 * rng.normal(size=near.shape) / np.sqrt(near.shape[1]))


@pytest.fixture(scope="session")
def make_gallery() -> type[Gallery]:
    return Gallery


@pytest.fixture(scope="session")
def small() -> Gallery:
    return Gallery()
