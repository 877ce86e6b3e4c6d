"""``AsyncSketchSearch``: what a user of asyncio opens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sbka_milvus.api import SketchSearch, is_many
from sbka_milvus.errors import InvalidValue, StoreError, StoreUnavailable
from sbka_milvus.settings import Settings, load_settings

if TYPE_CHECKING:
    from PIL import Image

    from sbka_milvus.feedback import FeedbackPair

MOST_TOGETHER = 8
"""Sketches that are encoded as one batch at most: the first of them waits for the last."""

_T = TypeVar("_T")


@dataclass(eq=False, slots=True)
class _Asked:
    """A search that was asked for, and where its answer goes."""

    sketch: Any
    k: int | None
    options: dict[str, Any]
    answer: asyncio.Future[Any]

    def goes_with(self, other: _Asked) -> bool:
        """Whether both can be one batch. A list of sketches is one by itself."""
        single = not is_many(self.sketch) and not is_many(other.sketch)
        alike = self.options.keys() == other.options.keys() and all(
            _same(value, other.options[name]) for name, value in self.options.items()
        )
        return single and self.k == other.k and alike


class AsyncSketchSearch:
    """As :class:`~sbka_milvus.api.SketchSearch`, for asyncio: the event loop goes on while a search runs in a thread.

    A bounded number of threads search; more searches wait for their turn. Those that wait and ask for the same are
    encoded as one batch. A search that is cancelled before its turn is left out; one that has begun is finished, and
    nobody gets its answer. To be used from one event loop.

    >>> async def cats():  # doctest: +SKIP
    ...     async with await AsyncSketchSearch.open("gallery/") as search:
    ...         return [hit.uri for hit in await search("cat.png", k=10)]
    """

    def __init__(self, search: SketchSearch, *, concurrency: int | None = None) -> None:
        """Around a search that is open already; users call :meth:`open`.

        Args:
            search: is closed with this one.
            concurrency: threads that search; by default ``SBKA_SEARCH__CONCURRENCY``.

        Raises:
            InvalidValue: ``concurrency`` is below 1.
        """
        self.concurrency = load_settings().search.concurrency if concurrency is None else concurrency
        if self.concurrency < 1:
            raise InvalidValue(f"concurrency is {self.concurrency}; at least one thread must search.")
        self.sync = search
        self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="sbka-search")
        self._waiting: deque[_Asked] = deque()
        self._running = 0
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: str | Path | None = None,
        *,
        concurrency: int | None = None,
        prepare: bool = True,
        settings: Settings | None = None,
        **parts: Any,
    ) -> AsyncSketchSearch:
        """Opens a gallery for searching.

        Args:
            path: a gallery folder.
            concurrency: threads that search; by default ``SBKA_SEARCH__CONCURRENCY``.
            prepare: find the fastest way to encode single sketches now, in some seconds, and not after some searches.
            settings: by default those of the environment.
            parts: ``uri``, ``gallery`` and ``model``: see :meth:`SketchSearch.open`, which also tells what is raised.

        Raises:
            InvalidValue: ``concurrency`` is below 1.
        """
        settings = settings or load_settings()
        threads = settings.search.concurrency if concurrency is None else concurrency

        def work() -> SketchSearch:
            search = SketchSearch.open(path, settings=settings, **parts)
            if prepare:
                search.prepare()
            return search

        search = await _in_thread(work, undo=SketchSearch.close)
        try:
            return cls(search, concurrency=threads)
        except BaseException:
            search.close()
            raise

    async def __call__(self, sketch: Any, k: int | None = None, **options: Any) -> Any:
        """The photos most like a sketch.

        Args:
            sketch: a path, the bytes of a file, a PIL image, an array or strokes; or a list of such.
            k: hits for each sketch; by default ``SBKA_SEARCH__K``.
            options: see calling a :class:`SketchSearch`, which also tells what is returned and raised.

        Raises:
            StoreError: The search was closed.
        """
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        asked = _Asked(sketch, k, options, loop.create_future())
        self._waiting.append(asked)
        # Not at once: what else is asked for in this turn of the loop comes along.
        loop.call_soon(self._start)
        return await asked.answer

    async def normalise(self, sketch: Any) -> Image.Image:
        """See :meth:`SketchSearch.normalise`."""
        return await _in_thread(partial(self.sync.normalise, sketch))

    async def feedback(
        self, sketch: Any, accepted: Sequence[str | Path] = (), rejected: Sequence[str | Path] = (), **options: Any
    ) -> list[FeedbackPair]:
        """See :meth:`SketchSearch.feedback`. Once it has begun it is kept, cancelled or not."""
        return await _in_thread(partial(self.sync.feedback, sketch, accepted, rejected, **options))

    async def close(self) -> None:
        """Gives Milvus back when the searches that have begun are done; those that wait for their turn are refused."""
        self._closed = True
        while self._waiting:
            asked = self._waiting.popleft()
            if not asked.answer.done():
                asked.answer.set_exception(_closed())
        await _in_thread(self._finish)

    async def __aenter__(self) -> AsyncSketchSearch:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _finish(self) -> None:
        self._threads.shutdown()
        self.sync.close()

    def _start(self) -> None:
        """Has idle threads take what waits."""
        while self._running < self.concurrency and (batch := self._next()):
            self._running += 1
            future = asyncio.get_running_loop().run_in_executor(self._threads, self._answer, batch)
            future.add_done_callback(partial(self._tell, batch))

    def _next(self) -> list[_Asked]:
        """The search that has waited longest, and those that go with it."""
        waiting = [asked for asked in self._waiting if not asked.answer.done()]
        batch = [asked for asked in waiting if asked is waiting[0] or asked.goes_with(waiting[0])][:MOST_TOGETHER]
        self._waiting = deque(asked for asked in waiting if asked not in batch)
        return batch

    def _tell(self, batch: list[_Asked], future: asyncio.Future[list[Any]]) -> None:
        self._running -= 1
        for asked, outcome in zip(batch, future.result(), strict=True):
            if asked.answer.done():
                continue
            if isinstance(outcome, BaseException):
                asked.answer.set_exception(outcome)
            else:
                asked.answer.set_result(outcome)
        self._start()

    def _answer(self, batch: list[_Asked]) -> list[Any]:
        """For each search its result or what it raised; runs in a thread."""
        if len(batch) == 1:
            return [self._alone(batch[0])]
        drawn = [_outcome(partial(self.sync.normalise, asked.sketch)) for asked in batch]
        usable = [one for one in drawn if not isinstance(one, BaseException)]
        first = batch[0]
        found = _outcome(partial(self.sync.search_normalised, usable, first.k, **first.options)) if usable else []
        if isinstance(found, BaseException):
            # Who is to blame is not known, but that nobody can be answered now concerns them all.
            shared = isinstance(found, StoreUnavailable)
            return [found if shared else self._alone(asked) for asked in batch]
        results = iter(found)
        return [one if isinstance(one, BaseException) else next(results) for one in drawn]

    def _alone(self, asked: _Asked) -> Any:
        return _outcome(partial(self.sync, asked.sketch, asked.k, **asked.options))


def _same(one: Any, other: Any) -> bool:
    """Whether two options are the same. Objects of users are not asked: theirs may be anything, arrays among them."""
    plain = isinstance(one, (str, int, float)) and type(one) is type(other)
    return one is other or (plain and bool(one == other))


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        return error


def _closed() -> StoreError:
    return StoreError("The search was closed.", "Open the gallery again.")


async def _in_thread(work: Callable[[], _T], undo: Callable[[_T], None] | None = None) -> _T:
    """Runs ``work`` in a thread of its own. Where the caller is cancelled before it is done, ``undo`` follows it."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="sbka-once")
    future = thread.submit(work)
    thread.shutdown(wait=False)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if undo is not None:
            future.add_done_callback(partial(_undone, undo))
        raise


def _undone(undo: Callable[[_T], None], future: Future[_T]) -> None:
    if not future.cancelled() and future.exception() is None:
        undo(future.result())
