from __future__ import annotations

import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.indexes import (
    FLAT_ROWS,
    INDEX_KINDS,
    choose_index,
    index_params,
    require_index_kind,
    search_params,
)


@pytest.mark.parametrize("partitions", [1, 64])
def test_large_partitions_of_a_server_alone_are_not_flat(partitions):
    most = FLAT_ROWS * partitions
    assert choose_index(most, partitions, is_server=True) == "flat"
    assert choose_index(most + 1, partitions, is_server=True) == "hnsw"
    assert choose_index(100 * most, partitions, is_server=False) == "flat"
    assert choose_index(0, partitions, is_server=True) == "flat"


def test_milvus_is_told_what_it_knows():
    told = {kind: next(iter(index_params("vector", kind))).to_dict() for kind in INDEX_KINDS}
    assert {one["index_type"] for one in told.values()} == {"FLAT", "HNSW"}
    assert {one["metric_type"] for one in told.values()} == {"COSINE"}


def test_a_search_asks_for_no_fewer_candidates_than_results():
    assert search_params("hnsw", 10)["params"] == {"ef": 512}
    assert search_params("hnsw", 1000)["params"] == {"ef": 1000}
    assert search_params("flat", 1000) == {"metric_type": "COSINE", "params": {}}


def test_an_unknown_index_is_refused():
    assert [require_index_kind(kind) for kind in INDEX_KINDS] == list(INDEX_KINDS)
    with pytest.raises(InvalidValue, match=r"'diskann'.*flat, hnsw"):
        require_index_kind("diskann")
