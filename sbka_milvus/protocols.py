"""The plug-in points: what encodes images, what keeps vectors, and what a version's vectors were lifted by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from PIL import Image

from sbka_milvus.types import (
    CANDIDATE_FIELDS,
    CandidateField,
    Candidates,
    ClusterTable,
    FloatArray,
    GalleryRows,
    IntArray,
    MetadataField,
    ScoreParts,
    SearchResult,
    Shortlist,
    StoredRows,
    VersionInfo,
)


class Encoder(Protocol):
    """Turns images into unit vectors of one space that sketches and photos share."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def fingerprint(self) -> str:
        """Names architecture, weights, preprocessing and dimension: equal for encoders that make the same vectors."""

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        """shape (N, dim), float32, unit rows."""

    def encode_sketches(self, sketches: Sequence[Image.Image]) -> FloatArray:
        """shape (N, dim), float32, unit rows; sketches come normalised (dark ink on white)."""


@runtime_checkable
class ExpectingEncoder(Protocol):
    """An encoder that finds out how photos are encoded fastest as soon as it knows that many will come."""

    def expect(self, photos: int) -> None:
        """So many photos are about to be encoded."""

    @property
    def batches_at_once(self) -> int:
        """Batches that it encodes faster when it is given them at once, by as many threads, than in turn; 1: none.

        It may change after any batch, as more is found out.
        """


class Matching(Protocol):
    """By what the vectors of a version were lifted, and by what queries must be, so that cosines rank as it wants."""

    @property
    def name(self) -> str:
        """In a few words, for people."""

    @property
    def cluster_weight(self) -> float:
        """The weight of the cluster score, which lies in the vectors and cannot be changed."""

    def queries(self, vectors: FloatArray) -> FloatArray:
        """Sketches as encoded, shape (Q, D), float32, unit rows, to what the version is searched with, likewise.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """

    def parts(self, query: FloatArray, ids: IntArray, cosines: FloatArray) -> ScoreParts:
        """What the scores of photos are made of.

        Args:
            query: shape (dim of the version,), float32: one row of :meth:`queries`.
            ids: shape (n,), int64: of photos.
            cosines: shape (n,), float32: of the query and the version's vectors of those photos.
        """


MatchingOf = Callable[[VersionInfo], Matching | None]
"""Finds what a version was lifted by; none where its vectors are the photos' own.

Raises:
    MatchingError: It was lifted, and what it was lifted by is missing or damaged.
"""


class Copies(Protocol):
    """Which photos of a version are equal, byte for byte."""

    def groups_of(self, ids: IntArray) -> IntArray:
        """The group of each photo, shape (n,), int64; -1 for one that has no copies."""

    def uris(self, group: int) -> tuple[str, ...]:
        """All photos of a group, sorted; at least two."""


CopiesOf = Callable[[VersionInfo], Copies | None]
"""Finds the equal photos of a version; none where there are none, or nothing is known of them."""


class MemberCodes(Protocol):
    """The photos of a version in short, by which a search sees which clusters it must look into."""

    @property
    def errors(self) -> FloatArray:
        """By how much the cosine of a code may differ from the true one, of each cluster; shape (K,), float32."""

    def turned(self, queries: FloatArray) -> FloatArray:
        """Queries as the other methods take them.

        Args:
            queries: shape (Q, D), float32, unit rows.

        Returns:
            shape (Q, D), float32.
        """

    def members(
        self, queries: FloatArray, of: IntArray, clusters: IntArray, scores: FloatArray
    ) -> tuple[IntArray, FloatArray, IntArray]:
        """All members of some clusters, as their codes have it.

        Args:
            queries: shape (Q, D), float32: see :meth:`turned`.
            of: shape (P,), int64: the query of each pair.
            clusters: shape (P,), int64: where to look for it.
            scores: shape (P,), float32: cosine of the query and the cluster's centroid.

        Returns:
            How many of each pair there are, shape (P,), int64; and for all of them, pair by pair, in no order within
            one, their cosines, shape (n,), float32, and their ids, shape (n,), int64.
        """

    def above(
        self, query: FloatArray, clusters: IntArray, scores: FloatArray, least: FloatArray
    ) -> tuple[IntArray, FloatArray, IntArray, IntArray]:
        """All members of some clusters that may be so much like a query, by their codes and what those may be off.

        Args:
            query: shape (D,), float32: see :meth:`turned`.
            clusters: shape (P,), int64.
            scores: shape (P,), float32: cosine of the query and each cluster's centroid.
            least: shape (P,), float32, in [-2, 2]: the true cosine that is wanted.

        Returns:
            For n members the place of their cluster, shape (n,), int64, ascending; their cosines, shape (n,), float32,
            as :meth:`members` gives them; and their ids, shape (n,), int64. And of how many members of each cluster the
            whole code was compared, shape (P,), int64.
        """

    def finer(self, query: FloatArray, ids: IntArray, cosines: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cosines of a few members that :meth:`members` or :meth:`above` has found, more exactly.

        Args:
            query: shape (D,), float32: see :meth:`turned`.
            ids: shape (n,), int64.
            cosines: shape (n,), float32: as they were found.

        Returns:
            Cosines, shape (n,), float32; and by how much each may differ from the true one, likewise.
        """


CodesOf = Callable[[VersionInfo], MemberCodes | None]
"""Finds the codes of a version's photos; none where there are none: searches are then slower and not worse."""


@runtime_checkable
class Reranker(Protocol):
    """Scores the best candidates of a search anew; threads may share it."""

    @property
    def name(self) -> str:
        """Short, for results and errors."""

    def depth(self, k: int) -> int:
        """How many candidates it should see for k hits, at least k."""

    def scores(self, query: FloatArray, photos: Shortlist, table: ClusterTable) -> FloatArray:
        """New scores, higher is better.

        Args:
            query: shape (D,), float32, of unit length: as the version is searched.
            photos: n candidates, n at least 1.
            table: clusters of the version; not to be changed.

        Returns:
            shape (n,), float32, finite. Candidates that tie keep their order.
        """


class Judge(Protocol):
    """Says how sure search results are."""

    def __call__(
        self, queries: FloatArray, table: ClusterTable, results: Sequence[SearchResult], matching: Matching | None
    ) -> list[SearchResult]:
        """The same results with their confidence.

        Args:
            queries: shape (Q, D), float32, unit rows, as encoded.
            table: the clusters of the version that answered.
            results: Q.
            matching: by what its vectors were lifted; none: they are the photos' own.
        """


class GalleryStore(Protocol):
    """Keeps versions of galleries: photos in cluster partitions, and the clusters themselves.

    A version is built unseen (:meth:`create_version`, :meth:`insert`), then served (:meth:`promote`).

    Every method that names a gallery or version may raise:
        CollectionMissing: there is none of that name.
        StoreUnavailable: the store cannot be reached now.
        StoreError: the store refused for another reason.
    """

    def create_version(
        self,
        gallery: str,
        fingerprint: str,
        table: ClusterTable,
        fields: Sequence[MetadataField] = (),
        *,
        matching: str = "",
    ) -> VersionInfo:
        """A new empty version, numbered one above the highest, with its clusters and cluster partitions.

        Args:
            gallery: its name.
            fingerprint: of the model that makes its vectors.
            table: its clusters.
            fields: metadata columns of its photos.
            matching: digest of what its vectors are lifted by; empty: they are the photos' own.
        """

    def insert(self, info: VersionInfo, rows: GalleryRows) -> None:
        """Adds photos. Returns when they are acknowledged. A photo id that is already there is replaced.

        Rows of a photo that changed its cluster must not be sent: build a new version instead.
        """

    def promote(self, info: VersionInfo) -> None:
        """Serves this version from now on: the alias switches in one step."""

    def drop_version(self, info: VersionInfo) -> None:
        """Removes a version that is not served.

        Raises:
            StoreError: The version is being served.
        """

    def drop_leftovers(self, gallery: str) -> list[str]:
        """Drops what interrupted calls have left of a gallery.

        Not to be called while another process is making a version of the same gallery.

        Returns:
            The names of what was dropped.
        """

    def delete(self, info: VersionInfo, ids: IntArray) -> None:
        """Removes photos by id; ids that are not there are ignored."""

    def versions(self, gallery: str) -> list[VersionInfo]:
        """All versions, oldest first; empty where the gallery is unknown."""

    def served(self, gallery: str) -> VersionInfo:
        """The version that is served."""

    def confirm(self, info: VersionInfo) -> None:
        """Asks whether a version is there, whole: then it was so ever since it was made.

        Raises:
            CollectionMissing: It is not, or another one by now has its number.
        """

    def count(self, info: VersionInfo) -> int:
        """How many photos a version holds."""

    def clusters(self, info: VersionInfo) -> ClusterTable:
        """The clusters as they were given to :meth:`create_version`."""

    def search(
        self,
        info: VersionInfo,
        queries: FloatArray,
        cluster_ids: IntArray,
        limit: int,
        where: str | None = None,
        *,
        unchecked: bool = False,
        fields: Sequence[CandidateField] = CANDIDATE_FIELDS,
    ) -> list[Candidates]:
        """For each query the ``limit`` photos of the named clusters with the highest member scores.

        Args:
            queries: shape (Q, D), float32, unit rows.
            cluster_ids: shape (P,), int64: clusters to look into. None of them: no candidates.
            limit: at least 1; a store may have a largest one (16,384 for Milvus).
            where: a filter such as ``year > 2020``: only photos that meet it count.
            unchecked: do not ask first whether the version is there, which takes a call of its own. The caller does
                so itself, by :meth:`served` or :meth:`confirm`, for any number of searches at once, and best *after*
                the last of them: a version that is there then was there during all of them, and was no other one.
                What is found where it was not counts for nothing.
            fields: what is needed of each photo beside its id and score.

        Returns:
            Q results, ordered by member score, highest first, ties by id.

        Raises:
            FilterError: The filter cannot be read, or names a column that the version has not.
        """

    def fetch(
        self,
        info: VersionInfo,
        ids: IntArray,
        cluster_ids: IntArray,
        *,
        unchecked: bool = False,
        served: bool = False,
        vectors: bool = True,
    ) -> StoredRows:
        """Photos by their ids.

        Args:
            info: the version.
            ids: shape (n,), int64, distinct.
            cluster_ids: shape (n,), int64: the cluster of each.
            unchecked: as for :meth:`search`.
            served: tell whether the version is the one that is served, at the time of the call: mostly by that call.
            vectors: whether to read them: most of what such a call costs.

        Returns:
            Those that are there, in the order of their ids.

        Raises:
            InvalidValue: A cluster does not exist.
            CollectionMissing: Another version is served than the one that was asked for, or none.
        """

    def scan(self, info: VersionInfo, batch_size: int = 1000) -> Iterator[GalleryRows]:
        """All photos of a version with their vectors, in no particular order."""

    def audit(self, info: VersionInfo, *, vectors: bool = True) -> Iterator[StoredRows]:
        """All rows of a version wherever they lie, doubled ones and misplaced ones too, in no particular order.

        Args:
            info: the version.
            vectors: whether to read them.
        """

    def close(self) -> None:
        """Gives back connections and file locks. Calling it twice is allowed."""
