"""Searching from asyncio, around a search that does as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from sbka_milvus import AsyncSketchSearch
from sbka_milvus.api import SketchSearch
from sbka_milvus.async_api import MOST_TOGETHER
from sbka_milvus.errors import FilterError, GalleryError, ImageError, InvalidValue, StoreError, StoreUnavailable

PATIENCE_S = 30.0


class Slow:
    """Stands in for a SketchSearch: answers with what it was asked, once its gate is open."""

    def __init__(self, *, open_gate: bool = True) -> None:
        self.gate = threading.Event()
        if open_gate:
            self.gate.set()
        self.calls: list[list[Any]] = []
        self.now = self.most_at_once = 0
        self.closed = 0
        self._lock = threading.Lock()

    def __call__(self, sketch: Any, k: int | None = None, **options: Any) -> Any:
        many = isinstance(sketch, list)
        found = self.search_normalised([self.normalise(one) for one in (sketch if many else [sketch])], k, **options)
        return found if many else found[0]

    def normalise(self, sketch: Any) -> Any:
        if sketch == "blank":
            raise ImageError("blank has no ink on it.")
        return sketch

    def search_normalised(self, sketches: list[Any], k: int | None = None, **options: Any) -> list[Any]:
        with self._lock:
            self.calls.append(list(sketches))
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        try:
            if not self.gate.wait(PATIENCE_S):
                raise AssertionError("nobody opened the gate")
            if "down" in sketches:
                raise StoreUnavailable("Milvus cannot be reached.")
            if "odd" in sketches:
                raise InvalidValue("odd has no direction.")
            if options.get("where") == "?":
                raise FilterError("The filter cannot be read.")
            assert not self.closed, "closed under a search"
            return [(sketch, k, options) for sketch in sketches]
        finally:
            with self._lock:
                self.now -= 1

    def feedback(self, sketch: Any, accepted: Any = (), rejected: Any = (), **options: Any) -> Any:
        return [sketch, accepted, rejected, options]

    def close(self) -> None:
        self.closed += 1


def around(slow: Slow, concurrency: int = 2) -> AsyncSketchSearch:
    return AsyncSketchSearch(cast(SketchSearch, slow), concurrency=concurrency)


def run(story: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await story

    return asyncio.run(bounded())


async def begun(slow: Slow, calls: int) -> None:
    while len(slow.calls) < calls:
        await asyncio.sleep(0)


def test_the_event_loop_goes_on_during_a_search() -> None:
    async def story() -> Any:
        slow = Slow(open_gate=False)

        async def ticker() -> None:
            await begun(slow, 1)
            for _ in range(100):
                await asyncio.sleep(0)
            slow.gate.set()  # only a loop that goes on while the search is under way gets here

        async with around(slow) as search:
            answer, _ = await asyncio.gather(search("cat", k=3, n_probe=5, where="year > 2020"), ticker())
        return answer

    assert run(story()) == ("cat", 3, {"n_probe": 5, "where": "year > 2020"})


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_no_more_searches_run_at_once_than_was_said(concurrency: int) -> None:
    async def story() -> Slow:
        slow = Slow(open_gate=False)
        async with around(slow, concurrency) as search:
            # Of different k, so that no two of them are one batch.
            asked = asyncio.gather(*(search("cat", k=k) for k in range(1, 9)))
            await begun(slow, concurrency)
            slow.gate.set()
            assert [answer[1] for answer in await asked] == list(range(1, 9))
        return slow

    slow = run(story())
    assert slow.most_at_once == concurrency
    assert len(slow.calls) == 8


def test_searches_that_wait_for_the_same_are_one_batch() -> None:
    async def story() -> Slow:
        slow = Slow()
        async with around(slow, 1) as search:
            names = [f"cat {number}" for number in range(MOST_TOGETHER + 2)]
            answers = await asyncio.gather(*(search(name, k=2) for name in names))
            assert [answer[0] for answer in answers] == names, "each gets its own"
        return slow

    assert [len(call) for call in run(story()).calls] == [MOST_TOGETHER, 2]


def test_searches_for_other_things_and_lists_are_batches_of_their_own() -> None:
    async def story() -> tuple[Slow, list[Any]]:
        slow = Slow()
        async with around(slow, 1) as search:
            answers = await asyncio.gather(
                search("a", k=1),
                search("b", k=2),
                search(["c", "d"], k=1),
                search("e", k=1, n_probe=3),
                search("f", k=1),
            )
        return slow, answers

    slow, answers = run(story())
    assert slow.calls == [["a", "f"], ["b"], ["c", "d"], ["e"]]
    assert answers == [
        ("a", 1, {}), ("b", 2, {}), [("c", 1, {}), ("d", 1, {})], ("e", 1, {"n_probe": 3}), ("f", 1, {}),
    ]  # fmt: skip


class Touchy:
    """An object of a user, such as a re-ranker that holds arrays: it cannot say whether it equals another one."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("The truth value of an array is ambiguous.")

    __hash__ = None  # type: ignore[assignment]


def test_objects_of_users_are_not_asked_whether_they_are_equal() -> None:
    async def story() -> Any:
        slow = Slow(open_gate=False)
        search = around(slow, concurrency=1)
        mine, other = Touchy(), Touchy()
        first = asyncio.create_task(search("first"))
        await begun(slow, 1)
        rest = [
            asyncio.create_task(search(name, reranker=one)) for name, one in (("a", mine), ("b", other), ("c", mine))
        ]
        await asyncio.sleep(0)
        slow.gate.set()
        found = await asyncio.gather(first, *rest)
        await search.close()
        return [one[0] for one in found], slow.calls

    names, calls = run(story())
    assert names == ["first", "a", "b", "c"]
    assert calls == [["first"], ["a", "c"], ["b"]]


def test_in_a_batch_everybody_gets_his_own_error() -> None:
    async def story() -> tuple[Slow, list[Any]]:
        slow = Slow()
        async with around(slow, 1) as search:
            asked = (search(name) for name in ("cat", "blank", "odd", "dog"))
            return slow, await asyncio.gather(*asked, return_exceptions=True)

    slow, (cat, blank, odd, dog) = run(story())
    assert (cat[0], dog[0]) == ("cat", "dog")
    assert (type(blank), type(odd)) == (ImageError, InvalidValue)
    assert slow.calls[0] == ["cat", "odd", "dog"]


def test_a_batch_asks_a_milvus_that_is_away_once() -> None:
    async def story() -> tuple[Slow, list[Any]]:
        slow = Slow()
        async with around(slow, 1) as search:
            asked = (search(name) for name in ("cat", "down", "blank"))
            return slow, await asyncio.gather(*asked, return_exceptions=True)

    slow, answers = run(story())
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert len(slow.calls) == 1


def test_errors_are_those_of_the_search() -> None:
    async def story() -> None:
        async with around(Slow()) as search:
            with pytest.raises(FilterError, match="cannot be read"):
                await search("cat", where="?")
            with pytest.raises(ImageError, match="no ink"):
                await search("blank")
            assert (await search("cat"))[0] == "cat", "it goes on after both"

    run(story())


def test_a_search_that_is_cancelled_before_its_turn_is_never_made() -> None:
    async def story() -> Slow:
        slow = Slow(open_gate=False)
        async with around(slow, 1) as search:
            first = asyncio.ensure_future(search("first", k=1))
            await begun(slow, 1)
            second, third = (asyncio.ensure_future(search(name, k=2)) for name in ("second", "third"))
            await asyncio.sleep(0)
            second.cancel()
            slow.gate.set()
            assert (await first)[0] == "first"
            assert (await third)[0] == "third"
            assert second.cancelled()
        return slow

    assert run(story()).calls == [["first"], ["third"]]


def test_a_search_that_is_cancelled_on_its_way_takes_nobody_along() -> None:
    async def story() -> Slow:
        slow = Slow(open_gate=False)
        async with around(slow, 1) as search:
            asked = [asyncio.ensure_future(search(name)) for name in ("cat", "dog")]
            await begun(slow, 1)
            asked[0].cancel()
            slow.gate.set()
            assert (await asked[1])[0] == "dog"
            assert asked[0].cancelled()
            assert (await search("owl"))[0] == "owl", "and its thread is free again"
        return slow

    assert run(story()).calls == [["cat", "dog"], ["owl"]]


def test_a_timeout_leaves_the_search_usable() -> None:
    async def story() -> Any:
        slow = Slow(open_gate=False)
        async with around(slow, 1) as search:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await search("cat")
            slow.gate.set()
            return await search("dog")

    assert run(story())[0] == "dog"


def test_closing_waits_for_what_has_begun_and_refuses_the_rest() -> None:
    async def story() -> Slow:
        slow = Slow(open_gate=False)
        search = around(slow, 1)
        first = asyncio.ensure_future(search("first", k=1))
        await begun(slow, 1)
        second = asyncio.ensure_future(search("second", k=2))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(search.close())
        with pytest.raises(StoreError, match="closed"):
            await second
        assert not slow.closed
        slow.gate.set()
        await closing
        assert (await first)[0] == "first"
        with pytest.raises(StoreError, match="closed"):
            await search("third")
        await search.close()  # twice is allowed
        return slow

    slow = run(story())
    assert slow.closed == 2
    assert slow.calls == [["first"]]


def test_a_close_that_is_cancelled_closes_all_the_same() -> None:
    async def story() -> Slow:
        slow = Slow(open_gate=False)
        search = around(slow, 1)
        asked = asyncio.ensure_future(search("cat"))
        await begun(slow, 1)
        closing = asyncio.ensure_future(search.close())
        await asyncio.sleep(0)
        closing.cancel()
        slow.gate.set()
        await asked
        while not slow.closed:
            await asyncio.sleep(0)
        return slow

    assert run(story()).closed == 1


def test_the_rest_of_the_interface_runs_in_threads_too() -> None:
    async def story() -> tuple[Any, Any]:
        async with around(Slow()) as search:
            return await search.normalise("cat"), await search.feedback("cat", ["1.jpg"], category="cats")

    assert run(story()) == ("cat", ["cat", ["1.jpg"], (), {"category": "cats"}])


def test_what_cannot_be_opened_is_told_by_the_same_errors(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(GalleryError, match="gallery"):
            await AsyncSketchSearch.open(tmp_path / "nothing")

    run(story())


@pytest.mark.parametrize("concurrency", [0, -1])
def test_no_thread_at_all_is_refused(concurrency: int) -> None:
    with pytest.raises(InvalidValue, match="concurrency"):
        around(Slow(), concurrency)
