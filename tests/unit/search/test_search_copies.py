"""Equal photos are one hit, k hits are k distinct photos, and both stores agree on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.embeddings.copies import CopyGroups
from sbka_milvus.errors import InvalidValue
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import Clustering, ClusterTable, Embeddings, GalleryRows, MetadataField, normalise, photo_id

DIM, KINDS, CLUSTERS = 16, 60, 6


class Copied:
    """Sixty photos, some of them with up to 90 copies, in six clusters; copies have years of their own."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        kinds = normalise(rng.normal(size=(KINDS, DIM)))
        counts = np.where(np.arange(KINDS) % 3 == 0, 1 + rng.integers(1, 6, KINDS), 1)
        counts[0] = 90
        content = np.repeat(np.arange(KINDS), counts)
        order = rng.permutation(len(content))
        self.content = content[order]
        # As from different batches: equal photos may differ in their last digits.
        noise = 1e-7 * rng.normal(size=(len(content), DIM))
        uris = tuple(f"/p/{row:04d}.jpg" for row in range(len(content)))
        self.embeddings = Embeddings(uris, normalise(kinds[self.content] + noise))
        assignments = (self.content % CLUSTERS).astype(np.int64)
        centroids = normalise(
            np.stack([self.embeddings.vectors[assignments == c].mean(axis=0) for c in range(CLUSTERS)])
        )
        sizes = np.bincount(assignments).astype(np.int64)
        table = ClusterTable(
            centroids, sizes, np.full(CLUSTERS, np.pi, np.float32), tuple((uris[c],) for c in range(CLUSTERS))
        )
        self.clustering = Clustering(table, assignments)
        self.years = tuple({"year": 2000 + row % 7} for row in range(len(uris)))
        self.groups = CopyGroups.of({uri: str(kind) for uri, kind in zip(uris, self.content.tolist(), strict=True)})
        self.queries = normalise(rng.normal(size=(5, DIM)) + 2 * kinds[[0, 0, 3, 7, 12]])

    def serve(self, store: GalleryStore) -> None:
        info = store.create_version("cats", "model-1", self.clustering.table, (MetadataField("year", "int"),))
        store.insert(info, GalleryRows(self.embeddings, self.clustering.assignments, self.years))
        store.promote(info)

    def expected(self, query: Any, k: int, weight: float, year: int | None = None) -> list[tuple[str, ...]]:
        """By brute force: for each hit all its URIs, the one that is shown first."""
        scores = weight * (self.clustering.table.centroids @ query)[self.clustering.assignments]
        scores = scores + (1 - weight) * self.embeddings.vectors @ query
        best: dict[int, float] = {}
        shown: dict[int, list[str]] = {}
        for row, kind in enumerate(self.content.tolist()):
            if year is None or self.years[row]["year"] == year:
                best[kind] = max(best.get(kind, -9.0), float(scores[row]))
                shown.setdefault(kind, []).append(self.embeddings.uris[row])
        ordered = sorted(best, key=lambda kind: -best[kind])[:k]
        result = []
        for kind in ordered:
            first = min(shown[kind])
            every = [self.embeddings.uris[row] for row in np.flatnonzero(self.content == kind)]
            result.append((first, *(uri for uri in sorted(every) if uri != first)))
        return result


@pytest.fixture(scope="module")
def copied() -> Copied:
    return Copied()


@pytest.fixture(scope="module", params=["milvus", "memory"])
def store(copied: Copied, request: Any, tmp_path_factory: Any) -> Iterator[GalleryStore]:
    folder: Path = tmp_path_factory.mktemp("copies")
    with MemoryGalleryStore() if request.param == "memory" else MilvusGalleryStore(str(folder / "lite")) as made:
        copied.serve(made)
        yield made


def names(result: Any) -> list[tuple[str, ...]]:
    return [(hit.uri, *hit.duplicates) for hit in result]


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("k", [1, 10, 59, 60, 200])
def test_k_hits_are_k_distinct_photos(copied: Copied, store: GalleryStore, k: int, weight: float) -> None:
    searcher = GallerySearcher(store, "cats", copies_of=lambda _: copied.groups)
    results = searcher.search(copied.queries, k, SearchOptions(None, weight, exact=True))
    for query, result in zip(copied.queries, results, strict=True):
        assert len(result) == min(k, KINDS)
        assert names(result) == copied.expected(query, k, weight)
        assert [hit.rank for hit in result] == list(range(1, len(result) + 1))
        assert all(hit.photo_id == photo_id(hit.uri) for hit in result)


@pytest.mark.parametrize("year", [2000, 2003, 2006])
def test_a_filter_finds_a_photo_by_what_is_said_of_any_copy(copied: Copied, store: GalleryStore, year: int) -> None:
    searcher = GallerySearcher(store, "cats", copies_of=lambda _: copied.groups)
    options = SearchOptions(None, 0.5, where=f"year == {year}", exact=True)
    for query, result in zip(copied.queries, searcher.search(copied.queries, 8, options), strict=True):
        assert names(result) == copied.expected(query, 8, 0.5, year)


def test_a_filter_by_uri_finds_the_copy_that_is_named(copied: Copied, store: GalleryStore) -> None:
    group = copied.groups.uris(0)
    searcher = GallerySearcher(store, "cats", copies_of=lambda _: copied.groups)
    (result,) = searcher.search(copied.queries[:1], 5, SearchOptions(None, where=f"uri == '{group[-1]}'", exact=True))
    assert names(result) == [(group[-1], *group[:-1])]


@pytest.mark.parametrize("limit", [70, 150])
def test_more_copies_than_one_search_returns_do_not_crowd_others_out(
    copied: Copied, store: GalleryStore, limit: int
) -> None:
    """The ninety copies fill what a search may ask for; the other clusters are then asked one by one."""
    searcher = GallerySearcher(store, "cats", copies_of=lambda _: copied.groups, max_limit=limit)
    for query, result in zip(
        copied.queries, searcher.search(copied.queries, 5, SearchOptions(None, 0.0, exact=True)), strict=True
    ):
        found = names(result)
        assert len(found) == 5 and len({name[0] for name in found}) == 5
        if limit > int(copied.clustering.table.sizes.max()):
            assert found == copied.expected(query, 5, 0.0)


def test_without_a_list_of_copies_each_is_a_hit(copied: Copied, store: GalleryStore) -> None:
    (result,) = GallerySearcher(store, "cats").search(copied.queries[:1], 20, SearchOptions(None, 0.0, exact=True))
    assert len(result) == 20 and all(hit.duplicates == () for hit in result)
    kinds = {copied.content[copied.embeddings.uris.index(hit.uri)] for hit in result}
    assert len(kinds) < 20


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


class TestGroups:
    def test_photos_without_copies_are_in_no_group(self) -> None:
        groups = CopyGroups.of({"/a": "1", "/b": "2", "/c": "1", "/d": "3", "/e": "1"})
        assert (len(groups), groups.spare, groups.uris(0)) == (1, 2, ("/a", "/c", "/e"))
        ids = np.array([photo_id(uri) for uri in ("/a", "/b", "/e", "/nowhere")], dtype=np.int64)
        assert groups.groups_of(ids).tolist() == [0, -1, 0, -1]

    def test_no_groups(self) -> None:
        groups = CopyGroups.unpack(CopyGroups.of({"/a": "1"}).pack())
        assert (len(groups), groups.spare) == (0, 0)
        assert groups.groups_of(np.array([1, 2], dtype=np.int64)).tolist() == [-1, -1]

    @settings(max_examples=60, deadline=None)
    @given(st.dictionaries(NAMES, st.sampled_from("abcd")))
    def test_they_come_back_from_a_file(self, hashes: dict[str, str]) -> None:
        groups = CopyGroups.unpack(CopyGroups.of(hashes).pack())
        for uri, digest in hashes.items():
            same = tuple(sorted(other for other, its in hashes.items() if its == digest))
            (group,) = groups.groups_of(np.array([photo_id(uri)], dtype=np.int64)).tolist()
            assert (group >= 0) == (len(same) > 1)
            assert group < 0 or groups.uris(group) == same

    @pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", CopyGroups.of({"/a": "1", "/b": "1"}).pack()[:-30]])
    def test_a_damaged_file_is_an_error_of_ours(self, content: bytes) -> None:
        with pytest.raises(InvalidValue, match="equal photos"):
            CopyGroups.unpack(content)
