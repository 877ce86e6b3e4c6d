"""Member codes: the photos of each cluster in a byte a dimension, to see which of them a search must ask for.

A code is the photo's vector less its cluster's centroid, scalar-quantised and compared by faiss (``QT_8bit_uniform``,
after :class:`~sbka_milvus.clusters.turning.Turning`; Jégou et al. 2011, "Searching in One Billion Vectors: Re-rank with
Source Coding", and faiss's own documentation). The cosine that a code gives differs from the true one by at most the
length of what quantising lost, by Cauchy and Schwarz; the greatest of those in a cluster is kept as its *error*:
the best code of a cluster plus its error bounds every member. What was lost is kept in two bytes a dimension more, the
*fine code*, which is read of a few members alone: with it a cosine is known as well as float32 knows it, so that the
store need not be asked for vectors.

Codes of many photos lie in two halves, and the first one, with the length of the rest, bounds the cosine: of most
photos the rest need not be read to see that they are none of the hits (see :meth:`ClusterCodes.above`).

The file is a faiss index of inverted lists, one a cluster and half, which is mapped into memory; behind it the fine
codes, likewise, in the order of the photos' ids, then how vectors were turned, the ids and errors, a digest of all
that, and a closing mark. It is read once when it is opened, for the digest: with a changed byte a search could call a
result exact that is not, or fail in the middle.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from sbka_milvus.clusters.cores import shared
from sbka_milvus.clusters.fine_codes import DTYPE, ROUNDING, FineCodes
from sbka_milvus.clusters.turning import Turning
from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray

_MARK = b"SBKACOD4"
_DIGEST = 16
_COUNTS = 24
"""Bytes that tell how many clusters and photos there are, and the length of a vector."""
_PHOTO = 12
"""Bytes of a photo's id and error."""
_BLOCK = 16_384
_HALVES_FROM = 32_768
"""Photos from which codes lie in two halves: of fewer, turning the sketch takes longer than what is spared."""
_EVERY = -3e38
"""Less than any cosine."""
_SLACK = 1e-6
"""faiss finds what is greater; a code that is just enough counts."""


class ClusterCodes:
    """A :class:`~sbka_milvus.protocols.MemberCodes`; made by :meth:`fit` or :meth:`open`. Threads may share it.

    Args:
        index: inverted lists of rows of ``fine``: of the first halves, and of the second ones behind them.
        turning: how vectors were turned and scaled.
        errors: shape (K,), float32: by how much the cosine of a code may differ from the true one.
        half_errors: shape (K,), float32: by how much what the first half bounds a cosine by may be too low.
        fine: the fine codes.
    """

    def __init__(
        self, index: Any, turning: Turning, errors: FloatArray, half_errors: FloatArray, fine: FineCodes
    ) -> None:
        # The cosine with the centroid is given and added; nothing was taken from what was put in.
        index.by_residual = True
        self._index = index
        self._turning = turning
        self._errors = errors
        self._half_errors = half_errors
        self._fine = fine
        self._sizes = np.array([index.get_list_size(cluster) for cluster in range(len(errors))], dtype=np.int64)

    @classmethod
    def fit(
        cls,
        ids: IntArray,
        vectors: FloatArray,
        assignments: IntArray,
        centroids: FloatArray,
        *,
        seed: int = 0,
        halves: bool | None = None,
    ) -> ClusterCodes:
        """Codes of a version's photos.

        Args:
            ids: shape (N,), int64.
            vectors: shape (N, D), float32, unit rows.
            assignments: shape (N,), int64: the cluster of each.
            centroids: shape (K, D), float32, unit rows.
            seed: of the sample that the quantiser is fitted to.
            halves: whether codes lie in two halves; by default those of many photos do.

        Raises:
            InvalidValue: There are no photos.
        """
        import faiss

        if len(vectors) == 0:
            raise InvalidValue("There are no photos to make codes of.")
        n_clusters = len(centroids)
        halves = len(vectors) >= _HALVES_FROM if halves is None else halves
        turning = Turning.fit(vectors, assignments, centroids, seed=seed, halves=halves)
        n_lists = 2 * n_clusters if halves else n_clusters
        # The clusters are given: there is nothing to find them by.
        nothing = faiss.IndexFlatIP(turning.width)
        kind = faiss.ScalarQuantizer.QT_8bit_uniform
        index = faiss.IndexIVFScalarQuantizer(nothing, turning.width, n_lists, kind, faiss.METRIC_INNER_PRODUCT, False)
        faiss.copy_array_to_vector(np.array([-1.0, 2.0], dtype=np.float32), index.sq.trained)
        index.is_trained = True
        errors, half_errors = np.zeros((2, n_clusters), dtype=np.float32)
        fine = FineCodes.empty(ids, turning.steps)
        for start in range(0, len(vectors), _BLOCK):
            lists = np.ascontiguousarray(assignments[start : start + _BLOCK], dtype=np.int64)
            parts, rest = turning.parts(vectors[start : start + _BLOCK] - centroids[lists])
            coded = [index.sq.decode(index.sq.compute_codes(part)) for part in parts]
            lost, first = turning.lost(parts, coded, rest)
            np.maximum.at(errors, lists, np.sqrt(np.einsum("nd,nd->n", lost, lost)))
            np.maximum.at(half_errors, lists, first)
            rows = fine.put(np.ascontiguousarray(ids[start : start + _BLOCK], dtype=np.int64), lost)
            for part in parts:
                index.add_core(len(part), faiss.swig_ptr(part), faiss.swig_ptr(rows), faiss.swig_ptr(lists))
                lists = lists + n_clusters
        rounding = np.float32(ROUNDING)
        return cls(index, turning, errors + rounding, half_errors + rounding, fine)

    @classmethod
    def open(cls, path: Path) -> ClusterCodes:
        """Codes that were written, mapped into memory.

        Raises:
            FileNotFoundError: There are none.
            OSError: The file cannot be read.
            InvalidValue: It is damaged.
        """
        import faiss

        if not cls.is_whole(path):
            raise InvalidValue("It is not what was written.")
        with path.open("rb") as file:
            end = _within(file.seek(0, os.SEEK_END) - len(_MARK) - _DIGEST - _COUNTS)
            file.seek(end)
            n_clusters, n_photos, dim = (int.from_bytes(file.read(8), "little") for _ in range(3))
            end = _within(end - 8 * n_clusters - _PHOTO * n_photos)
            file.seek(end)
            ids = np.frombuffer(file.read(8 * n_photos), dtype="<i8")
            fine_errors = np.frombuffer(file.read(4 * n_photos), dtype="<f4")
            errors, half_errors = np.frombuffer(file.read(8 * n_clusters), dtype="<f4").reshape(2, n_clusters)
            file.seek(_within(end - Turning.n_bytes(dim)))
            turning = Turning.read(file.read(Turning.n_bytes(dim)), dim)
            end -= Turning.n_bytes(dim)
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise InvalidValue("faiss cannot read it.") from error
        n_parts = turning.n_parts
        if not isinstance(index, faiss.IndexIVFScalarQuantizer) or (index.nlist, index.ntotal, index.d) != (
            n_parts * n_clusters,
            n_parts * n_photos,
            turning.width,
        ):
            raise InvalidValue("It holds something else.")
        start = _within(end - n_photos * dim * DTYPE.itemsize)
        # As a plain array: to be indexed, one of numpy's own for files takes twice as long.
        rows = np.asarray(np.memmap(path, dtype=DTYPE, mode="r", offset=start, shape=(n_photos, dim)))
        return cls(index, turning, errors, half_errors, FineCodes(ids, rows, fine_errors, turning.steps))

    def write(self, file: IO[bytes]) -> None:
        """Writes what :meth:`open` reads."""
        import faiss

        # Not in faiss's stubs.
        writer: Any = faiss.__dict__["PyCallbackIOWriter"]
        digest = hashlib.blake2b(digest_size=_DIGEST)

        def put(content: bytes) -> int:
            digest.update(content)
            return file.write(content)

        faiss.write_index(self._index, writer(put))
        fine = self._fine
        for start in range(0, len(fine.rows), _BLOCK):
            put(fine.rows[start : start + _BLOCK].tobytes())
        put(self._turning.written())
        put(fine.ids.astype("<i8").tobytes())
        put(fine.errors.astype("<f4").tobytes())
        put(self._errors.astype("<f4").tobytes())
        put(self._half_errors.astype("<f4").tobytes())
        counts = (len(self._errors), len(fine.ids), self._turning.dim)
        put(b"".join(count.to_bytes(8, "little") for count in counts))
        file.write(digest.digest() + _MARK)

    @staticmethod
    def is_whole(path: Path) -> bool:
        """Whether a file holds what was written, by its digest.

        Raises:
            OSError: It cannot be read.
        """
        left = path.stat().st_size - _DIGEST - len(_MARK)
        digest = hashlib.blake2b(digest_size=_DIGEST)
        with path.open("rb") as file:
            while left > 0 and (part := file.read(min(left, 1 << 20))):
                digest.update(part)
                left -= len(part)
            return file.read() == digest.digest() + _MARK

    @property
    def shape(self) -> tuple[int, int]:
        """Clusters, and the length of a vector."""
        return len(self._errors), self._turning.dim

    @property
    def errors(self) -> FloatArray:
        """By how much the cosine of a code may differ from the true one; shape (K,), float32."""
        return self._errors

    def turned(self, queries: FloatArray) -> FloatArray:
        """See :meth:`~sbka_milvus.protocols.MemberCodes.turned`."""
        return self._turning.turned(queries)

    def members(
        self, queries: FloatArray, of: IntArray, clusters: IntArray, scores: FloatArray
    ) -> tuple[IntArray, FloatArray, IntArray]:
        """See :meth:`~sbka_milvus.protocols.MemberCodes.members`."""
        counts, found, rows = self._cosines(queries, of, clusters, scores)
        return counts, found, self._fine.ids[rows]

    def above(
        self, query: FloatArray, clusters: IntArray, scores: FloatArray, least: FloatArray
    ) -> tuple[IntArray, FloatArray, IntArray, IntArray]:
        """See :meth:`~sbka_milvus.protocols.MemberCodes.above`."""
        bounding, offset = self._turning.bounding(query)
        pairs = np.arange(len(clusters))
        nearness = scores - least + np.float32(offset) + self._half_errors[clusters]
        counts, _, rows = self._scan(bounding[np.newaxis], np.zeros_like(pairs), clusters, nearness, least=-_SLACK)
        some = np.flatnonzero(counts)
        counts[some], found, rows = self._cosines(
            query[np.newaxis], np.zeros_like(some), clusters[some], scores[some], rows
        )
        where = np.repeat(pairs, counts)
        whole = counts if self._turning.n_parts > 1 else self._sizes[clusters]
        kept = found >= least[where] - self._errors[clusters[where]] - np.float32(_SLACK)
        return where[kept], found[kept], self._fine.ids[rows[kept]], whole

    def finer(self, query: FloatArray, ids: IntArray, cosines: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`~sbka_milvus.protocols.MemberCodes.finer`."""
        return self._fine.finer(query, ids, cosines)

    def _cosines(
        self, queries: FloatArray, of: IntArray, clusters: IntArray, scores: FloatArray, rows: IntArray | None = None
    ) -> tuple[IntArray, FloatArray, IntArray]:
        """By their codes, of all members of some clusters, or of those of them that are in some ``rows``.

        The same for a photo whatever else is asked for: a photo is to be ranked the same on each page of a result.

        Returns:
            How many of each pair there are, shape (P,), int64; and for all of them, pair by pair, their cosines, shape
            (n,), float32, and their rows, shape (n,), int64.
        """
        parts = self._turning.weights(queries)
        # All parts in one call: each of them has its members in the same order.
        places = np.repeat(np.arange(len(parts)), len(clusters))
        counts, found, where = self._scan(
            np.concatenate(parts),
            np.tile(of, len(parts)) + places * len(queries),
            np.tile(clusters, len(parts)) + places * len(self._errors),
            np.zeros(len(places), dtype=np.float32),
            rows=rows,
        )
        counts = counts[: len(clusters)]
        cosines = np.repeat(scores, counts)
        for more in found.reshape(len(parts), -1):
            cosines = cosines + more
        return counts, cosines, where[: len(cosines)]

    def _scan(
        self,
        queries: FloatArray,
        of: IntArray,
        lists: IntArray,
        nearness: FloatArray,
        *,
        least: float = _EVERY,
        rows: IntArray | None = None,
    ) -> tuple[IntArray, FloatArray, IntArray]:
        """Products of queries and codes of some lists, plus ``nearness``, where they are more than ``least``.

        Args:
            rows: look at these alone.

        Returns:
            How many of each pair there are, shape (P,), int64; and for all of them, in the order of their lists, what
            was found, shape (n,), float32, and their rows, shape (n,), int64.
        """
        import faiss

        # Its stubs tell of fewer arguments.
        untyped: Any = faiss
        selector = None
        if rows is not None:
            chosen = np.zeros(len(self._fine.ids), dtype=np.bool_)
            chosen[rows] = True
            selector = untyped.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
        keys = np.ascontiguousarray(lists, dtype=np.int64)
        nearness = np.ascontiguousarray(nearness, dtype=np.float32)

        def scan(part: slice) -> tuple[IntArray, FloatArray, IntArray]:
            some = np.ascontiguousarray(queries[of[part]], dtype=np.float32)
            result = faiss.RangeSearchResult(len(some))
            # Not by what faiss wraps around it: that takes no selector.
            self._index.range_search_preassigned_c(
                len(some),
                faiss.swig_ptr(some),
                least,
                faiss.swig_ptr(keys[part]),
                faiss.swig_ptr(nearness[part]),
                result,
                False,
                untyped.SearchParametersIVF(nprobe=1, sel=selector),
            )
            ends = faiss.rev_swig_ptr(result.lims, len(some) + 1).astype(np.int64)
            n_found = int(ends[-1])
            return (
                np.diff(ends),
                faiss.rev_swig_ptr(result.distances, n_found).copy(),
                faiss.rev_swig_ptr(result.labels, n_found).copy(),
            )

        parts = shared(scan, self._sizes[lists % len(self._errors)])
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64)
        found = parts[0] if len(parts) == 1 else tuple(np.concatenate(each) for each in zip(*parts, strict=True))
        return found  # type: ignore[return-value]


def _within(place: int) -> int:
    if place < 0:
        raise InvalidValue("It tells of more than it holds.")
    return place
