"""What the shell shows: progress on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from sbka_milvus.progress import Advance

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def printable(text: object) -> str:
    """Text that any terminal takes: file names may hold bytes that are no characters."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def about_file(uri: str, reason: str) -> str:
    r"""Why a file could not be used, on one line; its name is said where the reason does not say it.

    >>> about_file("/a.png", "is a broken link"), about_file("/a.png", "/a.png is empty.")
    ('/a.png is a broken link', '/a.png is empty.')
    >>> about_file("/a\n.png", "is a broken link")
    '/a\\n.png is a broken link'
    """
    # A name may hold what moves the cursor, turns the writing around, or is no character at all.
    text = reason if uri in reason else f"{uri} {reason}"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def print_json(value: Any) -> None:
    """One JSON document on standard output, for scripts."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric_from: int = 1,
    numeric: Sequence[int] | None = None,
    no_wrap: int = 0,
) -> None:
    """A table on standard output.

    Args:
        title: above it.
        header: names of the columns.
        rows: their cells.
        numeric_from: columns from this one on are set flush right.
        numeric: instead, the columns that are.
        no_wrap: how many of the first columns are never broken, such as ids that people copy.
    """
    table = Table(title=title or None, title_justify="left", title_style="bold")
    for position, name in enumerate(header):
        flush_right = position >= numeric_from if numeric is None else position in numeric
        table.add_column(name, justify="right" if flush_right else "left", overflow="fold", no_wrap=position < no_wrap)
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    out.print(table)


_DRAWN_EVERY_S = 0.05
"""Seconds: twice as often as a bar is shown."""


class _Speed(ProgressColumn):
    """Steps a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.3g}/s", style="progress.data.speed")


class ConsoleProgress:
    """A :class:`~sbka_milvus.progress.Progress`: live bars on a terminal, one line a stage in a log."""

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        """Shows a stage while the block runs."""
        start = drawn = time.perf_counter()
        count, said, live = 0, "", err.is_terminal
        columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
        columns += [TextColumn(unit), _Speed(), TimeElapsedColumn(), TimeRemainingColumn()]
        columns += [TextColumn("{task.fields[note]}")]
        with Bar(*columns, console=err, transient=True, disable=not live) as bar:
            task = bar.add_task(name, total=total, note="")

            def advance(steps: int = 1, note: str = "") -> None:
                nonlocal count, said, drawn
                count, said = count + steps, note or said
                # Some steps take a microsecond, and to draw one takes several.
                if live and (now := time.perf_counter()) - drawn >= _DRAWN_EVERY_S:
                    drawn = now
                    bar.update(task, completed=count, note=said)

            yield advance
        amount = f" {count}{'' if total is None else f'/{total}'} {unit}".rstrip() if count else ""
        err.print(f"[green]done[/green] {name}:{amount} in {time.perf_counter() - start:.1f} s", highlight=False)

    def say(self, message: str) -> None:
        """One line that the user should see now."""
        err.print(f"[yellow]note[/yellow] {printable(message)}", highlight=False)
