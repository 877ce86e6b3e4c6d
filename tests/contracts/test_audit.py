"""Auditing tells every row of a version as it lies in the store, for every store."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.types import StoredRows


def rows_of(parts: list[StoredRows]) -> dict[int, tuple[str, int, bool]]:
    return {
        one: (uri, cluster, bool(misplaced))
        for part in parts
        for one, uri, cluster, misplaced in zip(
            part.ids.tolist(), part.uris, part.cluster_ids.tolist(), part.misplaced, strict=True
        )
    }


@pytest.mark.real_server
@pytest.mark.parametrize("clusters", [3, 9])
def test_every_row_once_where_it_belongs(store, make_gallery, clusters):
    gallery = make_gallery(n=60, k=clusters)
    info = store.create_version("cats", "model-1", gallery.table)
    store.insert(info, gallery.rows)
    found = rows_of(list(store.audit(info)))
    assert found == {
        one: (uri, cluster, False)
        for one, uri, cluster in zip(
            gallery.embeddings.ids.tolist(),
            gallery.embeddings.uris,
            gallery.clustering.assignments.tolist(),
            strict=True,
        )
    }


def test_vectors_are_those_that_were_inserted_or_left_out(store, make_gallery):
    gallery = make_gallery()
    info = store.create_version("cats", "model-1", gallery.table)
    store.insert(info, gallery.rows)
    (ids, vectors) = (
        np.concatenate([getattr(part, name) for part in store.audit(info)]) for name in ("ids", "vectors")
    )
    order = {one: row for row, one in enumerate(ids.tolist())}
    np.testing.assert_array_equal(
        vectors[[order[one] for one in gallery.embeddings.ids.tolist()]], gallery.embeddings.vectors
    )
    without = list(store.audit(info, vectors=False))
    assert sum(map(len, without)) == 60
    assert {part.vectors.shape[1] for part in without} == {0}


def test_an_empty_version_has_no_rows(store, make_gallery):
    info = store.create_version("cats", "model-1", make_gallery().table)
    assert sum(map(len, store.audit(info))) == 0
