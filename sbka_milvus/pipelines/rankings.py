"""Rankings of a gallery by several methods: the built-in ones, and any that is plugged in beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sbka_milvus.clusters import default_n_clusters, fit_clusters
from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import rank_one_to_many, rank_one_to_one
from sbka_milvus.pipelines.labelled import LabelledVectors
from sbka_milvus.types import Clustering, Embeddings, FloatArray, IntArray

ONE_TO_ONE = "one-to-one"
ONE_TO_MANY = "one-to-many"

Ranker = Callable[[FloatArray, FloatArray, Clustering], IntArray]
"""A method: queries (Q, D) and gallery (N, D), float32 with unit rows, and the gallery's clustering, to (Q, N) integer
gallery positions, best first, each position once a row. It is asked once, for all queries, and sees no label."""

Blocks = Iterator[tuple[slice, IntArray]]
"""Parts of the queries with the rankings of each: shape (queries of the part, N), int64."""

_POSITIONS_PER_BLOCK = 4_000_000  # 32 MB of int64


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """The whole gallery ranked for every query, in one way or several.

    Attributes:
        methods: name to shape (Q, N), int64: gallery positions, best first. Each takes 8 Q N bytes.
        n_clusters: clusters of the gallery; 0 where no method used any.

    Raises:
        InvalidValue: There is no method, or two differ in shape.
    """

    methods: Mapping[str, IntArray]
    n_clusters: int

    def __post_init__(self) -> None:
        if len({positions.shape for positions in self.methods.values()}) != 1:
            shapes = {method: positions.shape for method, positions in self.methods.items()}
            raise InvalidValue(f"The rankings are of shapes {shapes}.", "Rank one gallery for the same queries.")

    def blocks(self) -> Iterator[tuple[str, Blocks]]:
        """Each method with its rankings, in parts of at most 32 MB."""
        for method, positions in self.methods.items():
            yield method, _views(positions)


def cluster_photos(photos: LabelledVectors, n_clusters: int = 0, seed: int = 0) -> Clustering:
    """The photos' clusters, without a look at their categories.

    Args:
        photos: encoded.
        n_clusters: how many; 0: chosen from the number of photos.
        seed: of the clustering.
    """
    embeddings = Embeddings(tuple(str(path) for path in photos.paths), photos.vectors)
    return fit_clusters(embeddings, n_clusters or default_n_clusters(len(embeddings)), seed=seed)


def ranked_blocks(
    queries: FloatArray,
    gallery: FloatArray,
    clustering: Clustering,
    cluster_weight: float,
    methods: Mapping[str, Ranker] | None = None,
) -> Iterator[tuple[str, Blocks]]:
    """Each method with its rankings, in parts of at most 32 MB; a method is not asked before its turn.

    The built-in methods never hold more than one part. A plugged-in one gives 8 Q N bytes at once (2.1 GB for the full
    Sketchy-25), which are let go before the next one is asked.

    Args:
        queries: shape (Q, D), float32, unit rows.
        gallery: shape (N, D), float32, unit rows.
        clustering: of the gallery.
        cluster_weight: of the built-in one-to-many score.
        methods: more methods by name.

    Raises:
        InvalidValue: A method's name is taken.
    """
    for name in methods or {}:
        if name in (ONE_TO_ONE, ONE_TO_MANY, "chance"):
            raise InvalidValue(f"The method {name!r} is built in.", "Give yours another name.")
    centroids, assignments = clustering.table.centroids, clustering.assignments

    def one_to_one(part: FloatArray) -> IntArray:
        return rank_one_to_one(part, gallery)

    def one_to_many(part: FloatArray) -> IntArray:
        return rank_one_to_many(part, gallery, centroids, assignments, cluster_weight)

    yield ONE_TO_ONE, _in_parts(queries, len(gallery), one_to_one)
    yield ONE_TO_MANY, _in_parts(queries, len(gallery), one_to_many)
    for name, ranker in (methods or {}).items():
        positions = np.asarray(ranker(queries, gallery, clustering))
        if positions.shape != (len(queries), len(gallery)) or not np.issubdtype(positions.dtype, np.integer):
            raise InvalidValue(
                f"The method {name!r} gave {positions.dtype} of shape {positions.shape}.",
                f"It must give integer gallery positions of shape ({len(queries)}, {len(gallery)}).",
            )
        yield name, _views(positions)
        del positions


def rank_vectors(
    photos: LabelledVectors,
    sketches: LabelledVectors,
    clustering: Clustering,
    cluster_weight: float,
    methods: Mapping[str, Ranker] | None = None,
) -> Rankings:
    """All rankings at once, for those who want to keep them: 8 Q N bytes a method.

    Raises:
        InvalidValue: As :func:`ranked_blocks`.
    """
    found = {
        method: np.concatenate([positions for _, positions in blocks])
        for method, blocks in ranked_blocks(sketches.vectors, photos.vectors, clustering, cluster_weight, methods)
    }
    return Rankings(found, len(clustering.table))


def _in_parts(queries: FloatArray, n_photos: int, rank: Callable[[FloatArray], IntArray]) -> Blocks:
    for part in query_parts(len(queries), n_photos):
        yield part, rank(queries[part])


def _views(positions: IntArray) -> Blocks:
    for part in query_parts(*positions.shape):
        yield part, positions[part]


def query_parts(n_queries: int, n_photos: int) -> Iterator[slice]:
    """The queries in parts whose rankings take at most 32 MB."""
    size = max(1, _POSITIONS_PER_BLOCK // max(1, n_photos))
    for start in range(0, n_queries, size):
        yield slice(start, min(start + size, n_queries))
