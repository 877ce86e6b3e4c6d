"""Frozen, validated value objects that hold arrays: what the rooms pass to one another.

Conventions, everywhere in this package:

* vectors are ``float32`` with one row per item and unit L2 norm, so that a dot product is a cosine;
* photo ids are ``int64``, made from the URI by :func:`photo_id`, so one URI has one id in every version;
* scores are similarities: higher is better.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

Scalar = str | int | float | bool
"""A value of one metadata column of one photo."""

Metadata = Mapping[str, Scalar]
"""What is known of a photo beside its pixels, by column; a column without a value is not there."""

FieldKind = Literal["text", "int", "float", "bool"]

CandidateField = Literal["uri", "cluster_id"]
"""What a store says of a photo that it found, beside its id and score."""

CANDIDATE_FIELDS: tuple[CandidateField, ...] = ("uri", "cluster_id")

IndexKind = Literal["flat", "hnsw"]
"""How a version's vectors are indexed: looked at one by one, or by something faster that may miss some."""

UNIT_NORM_TOLERANCE = 1e-3


def photo_id(uri: str) -> int:
    """The id of a photo: the first 63 bits of BLAKE2b over its URI.

    Two of ten million URIs share an id with a probability of about 5e-6.

    >>> photo_id("cats/1.jpg") == photo_id("cats/1.jpg")
    True
    >>> 0 <= photo_id("cats/1.jpg") < 2**63
    True
    """
    digest = hashlib.blake2b(uri.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def normalise(vectors: NDArray[Any]) -> FloatArray:
    """Rows scaled to unit L2 norm.

    Args:
        vectors: shape (N, D) or (D,), any float dtype.

    Raises:
        InvalidValue: A row is zero or not finite.

    >>> normalise(np.array([[3.0, 4.0]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        raise InvalidValue("A vector is zero or not finite and has no direction.", "Check the encoder's output.")
    return np.asarray(wide / norms, dtype=np.float32)


_BY_ONE_CORE = 100_000
"""Products up to which one core computes them: for a while after a product of matrices, the threads of OpenBLAS wait
for more of them, busily, and hold up what follows."""


def products(rows: FloatArray, others: FloatArray) -> FloatArray:
    """Of each row with each of the others; few of them by one core.

    Args:
        rows: shape (N, D), float32.
        others: shape (K, D), float32.

    Returns:
        shape (N, K), float32.

    >>> products(np.float32([[1, 2]]), np.float32([[3, 4], [1, 0]])).tolist()
    [[11.0, 1.0]]
    """
    if len(rows) * len(others) <= _BY_ONE_CORE:
        return np.asarray(np.vecdot(rows[:, np.newaxis], others), dtype=np.float32)
    return np.asarray(rows @ others.T, dtype=np.float32)


def require_unit_rows(vectors: FloatArray, name: str) -> None:
    """Refuses anything that is not an (N, D) float32 array of finite unit rows.

    Raises:
        InvalidValue: Naming ``name`` and what is wrong with it.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise InvalidValue(f"{name} must be float32 of shape (N, D), not {vectors.dtype} of shape {vectors.shape}.")
    if len(vectors) == 0:
        return
    # Not by np.linalg.norm, which squares into a second array of the same size.
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    if not np.isfinite(norms).all() or np.abs(norms - 1.0).max() > UNIT_NORM_TOLERANCE:
        raise InvalidValue(f"{name} must have rows of unit L2 norm.", "Pass them through normalise() first.")


def _require_length(values: Sequence[Any] | NDArray[Any], expected: int, name: str) -> None:
    if len(values) != expected:
        raise InvalidValue(f"{name} has {len(values)} entries where {expected} are needed.")


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Photo vectors with the URIs they belong to.

    Attributes:
        uris: N distinct URIs (absolute local paths, for files).
        vectors: shape (N, D), float32, unit rows.
    """

    uris: tuple[str, ...]
    vectors: FloatArray

    def __post_init__(self) -> None:
        require_unit_rows(self.vectors, "vectors")
        _require_length(self.uris, len(self.vectors), "uris")
        if len(set(self.uris)) != len(self.uris):
            raise InvalidValue("uris must be distinct.")

    def __len__(self) -> int:
        return len(self.uris)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def ids(self) -> IntArray:
        """shape (N,), int64: :func:`photo_id` of each URI."""
        return np.fromiter((photo_id(uri) for uri in self.uris), dtype=np.int64, count=len(self.uris))


@dataclass(frozen=True, slots=True)
class ClusterTable:
    """What a search needs to know of a gallery's clusters.

    Attributes:
        centroids: shape (K, D), float32, unit rows; row k is cluster k.
        sizes: shape (K,), int64: members of each cluster.
        radii: shape (K,), float32, radians: the largest angle from the centroid to a member.
        exemplars: for each cluster the URIs of the members nearest to the centroid, nearest first.
    """

    centroids: FloatArray
    sizes: IntArray
    radii: FloatArray
    exemplars: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        require_unit_rows(self.centroids, "centroids")
        for name in ("sizes", "radii", "exemplars"):
            _require_length(getattr(self, name), len(self.centroids), name)

    def __len__(self) -> int:
        return len(self.centroids)


@dataclass(frozen=True, slots=True)
class Clustering:
    """A gallery's photos assigned to clusters.

    Attributes:
        table: the clusters.
        assignments: shape (N,), int64: the cluster of each photo, in the order of the embeddings it was made from.
    """

    table: ClusterTable
    assignments: IntArray

    def __post_init__(self) -> None:
        if self.assignments.ndim != 1 or not np.issubdtype(self.assignments.dtype, np.integer):
            raise InvalidValue(
                f"assignments must be integers of shape (N,), not {self.assignments.dtype} of {self.assignments.shape}."
            )
        if len(self.assignments) and not (self.assignments.min() >= 0 and self.assignments.max() < len(self.table)):
            raise InvalidValue("assignments name a cluster that does not exist.")
        counted = np.bincount(self.assignments, minlength=len(self.table))
        if not np.array_equal(counted, self.table.sizes):
            raise InvalidValue("sizes do not agree with assignments.")


@dataclass(frozen=True, slots=True)
class MetadataField:
    """A metadata column of a version, by which searches can be filtered.

    Attributes:
        name: as the source of the photos has it.
        kind: of its values in all photos.
    """

    name: str
    kind: FieldKind


@dataclass(frozen=True, slots=True)
class GalleryRows:
    """Photos on their way into one version of a gallery.

    Attributes:
        embeddings: N photos.
        cluster_ids: shape (N,), int64.
        metadata: of each photo, in the kinds of the version's fields; empty where none has any.
    """

    embeddings: Embeddings
    cluster_ids: IntArray
    metadata: tuple[Metadata, ...] = ()

    def __post_init__(self) -> None:
        _require_length(self.cluster_ids, len(self.embeddings), "cluster_ids")
        if self.metadata:
            _require_length(self.metadata, len(self.embeddings), "metadata")

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of a version as a store holds them, with nothing taken for granted: for those who look for what is wrong.

    Attributes:
        ids: shape (N,), int64.
        uris: N URIs.
        cluster_ids: shape (N,), int64.
        misplaced: shape (N,), bool: whether a row lies where searches of its cluster do not look for it.
        vectors: shape (N, D), float32; of shape (N, 0) where they were not asked for.
    """

    ids: IntArray
    uris: tuple[str, ...]
    cluster_ids: IntArray
    misplaced: NDArray[np.bool_]
    vectors: FloatArray

    def __post_init__(self) -> None:
        for name in ("uris", "cluster_ids", "misplaced", "vectors"):
            _require_length(getattr(self, name), len(self.ids), name)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """What one version of a gallery says of itself.

    Attributes:
        gallery: the gallery's name, which is the alias of the served version.
        version: 1, 2, 3, ...
        fingerprint: of the model bundle that made the vectors.
        dim: length of a vector.
        n_clusters: number of clusters, and of cluster partitions up to the limit.
        token: of this very version: one that is made later and happens to get the same number has another.
        matching: digest of what its vectors were lifted by, without which it cannot be searched; empty: they are the
            photos' own vectors.
        fields: metadata columns of its photos.
        index: of its vectors.
    """

    gallery: str
    version: int
    fingerprint: str
    dim: int
    n_clusters: int
    token: str = ""
    matching: str = ""
    fields: tuple[MetadataField, ...] = ()
    index: IndexKind = "flat"

    @property
    def is_exact(self) -> bool:
        """Whether a search of some clusters finds the best of their photos for certain."""
        return self.index == "flat"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Photos that a store found for one query, best member score first.

    Attributes:
        ids: shape (n,), int64.
        uris: n URIs; empty texts where they were not asked for.
        cluster_ids: shape (n,), int64; -1 where they were not asked for.
        member_scores: shape (n,), float32: cosine of the query and the photo.
    """

    ids: IntArray
    uris: tuple[str, ...]
    cluster_ids: IntArray
    member_scores: FloatArray

    def __post_init__(self) -> None:
        for name in ("uris", "cluster_ids", "member_scores"):
            _require_length(getattr(self, name), len(self.ids), name)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """Scores of photos, and what each was made of: weight * cluster_scores + (1 - weight) * member_scores - levels.

    Attributes:
        scores: shape (n,), float32.
        cluster_scores: shape (n,), float32.
        member_scores: shape (n,), float32.
        levels: shape (n,), float32.
        cluster_weight: in [0, 1].
    """

    scores: FloatArray
    cluster_scores: FloatArray
    member_scores: FloatArray
    levels: FloatArray
    cluster_weight: float

    def __post_init__(self) -> None:
        for name in ("cluster_scores", "member_scores", "levels"):
            _require_length(getattr(self, name), len(self.scores), name)


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The best candidates of one query, best one-to-many score first: what a re-ranker sees.

    Attributes:
        ids: shape (n,), int64.
        uris: n URIs; of equal photos one.
        cluster_ids: shape (n,), int64.
        vectors: shape (n, D), float32, unit rows: as the version holds them.
        scores: shape (n,), float32: the one-to-many scores.
        cluster_scores: shape (n,), float32: see :class:`Hit`.
        member_scores: shape (n,), float32: see :class:`Hit`.
    """

    ids: IntArray
    uris: tuple[str, ...]
    cluster_ids: IntArray
    vectors: FloatArray
    scores: FloatArray
    cluster_scores: FloatArray
    member_scores: FloatArray

    def __post_init__(self) -> None:
        for name in ("uris", "cluster_ids", "vectors", "scores", "cluster_scores", "member_scores"):
            _require_length(getattr(self, name), len(self.ids), name)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Hit:
    """One photo of a search result.

    Attributes:
        rank: 1 for the best.
        score: the one-to-many score, weight * cluster_score + (1 - weight) * member_score - level; that of the
            re-ranker where there was one.
        uri: the photo.
        photo_id: its id in the store.
        cluster_id: its cluster.
        cluster_score: cosine of the sketch and the cluster's centroid. In a version of the form *linear*: the mean of
            the cosines with the photo's centroids in several clusterings, all vectors aligned.
        member_score: cosine of the sketch and the photo, likewise.
        cluster_weight: the weight of the cluster score.
        level: what is taken off because the photo is near to sketches of all kinds; 0 in a version of the form *fused*.
        duplicates: URIs of the other photos of the gallery that are equal to this one, byte for byte; sorted.
        key: of the photo in the collection that the gallery is attached to (``sbka attach``); none where it is to none.
    """

    rank: int
    score: float
    uri: str
    photo_id: int
    cluster_id: int
    cluster_score: float
    member_score: float
    cluster_weight: float
    level: float = 0.0
    duplicates: tuple[str, ...] = ()
    key: str | int | None = None


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """The hits of one sketch, best first; behaves as a list of :class:`Hit`.

    Attributes:
        hits: best first.
        gallery: name of the gallery.
        version: the version that was searched.
        probes: ids of the clusters that were looked into, best first.
        fingerprint: of the model that made the version's vectors.
        confidence: the probability that the gallery holds what the sketch shows, in [0, 1]; none where the model has
            no statistics (see ``sbka model statistics``).
        exact: whether these are certainly the best hits of the whole gallery: no cluster that was not looked into can
            hold a better photo. With a re-ranker this speaks of its candidates: whether they were certainly the best
            of the whole gallery by the one-to-many score. What it would have made of others is not known.
        rows: photos that Milvus was asked for by their ids, or of the clusters that it searched.
        codes: photos that were compared by their codes, to choose those clusters and photos.
        halves: photos of which half a code was enough to leave them out.
        reranker: name of the re-ranker; empty: there was none.
    """

    hits: tuple[Hit, ...]
    gallery: str
    version: int
    probes: tuple[int, ...] = field(default=())
    fingerprint: str = ""
    confidence: float | None = None
    exact: bool = False
    rows: int = 0
    codes: int = 0
    halves: int = 0
    reranker: str = ""

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]
