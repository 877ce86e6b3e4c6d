"""The Typer application and its entry point."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

import typer

from sbka_milvus.cli.commands import CommandsOnDemand

EXIT_ERROR = 1
EXIT_SIGNAL = 128
"""Added to the number of the signal that stopped the program, as shells do: 130 for Ctrl-C, 143 for SIGTERM."""


class _Interrupted(Exception):
    """Ctrl-C, in a form that Typer does not turn into its own "Aborted"."""


class _Group(CommandsOnDemand):
    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise _Interrupted from stop


app = typer.Typer(
    name="sbka",
    cls=_Group,
    help="Draw a sketch, find the photos: zero-shot sketch-to-photo search for Milvus.",
    epilog="Exit codes: 0 done, 1 an error that names its remedy, 2 wrong usage, "
    "3 done but files are quarantined (with --strict, and by quarantine retry), "
    "4 no good match (with --fail-on-no-match), 5 something is wrong (verify), 130 interrupted, 143 ended by SIGTERM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from sbka_milvus import __version__

        typer.echo(f"sbka {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error; anywhere on the line."),
) -> None:
    """Options that come before the command."""


def main() -> None:
    """Runs ``sbka``; every failure that a user can mend is one line with its remedy."""
    from sbka_milvus.errors import SbkaError

    # Arrow's own allocator keeps what it has freed: about a fifth of the memory of a large embedded Milvus.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # Lists of a hundred thousand photos are no garbage: looking for it after every 700 objects takes a tenth of the
    # time that making them takes.
    gc.set_threshold(10_000)
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="sbka")
    except SbkaError as error:
        if debug:
            raise
        from sbka_milvus.cli.console import err, printable

        err.print(f"[bold red]Error:[/bold red] {_escape(printable(error))}", highlight=False)
        sys.exit(EXIT_ERROR)
    except (KeyboardInterrupt, _Interrupted) as stop:
        from sbka_milvus.cli.console import err

        asked = stop.__cause__ or stop
        done, number = getattr(asked, "done", ""), getattr(asked, "number", signal.SIGINT)
        err.print(
            f"\nStopped{f': {done}' if done else ''}; nothing is half-written. To go on, run the same command again: "
            "`sbka ingest` and `sbka train` keep what is done.",
            highlight=False,
        )
        sys.exit(EXIT_SIGNAL + number)
    except BrokenPipeError:
        # The reader of a pipe, such as head, went away: nothing is wrong.
        sys.stderr.close()
        sys.exit(0)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
