"""``sbka up``."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

EPILOG = """\
[bold]Examples[/bold]

sbka up

sbka up --embed-workers 2 --metrics-port 9100

sbka up --no-train
"""

_TICK_S = 0.2
_SHOW_EVERY_S = 1.0


def up(
    embed_workers: Annotated[int, typer.Option(min=1, help="Workers that embed photos.")] = 1,
    no_train: Annotated[bool, typer.Option("--no-train", help="Without the worker that trains models.")] = False,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the metrics of all; 0: none.")
    ] = None,
) -> None:
    """Run everything that background jobs need on this machine: Redis, Milvus, workers. Ctrl-C ends it."""
    from sbka_milvus.cli.console import err, printable
    from sbka_milvus.cli.up_screen import Screen
    from sbka_milvus.settings import load_settings
    from workers.services.scene import SceneReader
    from workers.services.stack import Stack, UpOptions

    def tell(name: str, what: str) -> None:
        err.print(f"{time.strftime('%H:%M:%S')} {name} {printable(what)}", highlight=False, markup=False)

    settings = load_settings()
    port = settings.worker.metrics_port if metrics_port is None else metrics_port
    stack = Stack(settings, UpOptions(embed_workers, not no_train, port), tell)
    with _asked_to_stop() as asked:
        try:
            asked.interrupts = True
            state = stack.start()
            asked.interrupts = False
            tell("sbka up", f"ready in {stack.workspace}: Milvus {state.milvus}; Ctrl-C ends it")
            scenes = SceneReader(stack, settings)
            with Screen(err) as screen:
                while not asked.times:
                    stack.tick()
                    screen.show(scenes.read, every_s=_SHOW_EVERY_S)
                    time.sleep(_TICK_S)
        except KeyboardInterrupt:
            pass
        finally:
            asked.interrupts = False
            enough = max(asked.times, 1)
            stack.stop(lambda: asked.times > enough)
    tell("sbka up", "stopped; jobs go on when it is started again")


class _Asked:
    def __init__(self) -> None:
        self.times = 0
        self.interrupts = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.times += 1
        if self.interrupts:
            raise KeyboardInterrupt


@contextmanager
def _asked_to_stop() -> Iterator[_Asked]:
    # Only a flag while processes are ended: an exception there would leave some behind.
    asked = _Asked()
    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
