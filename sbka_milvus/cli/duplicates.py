"""``sbka duplicates``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sbka_milvus.pipelines.duplicates import DuplicateGroup, DuplicatesReport

EPILOG = """\
[bold]Examples[/bold]

sbka duplicates --gallery gallery/

sbka duplicates --gallery gallery/ --threshold 0.98 --sheet duplicates.html

sbka duplicates --gallery gallery/ --exact --json

The first photo of a group is the one of most pixels. `sbka remove` takes photos out.
"""


def duplicates(
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least cosine of two near duplicates' vectors.")
    ] = 0.95,
    exact: Annotated[bool, typer.Option("--exact", help="Only photos that are equal, byte for byte.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Groups to show and to put on the sheet; --json has all.")] = 50,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet: .png, or .html for a page.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the groups as JSON.")] = False,
) -> None:
    """List photos of a gallery that are equal, or look all but equal to its model."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.cli.sheet_files import require_sheet_suffix
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.pipelines.duplicates import find_duplicates

    if sheet is not None:
        require_sheet_suffix(sheet)
    report = find_duplicates(Gallery.open(gallery), None if exact else threshold, ConsoleProgress())
    if as_json:
        _print(report)
    else:
        _show(report, limit)
    if sheet is not None and report.groups:
        _write_sheet(report.groups[:limit], sheet)


def _print(report: DuplicatesReport) -> None:
    from dataclasses import asdict

    from sbka_milvus.cli.console import print_json, printable

    content = asdict(report) | {"spare": report.spare}
    for group in content["groups"]:
        for photo in group["photos"]:
            photo["uri"] = printable(photo["uri"])
    print_json(content)


def _show(report: DuplicatesReport, limit: int) -> None:
    from sbka_milvus.cli.console import out, print_table
    from sbka_milvus.cli.search import shared_folder

    shown = report.groups[:limit]
    if shown:
        folder = shared_folder([photo.uri for group in shown for photo in group.photos])
        print_table(
            f"Photos in {folder}" if folder else "Photos",
            ("photo", "group", "kind", "cosine", "pixels", "bytes"),
            (
                (photo.uri[len(folder) :], number, group.kind, f"{photo.cosine:.3f}", _pixels(photo), f"{photo.size:,}")
                for number, group in enumerate(shown, start=1)
                for photo in group.photos
            ),
            numeric=(1, 3, 4, 5),
        )
    if len(report.groups) > len(shown):
        out.print(f"... and {len(report.groups) - len(shown)} more groups: see --limit and --json.", highlight=False)
    out.print(
        f"{report.photos} photos, {report.distinct} of them distinct: {len(report.groups)} groups; "
        f"{report.spare} photos could go if one of each stayed.",
        highlight=False,
    )


def _pixels(photo: object) -> str:
    from sbka_milvus.pipelines.duplicates import Duplicate

    assert isinstance(photo, Duplicate)
    return f"{photo.width} x {photo.height}"


def _write_sheet(groups: tuple[DuplicateGroup, ...], sheet: Path) -> None:
    from sbka_milvus.cli.console import ConsoleProgress, err, printable
    from sbka_milvus.pipelines.sheet import duplicates_row
    from sbka_milvus.sheets import write_html, write_png

    rows = []
    with ConsoleProgress().stage("Drawing the sheet", len(groups), "groups") as advance:
        for number, group in enumerate(groups, start=1):
            rows.append(duplicates_row(group, number))
            advance(1)
    write = write_html if sheet.suffix.lower() in (".html", ".htm") else write_png
    write(rows, sheet, title="Photos that are alike")
    err.print(f"Contact sheet: {printable(sheet)}", highlight=False)
