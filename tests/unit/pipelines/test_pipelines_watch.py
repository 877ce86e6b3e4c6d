"""Watching, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.errors import GalleryBusy, ImageError, InvalidValue, OutputError
from sbka_milvus.pipelines.watch import Seen, Watch, WatchOptions, look_at


class End(BaseException):
    """Ends a test as Ctrl-C ends a watch."""


class World:
    """What there is at each second, and what the watch did with it.

    Args:
        at: what is there from a second on; may raise.
        end: the second of Ctrl-C.
    """

    def __init__(self, at: dict[float, Any], end: float) -> None:
        self.now = 0.0
        self.at = at
        self.end = end
        self.taken: list[tuple[float, str]] = []
        self.said: list[str] = []
        self.fail: list[Exception] = []

    def look(self) -> Seen:
        state = self.at[max(second for second in self.at if second <= self.now)]
        if isinstance(state, Exception):
            raise state
        return frozenset((name, 1, 1, "") for name in state)

    def ingest(self) -> None:
        if self.fail:
            raise self.fail.pop(0)
        self.taken.append((self.now, "".join(sorted(name for name, *_ in self.look()))))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.end:
            raise End

    def watch(self) -> list[tuple[float, str]]:
        options = WatchOptions(every_s=10, settle_s=2)
        with pytest.raises(End):
            Watch(self.look, self.ingest, self.said.append, options, self.sleep).run()
        return self.taken


def test_what_is_there_is_taken_at_once_and_then_only_what_changes() -> None:
    assert World({0: "a"}, 100).watch() == [(0, "a")]
    assert World({0: "a", 25: "ab"}, 100).watch() == [(0, "a"), (32, "ab")]


def test_what_still_changes_is_waited_for() -> None:
    changing = {0: "a", 29: "ab", 31: "abc", 33: "abcd"}
    assert World(changing, 100).watch() == [(0, "a"), (36, "abcd")]


def test_what_never_comes_to_rest_is_taken_in_the_end() -> None:
    restless = {0.0: "a"} | {second: "a" + chr(200 + second) for second in range(9, 200)}
    taken = World(restless, 60).watch()
    assert [second for second, _ in taken] == [0, 50]


def test_an_empty_or_missing_source_is_waited_for_and_told_once() -> None:
    world = World({0: ImageError("/p does not exist.", "Check it."), 35: "", 55: "a"}, 100)
    assert world.watch() == [(62, "a")]
    assert world.said == ["/p does not exist. Check it. It is looked for again every 10 s."]


def test_a_source_that_is_unplugged_and_comes_back_is_not_taken_twice() -> None:
    world = World({0: "a", 15: ImageError("/p is gone."), 45: "a"}, 100)
    assert world.watch() == [(0, "a")]
    assert len(world.said) == 1


def test_what_is_busy_is_tried_again() -> None:
    world = World({0: "a"}, 100)
    world.fail = [GalleryBusy("It is being indexed."), GalleryBusy("It is being indexed.")]
    assert world.watch() == [(24, "a")]
    assert world.said[0] == "It is being indexed. It is tried again in 10 s."


def test_other_errors_end_the_watch() -> None:
    world = World({0: "a"}, 100)
    world.fail = [OutputError("The disk is full.")]
    with pytest.raises(OutputError):
        Watch(world.look, world.ingest, world.said.append, WatchOptions(), world.sleep).run()


@pytest.mark.parametrize("options", [{"every_s": 0}, {"settle_s": -1.0}, {"every_s": float("nan")}])
def test_times_must_be_above_zero(options: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match="above 0"):
        WatchOptions(**options)


def test_looking_notices_new_changed_and_other_metadata(tmp_path: Path, draw: Callable[..., Path]) -> None:
    draw(tmp_path / "1.png", 1)
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,year\n1.png,2020\n")
    seen = [look_at([manifest])]
    manifest.write_text("path,year\n1.png,2021\n")
    seen.append(look_at([manifest]))
    draw(tmp_path / "1.png", 2, (50, 50))
    seen.append(look_at([manifest]))
    assert len(set(seen)) == 3
    assert look_at([manifest]) == seen[-1]
    with pytest.raises(ImageError):
        look_at([tmp_path / "nowhere"])
