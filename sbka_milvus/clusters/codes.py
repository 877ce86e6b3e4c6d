"""Member codes: the photos of each cluster in a byte a dimension, to see which of them a search must ask for.

A code is the photo's vector less its cluster's centroid, scalar-quantised by faiss (``QT_8bit``, Jégou et al. 2011,
"Searching in One Billion Vectors: Re-rank with Source Coding", and faiss's own documentation). The cosine that a code
gives differs from the true one by at most the length of what quantising lost, by Cauchy and Schwarz; the greatest of
those lengths in a cluster is kept as its *error*: the best code of a cluster plus its error bounds every member. What
was lost is kept in two bytes a dimension more, the *fine code*, which is read of a few members alone: with it a cosine
is known as well as float32 knows it, so that the store need not be asked for vectors.

The file is a faiss index of inverted lists, one a cluster, which is mapped into memory; behind it the fine codes,
likewise, in the order of the photos' ids, then the ids and errors, a digest of all that, and a closing mark. It is read
once when it is opened, for the digest: with a changed byte a search could call a result exact that is not, or fail in
the middle.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np

from sbka_milvus.clusters.fine_codes import DTYPE, ROUNDING, FineCodes
from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray

_MARK = b"SBKACOD3"
_DIGEST = 16
_COUNTS = 16
"""Bytes that tell how many clusters and photos there are."""
_PHOTO = 12
"""Bytes of a photo's id and error."""
_BLOCK = 16_384
_TRAINING_ROWS = 65_536
_SHARED = 3
"""faiss' ``IndexIVF.parallel_mode``: parallel over queries."""
_MANY = 32
"""Pairs of query and cluster from which sharing pays: for some milliseconds after it, cores wait for more, busily."""


class ClusterCodes:
    """A :class:`~sbka_milvus.protocols.MemberCodes`; made by :meth:`fit` or :meth:`open`. Threads may share it."""

    def __init__(self, index: Any, errors: FloatArray, fine: FineCodes) -> None:
        # Cores share the pairs of one call; by default faiss leaves all of them to one core.
        index.parallel_mode = _SHARED
        self._index = index
        self._errors = errors
        self._fine = fine

    @classmethod
    def fit(
        cls, ids: IntArray, vectors: FloatArray, assignments: IntArray, centroids: FloatArray, *, seed: int = 0
    ) -> ClusterCodes:
        """Codes of a version's photos.

        Args:
            ids: shape (N,), int64.
            vectors: shape (N, D), float32, unit rows.
            assignments: shape (N,), int64: the cluster of each.
            centroids: shape (K, D), float32, unit rows.
            seed: of the sample that the quantiser is fitted to.

        Raises:
            InvalidValue: There are no photos.
        """
        import faiss

        if len(vectors) == 0:
            raise InvalidValue("There are no photos to make codes of.")
        n_clusters, dim = centroids.shape
        coarse = faiss.IndexFlatIP(dim)
        coarse.add(np.ascontiguousarray(centroids, dtype=np.float32))
        kind = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexIVFScalarQuantizer(coarse, dim, n_clusters, kind, faiss.METRIC_INNER_PRODUCT, True)
        drawn = np.random.default_rng(seed).permutation(len(vectors))[:_TRAINING_ROWS]
        sample = vectors[drawn] - centroids[assignments[drawn]]
        index.sq.train(np.ascontiguousarray(sample, dtype=np.float32))
        index.is_trained = True
        errors = np.zeros(n_clusters, dtype=np.float32)
        fine = FineCodes.empty(ids, _steps(index))
        for start in range(0, len(vectors), _BLOCK):
            part = np.ascontiguousarray(vectors[start : start + _BLOCK], dtype=np.float32)
            lists = np.ascontiguousarray(assignments[start : start + _BLOCK], dtype=np.int64)
            names = np.ascontiguousarray(ids[start : start + _BLOCK], dtype=np.int64)
            rest = part - centroids[lists]
            lost = rest - index.sq.decode(index.sq.compute_codes(rest))
            np.maximum.at(errors, lists, np.sqrt(np.einsum("nd,nd->n", lost, lost)))
            fine.put(names, lost)
            index.add_core(len(part), faiss.swig_ptr(part), faiss.swig_ptr(names), faiss.swig_ptr(lists))
        return cls(index, errors + np.float32(ROUNDING), fine)

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
            n_clusters, n_photos = (int.from_bytes(file.read(8), "little") for _ in range(2))
            end = _within(end - 4 * n_clusters - _PHOTO * n_photos)
            file.seek(end)
            ids = np.frombuffer(file.read(8 * n_photos), dtype="<i8")
            fine_errors = np.frombuffer(file.read(4 * n_photos), dtype="<f4")
            errors = np.frombuffer(file.read(4 * n_clusters), dtype="<f4")
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise InvalidValue("faiss cannot read it.") from error
        if not isinstance(index, faiss.IndexIVFScalarQuantizer) or (index.nlist, index.ntotal) != (
            n_clusters,
            n_photos,
        ):
            raise InvalidValue("It holds something else.")
        shape = (n_photos, int(index.d))
        start = _within(end - shape[0] * shape[1] * DTYPE.itemsize)
        # As a plain array: to be indexed, one of numpy's own for files takes twice as long.
        rows = np.asarray(np.memmap(path, dtype=DTYPE, mode="r", offset=start, shape=shape))
        return cls(index, errors, FineCodes(ids, rows, fine_errors, _steps(index)))

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
        put(fine.ids.astype("<i8").tobytes())
        put(fine.errors.astype("<f4").tobytes())
        put(self._errors.astype("<f4").tobytes())
        put(b"".join(count.to_bytes(8, "little") for count in (len(self._errors), len(fine.ids))))
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
        return len(self._errors), int(self._index.d)

    @property
    def errors(self) -> FloatArray:
        """By how much the cosine of a code may differ from the true one; shape (K,), float32."""
        return self._errors

    def best(
        self, queries: FloatArray, clusters: IntArray, scores: FloatArray, depth: int
    ) -> tuple[FloatArray, IntArray]:
        """The members of some clusters that are most like a query each, as their codes have it.

        Args:
            queries: shape (P, D), float32, unit rows.
            clusters: shape (P,), int64: where to look for each.
            scores: shape (P,), float32: cosine of each query and the cluster's centroid.
            depth: members of each, at least 1.

        Returns:
            Their cosines, shape (P, depth), float32, best first, -inf where there are no more; and their ids,
            shape (P, depth), int64, -1 there.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        lists = np.ascontiguousarray(clusters, dtype=np.int64).reshape(-1, 1)
        nearness = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1, 1)
        with _one_core() if len(lists) < _MANY else nullcontext():
            found, ids = self._index.search_preassigned(queries, depth, lists, nearness)
        return np.where(ids < 0, np.float32(-np.inf), found), ids

    def finer(self, query: FloatArray, ids: IntArray, cosines: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cosines by the fine codes, of members that :meth:`best` has found.

        Args:
            query: shape (D,), float32, of unit length.
            ids: shape (n,), int64: of members.
            cosines: shape (n,), float32: theirs, as their codes have it.

        Returns:
            Cosines, shape (n,), float32; and by how much each may differ from the true one, likewise.
        """
        return self._fine.finer(query, ids, cosines)


@contextmanager
def _one_core() -> Iterator[None]:
    """In it faiss computes on one core; what other threads were told they keep to."""
    import faiss

    cores = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(cores)


def _within(place: int) -> int:
    if place < 0:
        raise InvalidValue("It tells of more than it holds.")
    return place


def _steps(index: Any) -> FloatArray:
    """How far two neighbouring codes lie apart in each dimension; shape (D,), float32."""
    import faiss

    trained = faiss.vector_to_array(index.sq.trained)
    return np.asarray(trained[int(index.d) :] / 255, dtype=np.float32)
