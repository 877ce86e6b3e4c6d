"""``sbka export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = """\
[bold]Examples[/bold]

sbka export -g gallery/ -o photos.parquet

sbka export -g gallery/ -o photos.npz --where 'year > 2020'

sbka export -g gallery/ -o names.parquet --no-vectors

sbka import photos.parquet -g other/ --model model/     (and back)
"""


def export(
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file: .parquet, or .npz.", dir_okay=False)],
    vectors: Annotated[bool, typer.Option("--vectors/--no-vectors", help="Write the vectors too.")] = True,
    where: Annotated[str | None, typer.Option(help="Only photos that meet this filter, as in a search.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Write a gallery's photos into one file: URIs, what is known of them, clusters, and their own vectors."""
    from dataclasses import asdict

    from sbka_milvus.cli.console import ConsoleProgress, out, print_json, printable
    from sbka_milvus.pipelines.care.export import ExportOptions
    from sbka_milvus.settings import load_settings
    from sbka_milvus.upkeep import export_folder

    options = ExportOptions(vectors, where)
    report = export_folder(gallery, output, load_settings(), options, ConsoleProgress())
    if as_json:
        print_json(asdict(report) | {"path": printable(report.path)})
        return
    of = f" of {report.dim} dimensions" if vectors else " without vectors"
    out.print(f"{report.photos} photos{of} in {printable(report.path)}.", highlight=False, markup=False)
