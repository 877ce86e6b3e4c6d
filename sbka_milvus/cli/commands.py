"""The commands of ``sbka``, each made when it is called: to make all of them takes Typer a fifth of the help's time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sbka_milvus.cli import (
    attach,
    cluster,
    demo,
    duplicates,
    evaluate,
    export,
    feedback,
    gallery,
    imports,
    ingest,
    jobs,
    model,
    quarantine,
    remove,
    retrain,
    search,
    sketches,
    status,
    train,
    up,
    upgrade,
    verify,
    worker,
)


@dataclass(frozen=True, slots=True)
class _One:
    """A command that is a function."""

    function: Callable[..., Any]
    epilog: str

    @property
    def help(self) -> str:
        return inspect.getdoc(self.function) or ""

    def add(self, app: typer.Typer, name: str) -> None:
        app.command(name, epilog=self.epilog)(self.function)


@dataclass(frozen=True, slots=True)
class _Several:
    """A command that has commands of its own."""

    app: typer.Typer

    @property
    def help(self) -> str:
        return str(self.app.info.help)

    def add(self, app: typer.Typer, name: str) -> None:
        app.add_typer(self.app, name=name)


COMMANDS: dict[str, _One | _Several] = {
    "train": _One(train.train, train.EPILOG),
    "sketches": _Several(sketches.app),
    "ingest": _One(ingest.ingest, ingest.EPILOG),
    "remove": _One(remove.remove, remove.EPILOG),
    "duplicates": _One(duplicates.duplicates, duplicates.EPILOG),
    "search": _One(search.search, search.EPILOG),
    "cluster": _One(cluster.cluster, cluster.EPILOG),
    "evaluate": _One(evaluate.evaluate, evaluate.EPILOG),
    "model": _Several(model.app),
    "gallery": _Several(gallery.app),
    "quarantine": _Several(quarantine.app),
    "status": _One(status.status, status.EPILOG),
    "verify": _One(verify.verify, verify.EPILOG),
    "export": _One(export.export, export.EPILOG),
    "import": _One(imports.import_, imports.EPILOG),
    "attach": _One(attach.attach, attach.EPILOG),
    "upgrade": _One(upgrade.upgrade, upgrade.EPILOG),
    "jobs": _Several(jobs.app),
    "feedback": _Several(feedback.app),
    "retrain": _Several(retrain.app),
    "up": _One(up.up, up.EPILOG),
    "worker": _One(worker.worker, worker.WORKER_EPILOG),
    "beat": _One(worker.beat, worker.BEAT_EPILOG),
    "demo": _One(demo.demo, demo.EPILOG),
}


class CommandsOnDemand(TyperGroup):
    """Knows of its commands what a list of them shows, until one is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=command.help) for name, command in COMMANDS.items()}
        self._is_listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or what a list shows of it; none where there is none of that name."""
        if self._is_listing or cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        return _made(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help, with a list of the commands."""
        self._is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_listing = False


def _made(name: str) -> Any:
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    # One that stands alone in an application would be the application, and not have its name.
    alone.callback()(lambda: None)
    COMMANDS[name].add(alone, name)
    group = typer.main.get_command(alone)
    assert isinstance(group, TyperGroup)
    return group.commands[name]
