"""``sbka quarantine list``, ``sbka quarantine retry`` and ``sbka quarantine export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

EXIT_QUARANTINED = 3

app = typer.Typer(help="See which files could not be used and why, and try them again.", no_args_is_help=True)

LIST_EPILOG = """\
[bold]Examples[/bold]

sbka quarantine list gallery/

sbka quarantine list gallery/ --reason 'cut short'

sbka quarantine list gallery/ --json
"""
RETRY_EPILOG = """\
[bold]Examples[/bold]

sbka quarantine retry gallery/

SBKA_INGEST__DECODE_SECONDS=120 sbka quarantine retry gallery/ --reason DECODE_SECONDS     (with a higher limit)
"""
EXPORT_EPILOG = """\
[bold]Examples[/bold]

sbka quarantine export gallery/ bad.csv

sbka quarantine export gallery/ bad.jsonl --reason 'SBKA_INGEST__MAX_PIXELS'

sbka quarantine export gallery/ - | cut -d, -f1     (CSV on standard output)
"""

_Folder = Annotated[Path, typer.Argument(help="The gallery's folder.", show_default=False)]
_Reason = Annotated[str, typer.Option(help="Only files whose reason has this in it.", show_default=False)]


@app.command("list", epilog=LIST_EPILOG)
def list_(
    gallery: _Folder,
    reason: _Reason = "",
    most: Annotated[int, typer.Option(min=0, help="Files to name; 0: all of them.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print all files as JSON.")] = False,
) -> None:
    """List the files that could not be used, and how many there are of each reason."""
    from dataclasses import asdict

    from sbka_milvus.cli.console import about_file, out, print_json, print_table
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.pipelines.quarantine import count_kinds, quarantined_files

    files = quarantined_files(Gallery.open(gallery), reason)
    kinds = count_kinds(files)
    if as_json:
        print_json({"count": len(files), "reasons": kinds, "files": [asdict(file) for file in files]})
        return
    if not files:
        out.print("No file is in quarantine." if not reason else "No file is in quarantine for such a reason.")
        return
    print_table("", ("files", "reason"), ((count, kind) for kind, count in kinds.items()), numeric=(0,))
    shown = files[:most] if most else files
    for file in shown:
        out.print(about_file(file.uri, file.reason), highlight=False, markup=False)
    if len(files) > len(shown):
        out.print(f"... and {len(files) - len(shown)} more: --most 0 names all of them.", highlight=False)


@app.command("retry", epilog=RETRY_EPILOG)
def retry(
    gallery: _Folder,
    reason: _Reason = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look at the files again, take in those that can be used now; exits with 3 where some still cannot."""
    from dataclasses import asdict

    from sbka_milvus.cli.console import ConsoleProgress, about_file, err, out, print_json, printable
    from sbka_milvus.factory import retry_quarantine
    from sbka_milvus.settings import load_settings

    report = retry_quarantine(gallery, load_settings(), ConsoleProgress(), reason=reason)
    if as_json:
        print_json(asdict(report))
    else:
        shown = 10
        for file in report.remaining[:shown]:
            err.print(about_file(file.uri, file.reason), highlight=False, markup=False)
        if len(report.remaining) > shown:
            more = len(report.remaining) - shown
            err.print(f"... and {more} more: sbka quarantine list {printable(gallery)}", highlight=False, markup=False)
        out.print(
            f"{report.tried} files tried: {report.embedded} photos embedded, {report.gone} are there no more, "
            f"{len(report.remaining)} still cannot be used.",
            highlight=False,
        )
    if report.remaining:
        raise typer.Exit(EXIT_QUARANTINED)


@app.command("export", epilog=EXPORT_EPILOG)
def export(
    gallery: _Folder,
    file: Annotated[
        Path, typer.Argument(help="A .csv or .jsonl file; - is standard output, as CSV.", show_default=False)
    ],
    reason: _Reason = "",
) -> None:
    """Write the list as a table: uri, reason, kind of reason, size and time of change of the file as it is now."""
    from sbka_milvus.cli.console import err, printable
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.pipelines.quarantine import export_quarantine, quarantined_files, write_export

    files = quarantined_files(Gallery.open(gallery), reason)
    if str(file) == "-":
        # As bytes: names of files may be no text.
        sys.stdout.flush()
        sys.stdout.buffer.write(export_quarantine(files, ".csv"))
        sys.stdout.buffer.flush()
        return
    write_export(files, file)
    err.print(f"{len(files)} files listed in {printable(file)}.", highlight=False, markup=False)
