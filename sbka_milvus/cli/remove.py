"""``sbka remove``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sbka_milvus.pipelines.remove import Removal, RemoveReport

EPILOG = """\
[bold]Examples[/bold]

sbka remove /photos/cats/1.jpg --gallery gallery/

sbka remove photos/private/ 'photos/**/draft-*.png' --gallery gallery/ --dry-run

sbka remove 'shard.tar!/cats/0001.jpg' https://example.org/cat.jpg s3://bucket/old/ --gallery gallery/ --yes

Files are left alone. A photo that is still in its source comes back when that is ingested again.
"""
EXIT_DECLINED = 1
_SHOWN = 20


def remove(
    photos: Annotated[
        list[str],
        typer.Argument(
            help="URIs as hits have them, paths, folders, archives, beginnings of addresses, patterns.",
            show_default=False,
        ),
    ],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was removed as JSON.")] = False,
) -> None:
    """Take photos out of a gallery; the files themselves are left alone."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.factory import index_options, open_gallery
    from sbka_milvus.pipelines.remove import find_removal, remove_from_gallery
    from sbka_milvus.settings import load_settings

    settings = load_settings()
    with open_gallery(gallery, settings) as (opened, store):
        removal = find_removal(opened, photos)
        if dry_run:
            _show_plan(removal, as_json=as_json)
            return
        if removal.uris and not yes:
            _ask(removal)
        report = remove_from_gallery(opened, store, removal, index_options(settings), ConsoleProgress())
    _show(report, as_json=as_json)


def _ask(removal: Removal) -> None:
    from sbka_milvus.cli.console import err, printable
    from sbka_milvus.errors import SettingsError

    if not sys.stdin.isatty():
        raise SettingsError(
            f"{len(removal.uris)} of {removal.held} photos would be removed, and nobody can be asked.",
            "Say --yes, or look first with --dry-run.",
        )
    for uri in removal.uris[:_SHOWN]:
        err.print(printable(uri), highlight=False, markup=False)
    if len(removal.uris) > _SHOWN:
        err.print(f"... and {len(removal.uris) - _SHOWN} more", highlight=False)
    if not typer.confirm(f"Remove {len(removal.uris)} of {removal.held} photos from the gallery?", err=True):
        err.print("Nothing was removed.")
        raise typer.Exit(EXIT_DECLINED)


def _show_plan(removal: Removal, *, as_json: bool) -> None:
    from sbka_milvus.cli.console import out, print_json, printable

    if as_json:
        print_json(
            {
                "dry_run": True,
                "would_remove": [printable(uri) for uri in removal.uris],
                "removed_before": [printable(uri) for uri in removal.removed_before],
                "left": removal.held - len(removal.uris),
            }
        )
        return
    for uri in removal.uris:
        out.print(printable(uri), highlight=False, markup=False)
    out.print(f"{len(removal.uris)} of {removal.held} photos would be removed.", highlight=False)


def _show(report: RemoveReport, *, as_json: bool) -> None:
    from dataclasses import asdict

    from sbka_milvus.cli.console import out, print_json, printable

    if as_json:
        print_json(
            {
                "dry_run": False,
                "removed": [printable(uri) for uri in report.removed],
                "removed_before": [printable(uri) for uri in report.removed_before],
                "index": asdict(report.index),
            }
        )
        return
    before = f" ({len(report.removed_before)} had been removed before)" if report.removed_before else ""
    out.print(
        f"{len(report.removed)} photos removed{before}. Serving version {report.index.version}: "
        f"{report.index.photos} photos.",
        highlight=False,
    )
