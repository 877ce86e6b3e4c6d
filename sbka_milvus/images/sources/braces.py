"""Braces in sources, as a shell and WebDataset have them: ``{000..012}`` counts, ``{cats,dogs}`` lists."""

from __future__ import annotations

import re

from sbka_milvus.errors import SourceError

MAX_EXPANDED = 100_000
"""The most sources that one pattern of braces may stand for."""

_BRACES = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<listed>[^{}]*,[^{}]*))\}")


def has_braces(text: str) -> bool:
    """Whether a source has braces that stand for several.

    >>> has_braces("shard-{000..012}.tar"), has_braces("{a,b}"), has_braces("{a}")
    (True, True, False)
    """
    return _BRACES.search(text) is not None


def expand_braces(text: str) -> list[str]:
    """The sources that a pattern of braces stands for, in its order; of several braces the first turns slowest.

    Raises:
        SourceError: There are more than :data:`MAX_EXPANDED`.

    >>> expand_braces("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    results = [""]
    end = 0
    for found in _BRACES.finditer(text):
        choices = _choices(found, text)
        _require_few(len(results) * len(choices), text)
        between = text[end : found.start()]
        results = [f"{before}{between}{choice}" for before in results for choice in choices]
        end = found.end()
    return [before + text[end:] for before in results]


def _choices(found: re.Match[str], text: str) -> list[str]:
    if found["listed"] is not None:
        return found["listed"].split(",")
    first, last = int(found["first"]), int(found["last"])
    _require_few(abs(last - first) + 1, text)
    # As a shell does: where one end is written with leading zeros, all numbers are as long as the longer end.
    padded = any(end.startswith("0") and len(end) > 1 for end in (found["first"], found["last"]))
    width = max(len(found["first"]), len(found["last"])) if padded else 0
    step = 1 if last >= first else -1
    return [f"{number:0{width}d}" for number in range(first, last + step, step)]


def _require_few(count: int, text: str) -> None:
    if count > MAX_EXPANDED:
        raise SourceError(
            f"{text} stands for {count:,} sources or more, and at most {MAX_EXPANDED:,} are taken.",
            "Check the numbers, or name a folder.",
        )
