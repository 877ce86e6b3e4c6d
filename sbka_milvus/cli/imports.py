"""``sbka import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sbka_milvus.cli.matching import Matching

EPILOG = """\
[bold]Examples[/bold]

sbka import embeddings.parquet -g gallery/ --model model/     (columns uri and vector; all others become metadata)

sbka import part-*.parquet -g gallery/ --model model/ --uri-column image --vector-column clip --root /photos --check 20

sbka import vectors.npy -g gallery/     (names and metadata from vectors.csv beside it)

sbka import photos.npz -g gallery/     (as `sbka export` writes it)
"""


def import_(
    files: Annotated[
        list[Path], typer.Argument(help="Files of vectors: .parquet, .npz, or .npy with a .csv.", show_default=False)
    ],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder; made where there is none.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="The model whose encoder made the vectors; needed for a new gallery."),
    ] = None,
    uri_column: Annotated[
        str | None, typer.Option(help="Column that names the photos; by default uri, url, ...")
    ] = None,
    vector_column: Annotated[
        str | None, typer.Option(help="Column of the vectors; by default vector, embedding, ...")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that relative names are in.", file_okay=False)] = None,
    check: Annotated[
        int, typer.Option(min=0, help="Embed so many of the photos again, and refuse vectors that differ.")
    ] = 0,
    clusters: Annotated[int, typer.Option(min=0, help="Clusters; 0: chosen from the photos.")] = 0,
    matching: Annotated[
        Matching | None, typer.Option(help="How sketches are matched; by default SBKA_INGEST__MATCHING.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of a new gallery in Milvus.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Take in vectors that were made elsewhere with the gallery's model, and index them. No photo is opened."""
    from dataclasses import asdict

    from sbka_milvus.cli.console import ConsoleProgress, out, print_json, printable
    from sbka_milvus.embeddings.vector_files import ColumnNames
    from sbka_milvus.pipelines.care.imports import ImportOptions
    from sbka_milvus.settings import load_settings, with_index_options
    from sbka_milvus.upkeep import import_into

    settings = with_index_options(load_settings(), clusters, None if matching is None else matching.value)
    options = ImportOptions(ColumnNames(uri_column, vector_column), root, check, settings.ingest.shard_size)
    report, index = import_into(files, gallery, settings, options, ConsoleProgress(), model=model, name=name)
    if as_json:
        print_json({"import": asdict(report), "index": asdict(index)})
        return
    rate = report.rows / report.seconds if report.seconds else 0.0
    checked = f" {report.checked} were checked: cosine {report.worst_cosine:.3f} or more." if report.checked else ""
    out.print(
        f"{report.rows} rows ({rate:.0f} a second): {report.imported} imported, {report.unchanged} unchanged, "
        f"{report.repeated} repeated.{checked}",
        highlight=False,
    )
    out.print(
        f"{'Serving' if index.rebuilt else 'Still serving'} version {index.version}: {index.photos} photos in "
        f"{index.clusters} clusters ({index.matching}). Next: sbka search SKETCH --gallery {printable(gallery)}",
        highlight=False,
    )
