"""Codes bound every member of their cluster, and a damaged file of them is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.clusters.codes import ClusterCodes
from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray, normalise


def gallery(
    n: int, k: int, dim: int, seed: int, spread: float = 1.0
) -> tuple[IntArray, FloatArray, IntArray, FloatArray]:
    rng = np.random.default_rng(seed)
    centroids = normalise(rng.normal(size=(k, dim)))
    assignments = rng.integers(0, k, n)
    vectors = normalise(centroids[assignments] + spread * rng.normal(size=(n, dim)) / np.sqrt(dim))
    return rng.permutation(10 * n)[:n].astype(np.int64), vectors, assignments, centroids


def written(codes: ClusterCodes, path: Path) -> Path:
    with path.open("wb") as file:
        codes.write(file)
    return path


def best(codes, queries, of, clusters, scores, depth):
    """The best members of each pair, shape (P, depth): their cosines and ids; -inf and -1 where there are no more."""
    counts, found, which = codes.members(queries, of, clusters, scores)
    cosines = np.full((len(clusters), depth), -np.inf, dtype=np.float32)
    ids = np.full((len(clusters), depth), -1, dtype=np.int64)
    for pair, rows in enumerate(np.split(np.arange(len(found)), np.cumsum(counts)[:-1])):
        order = rows[np.argsort(-found[rows], kind="stable")][:depth]
        cosines[pair, : len(order)], ids[pair, : len(order)] = found[order], which[order]
    return cosines, ids


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    n=st.integers(1, 300),
    k=st.integers(1, 20),
    dim=st.integers(2, 40),
    spread=st.sampled_from([0.0, 1e-4, 0.5, 3.0]),
    seed=st.integers(0, 2**31 - 1),
    halves=st.booleans(),
)
def test_the_best_code_and_its_error_bound_every_member(n, k, dim, spread, seed, halves):
    ids, vectors, assignments, centroids = gallery(n, k, dim, seed, spread)
    codes = ClusterCodes.fit(ids, vectors, assignments, centroids, halves=halves)
    query = normalise(np.random.default_rng(seed + 1).normal(size=dim))
    true = vectors.astype(np.float64) @ query
    every = np.arange(k)
    scores = (centroids @ query).astype(np.float32)

    cosines, found = best(codes, codes.turned(query[None]), np.zeros(k, int), every, scores, n)

    for cluster in every:
        members = np.flatnonzero(assignments == cluster)
        there = found[cluster] >= 0
        assert sorted(found[cluster][there]) == sorted(ids[members])
        assert np.isneginf(cosines[cluster][~there]).all()
        assert (np.diff(cosines[cluster][there]) <= 0).all()
        of_id = dict(zip(ids[members].tolist(), true[members].tolist(), strict=True))
        for one, cosine in zip(found[cluster][there].tolist(), cosines[cluster][there].tolist(), strict=True):
            assert abs(cosine - of_id[one]) <= codes.errors[cluster]
        finer, off = codes.finer(codes.turned(query[None])[0], found[cluster][there], cosines[cluster][there])
        for one, cosine, error in zip(found[cluster][there].tolist(), finer.tolist(), off.tolist(), strict=True):
            assert abs(cosine - of_id[one]) <= error <= codes.errors[cluster] + 1e-5
        if len(members):
            assert true[members].max() <= cosines[cluster][0] + codes.errors[cluster]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    n=st.integers(1, 300),
    k=st.integers(1, 20),
    dim=st.integers(2, 70),
    spread=st.sampled_from([0.0, 1e-4, 0.5, 3.0]),
    seed=st.integers(0, 2**31 - 1),
    halves=st.booleans(),
    wanted=st.floats(-0.5, 1.1),
)
def test_no_member_that_is_like_the_query_is_passed_over(n, k, dim, spread, seed, halves, wanted):
    ids, vectors, assignments, centroids = gallery(n, k, dim, seed, spread)
    codes = ClusterCodes.fit(ids, vectors, assignments, centroids, halves=halves)
    rng = np.random.default_rng(seed + 1)
    query = normalise(rng.normal(size=dim) + 2 * vectors[0])
    clusters = rng.permutation(k)[: int(rng.integers(1, k + 1))]
    scores = (centroids @ query).astype(np.float32)
    turned = codes.turned(query[None])
    least = np.full(len(clusters), wanted, np.float32)

    places, cosines, found, whole = codes.above(turned[0], clusters, scores[clusters], least)

    true = vectors.astype(np.float64) @ query
    within = np.isin(assignments, clusters)
    assert set(ids[within & (true >= wanted)].tolist()) <= set(found.tolist()) <= set(ids[within].tolist())
    assert len(set(found.tolist())) == len(found) == len(places) == len(cosines)
    assert (np.diff(places) >= 0).all()
    assert (np.bincount(places, minlength=len(clusters)) <= whole).all()
    assert (whole <= np.bincount(assignments, minlength=k)[clusters]).all()
    row_of = {one: row for row, one in enumerate(ids.tolist())}
    rows = [row_of[one] for one in found.tolist()]
    np.testing.assert_array_equal(clusters[places], assignments[rows])
    assert (true[rows] >= wanted - 2 * codes.errors[assignments[rows]] - 1e-5).all()
    # To the last bit: a photo scores the same by whichever way it was found.
    by_best = dict(
        zip(
            *(one.ravel().tolist() for one in best(codes, turned, np.zeros(k, int), np.arange(k), scores, n)[::-1]),
            strict=True,
        )
    )
    assert cosines.tolist() == [by_best[one] for one in found.tolist()]


def test_of_most_photos_half_a_code_is_enough():
    rng = np.random.default_rng(0)
    centroids = normalise(rng.normal(size=(20, 128)))
    assignments = rng.integers(0, 20, 6000)
    # Most of what tells photos of a cluster apart lies in few directions, as with real ones.
    spread = rng.normal(size=(6000, 128)) * (1 / (1 + np.arange(128))) @ np.linalg.qr(rng.normal(size=(128, 128)))[0]
    vectors = normalise(centroids[assignments] + 0.5 * spread)
    codes = ClusterCodes.fit(np.arange(6000), vectors, assignments, centroids, halves=True)
    query = vectors[17]
    true = vectors @ query
    least = np.full(20, np.sort(true)[-20], np.float32)
    _, _, found, whole = codes.above(codes.turned(query[None])[0], np.arange(20), centroids @ query, least)
    assert set(np.flatnonzero(true >= least[0]).tolist()) <= set(found.tolist())
    assert whole.sum() < 600


def test_codes_of_a_photo_that_lies_in_two_clusters():
    ids, vectors, assignments, centroids = gallery(200, 3, 24, 4)
    twice = np.append(ids, ids[0])
    elsewhere = (assignments[0] + 1) % 3
    codes = ClusterCodes.fit(
        twice, np.vstack([vectors, vectors[:1]]), np.append(assignments, elsewhere), centroids, halves=True
    )
    least = np.full(3, -2, np.float32)
    places, _, found, whole = codes.above(codes.turned(vectors[:1])[0], np.arange(3), centroids @ vectors[0], least)
    assert sorted(found.tolist()) == sorted(twice.tolist())
    assert set(places[found == ids[0]].tolist()) == {assignments[0], elsewhere}
    assert whole.sum() == 201


def test_codes_are_three_bytes_a_dimension_and_close(tmp_path):
    ids, vectors, assignments, centroids = gallery(5000, 12, 64, 3)
    codes = ClusterCodes.fit(ids, vectors, assignments, centroids)
    assert codes.shape == (12, 64)
    assert codes.errors.max() < 0.02
    size = written(codes, tmp_path / "codes").stat().st_size
    assert 5000 * 3 * 64 < size < 5000 * (3 * 64 + 8 + 12) + 20_000  # and the ids, and the fine codes' errors


def test_fine_codes_are_as_close_as_float32_tells(tmp_path):
    ids, vectors, assignments, centroids = gallery(5000, 12, 64, 3)
    codes = ClusterCodes.open(written(ClusterCodes.fit(ids, vectors, assignments, centroids), tmp_path / "codes"))
    query, clusters = vectors[0], np.arange(12)
    cosines, found = best(codes, codes.turned(query[None]), np.zeros(12, int), clusters, centroids @ query, 50)
    of_id = dict(zip(ids.tolist(), (vectors.astype(np.float64) @ query).tolist(), strict=True))
    true = np.array([of_id[one] for one in found.ravel().tolist()])
    finer, errors = codes.finer(codes.turned(query[None])[0], found.ravel(), cosines.ravel())
    assert np.abs(finer - true).max() <= errors.max() < 3e-6 < codes.errors.max() / 1000
    assert np.abs(finer - true).mean() < 2e-7


@pytest.mark.parametrize("halves", [True, False])
def test_what_was_written_is_read_again(tmp_path, halves):
    ids, vectors, assignments, centroids = gallery(400, 9, 16, 5)
    codes = ClusterCodes.fit(ids, vectors, assignments, centroids, halves=halves)
    again = ClusterCodes.open(written(codes, tmp_path / "codes"))
    clusters = np.array([8, 0, 3])
    queries = vectors[:3]
    scores = np.einsum("pd,pd->p", centroids[clusters], queries)
    of = np.arange(3)
    np.testing.assert_array_equal(codes.turned(queries), again.turned(queries))
    for one, other in zip(
        best(codes, queries, of, clusters, scores, 5), best(again, queries, of, clusters, scores, 5), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(codes.errors, again.errors)
    for one, other in zip(
        codes.finer(queries[0], ids[:7], np.zeros(7)), again.finer(queries[0], ids[:7], np.zeros(7)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    query, least = codes.turned(queries)[0], np.full(3, 0.2, np.float32)
    for one, other in zip(
        codes.above(query, clusters, scores, least), again.above(query, clusters, scores, least), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert again.shape == (9, 16)


def test_no_photos_have_no_codes():
    with pytest.raises(InvalidValue, match="no photos"):
        ClusterCodes.fit(np.empty(0, np.int64), np.empty((0, 4), np.float32), np.empty(0, np.int64), np.eye(4))


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 40, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path, cut):
    codes = ClusterCodes.fit(*gallery(300, 5, 16, 2))
    path = written(codes, tmp_path / "codes")
    whole = path.read_bytes()
    path.write_bytes(whole[: cut if isinstance(cut, int) else int(cut * len(whole))])
    with pytest.raises(InvalidValue):
        ClusterCodes.open(path)


@pytest.mark.parametrize("at", [0, 100, -5000, -30, -10])
def test_a_changed_byte_shows_in_the_digest(tmp_path, at):
    codes = ClusterCodes.fit(*gallery(300, 5, 16, 2))
    path = written(codes, tmp_path / "codes")
    assert ClusterCodes.is_whole(path)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert not ClusterCodes.is_whole(path)
    with pytest.raises(InvalidValue, match="not what was written"):
        ClusterCodes.open(path)
    path.write_bytes(b"")
    assert not ClusterCodes.is_whole(path)


@pytest.mark.parametrize("at", [0, 4])
def test_a_file_that_begins_with_something_else_is_refused(tmp_path, at):
    codes = ClusterCodes.fit(*gallery(300, 5, 16, 2))
    path = written(codes, tmp_path / "codes")
    content = bytearray(path.read_bytes())
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(InvalidValue):
        ClusterCodes.open(path)


@pytest.mark.parametrize(
    "counts", [(5, 10**9, 16), (10**9, 300, 16), (2**63,) * 3, (5, 299, 16), (4, 300, 16), (5, 300, 17), (5, 300, 0)]
)
@pytest.mark.parametrize("content", [True, False])
def test_a_file_that_tells_of_more_than_it_holds_is_refused_though_its_digest_is_right(tmp_path, counts, content):
    path = written(ClusterCodes.fit(*gallery(300, 5, 16, 2)), tmp_path / "codes")
    body = path.read_bytes()[: -(16 + 24 + 8)] if content else b""
    body += b"".join(count.to_bytes(8, "little") for count in counts)
    path.write_bytes(body + hashlib.blake2b(body, digest_size=16).digest() + b"SBKACOD4")
    assert ClusterCodes.is_whole(path)
    with pytest.raises(InvalidValue):
        ClusterCodes.open(path)


def test_a_file_of_nothing_but_its_digest_is_refused(tmp_path):
    path = tmp_path / "codes"
    path.write_bytes(hashlib.blake2b(b"", digest_size=16).digest() + b"SBKACOD4")
    with pytest.raises(InvalidValue):
        ClusterCodes.open(path)


def test_a_missing_file_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError):
        ClusterCodes.open(tmp_path / "none")


def test_many_clusters_are_seen_as_one_after_the_other_and_faiss_is_left_as_it_was():
    import faiss

    ids, vectors, assignments, centroids = gallery(3000, 60, 16, 11)
    codes = ClusterCodes.fit(ids, vectors, assignments, centroids)
    query, clusters = vectors[5], np.arange(60)
    scores = centroids @ query
    cores = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(3)
        together = best(codes, query[None], np.zeros(60, int), clusters, scores, 7)
        one_by_one = [best(codes, query[None], np.zeros(1, int), clusters[[one]], scores[[one]], 7) for one in clusters]
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(cores)
    for place in range(2):
        np.testing.assert_array_equal(together[place], np.concatenate([one[place] for one in one_by_one]))
