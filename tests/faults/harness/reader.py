"""Somebody who searches all the time, and must never see a half version."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from harness.fleet import Fleet
from sbka_milvus import SketchSearch
from sbka_milvus.errors import StoreUnavailable

_PAUSE_S = 0.3
_RECOVERY_S = 15.0
"""After Milvus is back a connection may need some seconds until it tries again."""


class Reader:
    """Searches a gallery for everything that is in it, again and again, while the block runs.

    Args:
        fleet: whose Milvus, and when it is down.
        gallery: the folder.
        sketch: to search with.
        photos: what may be found.
    """

    def __init__(self, fleet: Fleet, gallery: Path, sketch: Path, photos: Path) -> None:
        self._fleet = fleet
        self._gallery = gallery
        self._sketch = sketch
        self._photos = photos
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")
        self.sizes: list[int] = []
        self.wrong: list[str] = []

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "a search hangs"

    def require_whole(self, *sizes: int) -> None:
        """Every answer held one of these numbers of photos: all of the old version, or all of the new one."""
        assert not self.wrong, self.wrong[:5]
        assert self.sizes and set(self.sizes) <= set(sizes), f"{sorted(set(self.sizes))} photos, not {sizes}"

    def _run(self) -> None:
        with SketchSearch.open(self._gallery, settings=self._fleet.settings) as search:
            while not self._stop.wait(_PAUSE_S):
                asked = time.monotonic()
                try:
                    hits = [hit.uri for hit in search(self._sketch, k=1000, n_probe=1000)]
                except StoreUnavailable as error:
                    if not self._was_down(asked):
                        self.wrong.append(f"Milvus is not there, and ought to be: {error}")
                    continue
                except Exception as error:  # whatever it is, a user would have seen it
                    self.wrong.append(f"{type(error).__name__}: {error}")
                    continue
                self.sizes.append(len(hits))
                if len(set(hits)) != len(hits) or not all(Path(uri).is_relative_to(self._photos) for uri in hits):
                    self.wrong.append(f"{len(hits)} hits, {len(set(hits))} of them different")

    def _was_down(self, asked: float) -> bool:
        now = time.monotonic()
        return any(since < now and asked < until + _RECOVERY_S for since, until in self._fleet.downtimes)
