"""``sbka worker`` and ``sbka beat``."""

from __future__ import annotations

import os
import socket
from typing import Annotated, Literal

import typer

WORKER_EPILOG = """\
[bold]Examples[/bold]

sbka worker --queues embed

sbka worker --queues embed,index --name second --threads 4 --metrics-port 9100
"""

BEAT_EPILOG = """\
[bold]Examples[/bold]

sbka beat
"""


def worker(
    queues: Annotated[str, typer.Option(help="What it works on: some of train,embed,index,control.")],
    name: Annotated[str, typer.Option(help="What to call it; by default after its queues and this host.")] = "",
    pool: Annotated[
        Literal["auto", "prefork", "solo"],
        typer.Option(help="prefork: tasks in a child process; solo: in this one; auto: solo on CUDA."),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=0, help="Threads of its networks; 0: all cores.")] = None,
    metrics_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of its metrics; 0: none.")] = None,
) -> None:
    """Work on background jobs until stopped: Ctrl-C finishes the task in hand."""
    if threads is not None:
        os.environ["SBKA_WORKER__THREADS"] = str(threads)

    from sbka_milvus.settings import load_settings
    from workers.app import configure
    from workers.broker import broker_url
    from workers.pools import choose_pool
    from workers.serving import WorkerOptions, require_queues, run_worker, set_threads

    settings = load_settings()
    set_threads(settings.worker.threads)
    wanted = require_queues(queues)
    options = WorkerOptions(
        wanted,
        name or "-".join([*wanted, socket.gethostname()]),
        choose_pool(pool, settings.device, wanted),
        settings.worker.metrics_port if metrics_port is None else metrics_port,
    )
    raise typer.Exit(run_worker(configure(settings, broker_url(settings)), settings, options))


def beat() -> None:
    """Queue what is missing of background jobs, again and again; one for a workspace is enough."""
    from sbka_milvus.settings import load_settings
    from workers.app import configure
    from workers.broker import broker_url
    from workers.serving import run_beat

    settings = load_settings()
    run_beat(configure(settings, broker_url(settings)), settings)
