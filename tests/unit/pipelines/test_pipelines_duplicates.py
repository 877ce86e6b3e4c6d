"""Equal and near photos are found as by comparing each with each, and grouped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.embeddings import PhotoRecords
from sbka_milvus.embeddings.removal import remove_photos
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.errors import GalleryError, InvalidValue
from sbka_milvus.pipelines import duplicates
from sbka_milvus.pipelines.copies import find_copies
from sbka_milvus.pipelines.duplicates import connected, find_duplicates
from sbka_milvus.progress import SilentProgress
from sbka_milvus.types import normalise


def at(*degrees: float) -> np.ndarray:
    """Unit vectors at some angles."""
    turns = np.deg2rad(np.array(degrees))
    return normalise(np.stack([np.cos(turns), np.sin(turns)], axis=1))


def keep(gallery, names, hashes, vectors, sizes=None, widths=None) -> None:
    n = len(names)
    sizes = np.asarray(sizes if sizes is not None else [100] * n, dtype=np.int64)
    widths = np.asarray(widths if widths is not None else [10] * n, dtype=np.int64)
    tens = np.full(n, 10, dtype=np.int64)
    records = PhotoRecords(tuple(names), tuple(hashes), sizes, tens, widths, tens, vectors)
    write_shard(gallery.shard_folder, records, gallery.fingerprint)


def found(gallery, threshold=0.95):
    report = find_duplicates(gallery, threshold, SilentProgress())
    return [(group.kind, [photo.uri for photo in group.photos]) for group in report.groups], report


class TestGroups:
    def test_equal_photos_are_one_group_and_near_ones_another(self, gallery):
        # 10 degrees apart: a cosine of 0.985.
        keep(gallery, ["/a", "/b", "/c", "/d", "/e"], "11234", at(0, 0, 90, 100, 180))
        groups, report = found(gallery)
        assert groups == [("exact", ["/a", "/b"]), ("near", ["/c", "/d"])]
        assert (report.photos, report.distinct, report.spare, report.threshold) == (5, 4, 2, 0.95)
        assert report.groups[1].photos[1].cosine == pytest.approx(np.cos(np.deg2rad(10)))
        assert found(gallery, None)[0] == [("exact", ["/a", "/b"])]

    def test_photos_of_unknown_content_are_no_copies(self, gallery):
        keep(gallery, ["/a", "/b", "/c"], ["", "", ""], at(0, 0, 90))
        assert found(gallery, None)[0] == []
        assert found(gallery)[0] == [("near", ["/a", "/b"])]
        assert find_copies(gallery, ["/a", "/b", "/c"]).spare == 0

    def test_near_ones_hang_together_through_others(self, gallery):
        keep(gallery, ["/a", "/b", "/c", "/d"], "1234", at(0, 10, 20, 60))
        assert found(gallery, 0.98)[0] == [("near", ["/a", "/b", "/c"])]
        assert found(gallery, 0.99)[0] == []

    def test_equal_ones_join_the_near_ones_of_any_of_them(self, gallery):
        keep(gallery, ["/a", "/b", "/c"], "112", at(0, 0, 5))
        assert found(gallery)[0] == [("near", ["/a", "/b", "/c"])]

    def test_the_one_worth_keeping_comes_first(self, gallery):
        keep(gallery, ["/a", "/b", "/c"], "123", at(0, 1, 2), sizes=[900, 300, 500], widths=[10, 20, 20])
        (group,) = found(gallery)[1].groups
        assert [photo.uri for photo in group.photos] == ["/c", "/b", "/a"]
        assert (group.photos[0].width, group.photos[0].size) == (20, 500)

    def test_the_newest_of_each_photo_counts_and_removed_ones_do_not(self, gallery):
        keep(gallery, ["/a", "/b", "/c"], "111", at(0, 0, 0))
        keep(gallery, ["/b"], "2", at(90))
        remove_photos(gallery, ["/c"])
        assert found(gallery)[0] == []
        assert found(gallery)[1].photos == 2

    @pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
    def test_an_impossible_threshold_is_refused(self, gallery, threshold):
        with pytest.raises(InvalidValue, match="threshold"):
            find_duplicates(gallery, threshold, SilentProgress())

    def test_an_empty_gallery_is_said_to_be_so(self, gallery):
        with pytest.raises(GalleryError, match="holds no photos"):
            find_duplicates(gallery, 0.9, SilentProgress())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), threshold=st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_blocks_find_what_a_search_of_the_graph_finds(seed, n, threshold):
    rng = np.random.default_rng(seed)
    vectors = normalise(rng.normal(size=(n, 3)))
    vectors[rng.integers(0, n, n // 3)] = vectors[0]  # some are the very same
    near = vectors @ vectors.T >= threshold - 1e-6
    expected = np.full(n, -1)
    for row in range(n):
        todo = [row] if expected[row] < 0 else []
        while todo:
            one = todo.pop()
            if expected[one] < 0:
                expected[one] = row
                todo += np.flatnonzero(near[one]).tolist()
    done = []
    before = duplicates._ROWS, duplicates._COLUMNS
    duplicates._ROWS, duplicates._COLUMNS = 7, 11  # blocks that do not fit evenly
    try:
        labels = connected(vectors, threshold, lambda steps=1, note="": done.append(steps))
    finally:
        duplicates._ROWS, duplicates._COLUMNS = before
    np.testing.assert_array_equal(labels, expected)
    assert sum(done) == n
