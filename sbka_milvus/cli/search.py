"""``sbka search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sbka_milvus.types import SearchResult

EPILOG = """\
[bold]Examples[/bold]

sbka search cat.png --gallery gallery/ -k 10

sbka search cat.png dog.png --gallery gallery/ --json

sbka search cat.png --gallery gallery/ --sheet hits.png
"""


def search(
    sketches: Annotated[list[Path], typer.Argument(help="Sketches: image files.", show_default=False)],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    k: Annotated[int | None, typer.Option("-k", min=1, help="Hits a sketch; by default SBKA_SEARCH__K.")] = None,
    n_probe: Annotated[
        int | None, typer.Option(min=1, help="Clusters to look into; by default SBKA_SEARCH__N_PROBE.")
    ] = None,
    cluster_weight: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Weight of the cluster's score; 0: photos one by one.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet: .png, or .html for a page.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
) -> None:
    """Find the photos most like a sketch."""
    from dataclasses import asdict

    from sbka_milvus.api import SketchSearch
    from sbka_milvus.cli.console import err, print_json, printable

    if sheet is not None:
        _require_sheet_suffix(sheet)
    with SketchSearch.open(gallery) as engine:
        drawn = [engine.normalise(path) for path in sketches]
        results = engine.search_normalised(drawn, k, n_probe=n_probe, cluster_weight=cluster_weight)
    if as_json:
        print_json(
            [
                {
                    "sketch": printable(path),
                    "gallery": result.gallery,
                    "version": result.version,
                    "probes": list(result.probes),
                    "hits": [asdict(hit) | {"uri": printable(hit.uri)} for hit in result],
                }
                for path, result in zip(sketches, results, strict=True)
            ]
        )
    else:
        for path, result in zip(sketches, results, strict=True):
            _show(path, result)
    if sheet is not None:
        from sbka_milvus.pipelines.sheet import sheet_row
        from sbka_milvus.sheets import write_html, write_png

        rows = [
            sheet_row(image, path.stem, list(result))
            for image, path, result in zip(drawn, sketches, results, strict=True)
        ]
        write = write_html if sheet.suffix.lower() in (".html", ".htm") else write_png
        write(rows, sheet, title="Sketches and their photos")
        err.print(f"Contact sheet: {printable(sheet)}", highlight=False)


def _show(sketch: Path, result: SearchResult) -> None:
    """Hits below the folder that they share, so that long paths do not fill the table."""
    import os

    from sbka_milvus.cli.console import print_table, printable

    folder = os.path.commonpath([os.path.dirname(hit.uri) for hit in result]) if len(result) else ""  # noqa: PTH120
    print_table(
        f"{printable(sketch)}: photos in {printable(folder)}",
        ("photo", "rank", "score", "cluster", "cluster\nscore", "member\nscore"),
        (
            (
                os.path.relpath(hit.uri, folder),
                hit.rank,
                f"{hit.score:.3f}",
                hit.cluster_id,
                f"{hit.cluster_score:.3f}",
                f"{hit.member_score:.3f}",
            )
            for hit in result
        ),
    )


def _require_sheet_suffix(sheet: Path) -> None:
    from sbka_milvus.errors import SettingsError

    if sheet.suffix.lower() not in (".png", ".html", ".htm"):
        raise SettingsError(f"A contact sheet cannot be written as {sheet.name}.", "Name it .png or .html.")
