"""Work is cut for the cores, comes back in order, and leaves what OpenMP was told alone."""

from __future__ import annotations

import multiprocessing
from threading import get_ident

import numpy as np
import pytest

from sbka_milvus.clusters.cores import shared


@pytest.fixture
def two_cores():
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    yield
    faiss.omp_set_num_threads(before)


@pytest.mark.parametrize(
    "rows", [[1], [1, 1, 1], [100_000], [100_000, 1], [1, 100_000], [0, 0, 50_000, 0, 50_000, 0], [20_000] * 7]
)
def test_all_is_done_once_and_in_order(two_cores, rows):
    parts = shared(lambda part: list(range(len(rows)))[part], np.array(rows))
    assert [one for part in parts for one in part] == list(range(len(rows)))
    assert all(parts)


def test_nothing_is_no_work():
    assert shared(lambda part: part, np.empty(0, np.int64)) == []


def test_much_is_shared_by_threads_that_have_a_core_each(two_cores):
    import faiss

    done = shared(lambda part: (get_ident(), faiss.omp_get_max_threads()), np.full(4, 50_000))
    assert len({thread for thread, _ in done}) == len(done) == 2
    assert [cores for _, cores in done] == [1, 1]
    assert faiss.omp_get_max_threads() == 2
    assert len(shared(lambda part: part, np.full(4, 10))) == 1


def test_a_failure_is_told(two_cores):
    def fail(part: slice) -> None:
        raise ValueError(str(part.stop))

    with pytest.raises(ValueError, match="2"):
        shared(fail, np.full(4, 50_000))
    assert len(shared(lambda part: part, np.full(4, 50_000))) == 2


def _in_a_fork(queue) -> None:
    queue.put(len(shared(lambda part: part, np.full(4, 50_000))))


def test_a_forked_process_has_threads_of_its_own(two_cores):
    assert len(shared(lambda part: part, np.full(4, 50_000))) == 2
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_fork, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == 2
    child.join(60)
