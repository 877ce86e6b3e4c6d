"""Rankings in parts are the rankings as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import rank_one_to_many, rank_one_to_one
from sbka_milvus.pipelines import rankings
from sbka_milvus.pipelines.labelled import LabelledVectors
from sbka_milvus.pipelines.rankings import Rankings, cluster_photos, query_parts, rank_vectors, ranked_blocks
from sbka_milvus.types import normalise


def labelled(seed: int, count: int) -> LabelledVectors:
    vectors = normalise(np.random.default_rng(seed).normal(size=(count, 8)))
    return LabelledVectors(vectors, ("ant",) * count, tuple(Path(f"/{row}.jpg") for row in range(count)))


PHOTOS, SKETCHES = labelled(1, 30), labelled(2, 11)
CLUSTERING = cluster_photos(PHOTOS, 5, seed=3)


def reverse(queries, gallery, clustering):
    return np.tile(np.arange(len(gallery))[::-1], (len(queries), 1))


@pytest.mark.parametrize("per_block", [1, 100, 4_000_000])
def test_parts_make_up_the_whole(monkeypatch, per_block):
    monkeypatch.setattr(rankings, "_POSITIONS_PER_BLOCK", per_block)
    found = rank_vectors(PHOTOS, SKETCHES, CLUSTERING, 0.8, {"reverse": reverse})
    table = CLUSTERING.table
    many = rank_one_to_many(SKETCHES.vectors, PHOTOS.vectors, table.centroids, CLUSTERING.assignments, 0.8)
    assert list(found.methods) == ["one-to-one", "one-to-many", "reverse"]
    assert np.array_equal(found.methods["one-to-one"], rank_one_to_one(SKETCHES.vectors, PHOTOS.vectors))
    assert np.array_equal(found.methods["one-to-many"], many)
    assert (found.methods["reverse"] == np.arange(30)[::-1]).all()
    assert found.n_clusters == 5
    for method, blocks in found.blocks():
        assert np.array_equal(np.concatenate([part for _, part in blocks]), found.methods[method])


def test_a_method_is_not_asked_before_its_turn():
    asked = []

    def lazy(queries, gallery, clustering):
        asked.append(True)
        return reverse(queries, gallery, clustering)

    turns = ranked_blocks(SKETCHES.vectors, PHOTOS.vectors, CLUSTERING, 0.8, {"lazy": lazy})
    assert [next(turns)[0], next(turns)[0]] == ["one-to-one", "one-to-many"]
    assert not asked
    assert next(turns)[0] == "lazy"
    assert asked


def test_parts_take_32_megabytes_at_most_and_cover_every_query():
    parts = list(query_parts(15_229, 17_101))
    assert max(part.stop - part.start for part in parts) * 17_101 * 8 <= 32_000_000
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 15_229)
    assert list(query_parts(2, 10**9)) == [slice(0, 1), slice(1, 2)]
    assert list(query_parts(0, 5)) == []


def test_the_number_of_clusters_follows_the_gallery_where_none_is_given():
    assert len(cluster_photos(PHOTOS).table) == 7


def test_rankings_of_different_galleries_are_refused():
    with pytest.raises(InvalidValue, match="Rank one gallery"):
        Rankings({"a": np.zeros((2, 3), dtype=int), "b": np.zeros((2, 4), dtype=int)}, 0)
    with pytest.raises(InvalidValue, match="Rank one gallery"):
        Rankings({}, 0)
