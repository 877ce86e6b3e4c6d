"""Watch: look at sources again and again, and take in what is new when it has come to rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.errors import ImageError, InvalidValue, SbkaError
from sbka_milvus.images import PhotoFile, source_photos

Seen = frozenset[tuple[str, int, int, str]]
"""What there is: URI, size, time and metadata of every photo."""

_LONGEST_SETTLING = 20


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How to watch.

    Attributes:
        every_s: seconds between two looks; looking is cheap in folders, and asks for every single photo at addresses.
        settle_s: seconds for which nothing may change before photos are taken: files that are still being copied
            would only come into quarantine, and be taken later. After 20 times as long what is there is taken
            all the same.
    """

    every_s: float = 10.0
    settle_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("every_s", "settle_s"):
            if not getattr(self, name) > 0:
                raise InvalidValue(f"{name} is {getattr(self, name)}; it must be above 0 seconds.")


class Watch:
    """Takes in sources whenever they have changed, until it is interrupted.

    Polling, not notices of the file system: those do not come from network drives, archives, manifests or addresses.

    Args:
        look: gives what there is now; an ImageError counts as nothing.
        ingest: takes it in. After an error that is worth retrying, it is called again at the next look.
        say: is told what happens.
        options: how often to look.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        look: Callable[[], Seen],
        ingest: Callable[[], None],
        say: Callable[[str], None],
        options: WatchOptions,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._look = look
        self._ingest = ingest
        self._say = say
        self._options = options
        self._sleep = sleep
        self._taken: Seen = frozenset()
        self._told = ""

    def run(self) -> None:
        """Watches until it is interrupted.

        Raises:
            SbkaError: Taking in failed in a way that no waiting mends.
        """
        self.turn(self._now())
        while True:
            self._sleep(self._options.every_s)
            now = self._now()
            if now != self._taken:
                self.turn(self._settled(now))

    def turn(self, now: Seen) -> None:
        """Takes in what is there, if there is anything new."""
        if not now or now == self._taken:
            return
        try:
            self._ingest()
        except SbkaError as error:
            if not error.retryable:
                raise
            self._tell(f"{error} It is tried again in {self._options.every_s:g} s.")
            return
        # As it was before: what has come meanwhile is seen at the next look.
        self._taken = now

    def _settled(self, now: Seen) -> Seen:
        for _ in range(_LONGEST_SETTLING):
            self._sleep(self._options.settle_s)
            later = self._now()
            if later == now:
                break
            now = later
        return now

    def _now(self) -> Seen:
        try:
            now = self._look()
        except ImageError as error:
            self._tell(f"{error} It is looked for again every {self._options.every_s:g} s.")
            return frozenset()
        self._told = ""
        return now

    def _tell(self, message: str) -> None:
        # Not the same at each look.
        if message != self._told:
            self._told = message
            self._say(message)


def look_at(sources: Sequence[str | Path]) -> Seen:
    """What there is in sources; problems are left to the ingest.

    Raises:
        ImageError: A source does not exist, matches nothing or cannot be read.
    """
    return frozenset(_seen(file) for file in source_photos(sources, lambda _uri, _problem: None))


def _seen(file: PhotoFile) -> tuple[str, int, int, str]:
    said = "" if file.metadata is None else repr(sorted(file.metadata.items()))
    return file.uri, file.size, file.mtime_ns, said
