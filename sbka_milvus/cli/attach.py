"""``sbka attach``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sbka_milvus.cli.matching import Matching

EPILOG = """\
[bold]Examples[/bold]

sbka attach products -g gallery/ --model model/ --from http://milvus:19530

sbka attach products -g gallery/ --model model/ --vector-field clip --uri-field image_url --where 'in_stock == true'

sbka attach products -g gallery/ --check 20     (again: takes in what is new there; embeds 20 photos to be sure)

sbka search sketch.png -g gallery/ --json     (each hit tells its "key" in the collection)
"""


def attach(
    collection: Annotated[str, typer.Argument(help="Name of the collection.", show_default=False)],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder; made where there is none.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="The model whose encoder made the vectors; needed for a new gallery."),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option("--from", help="Milvus that holds it: an address, or a directory; by default SBKA_MILVUS__URI."),
    ] = None,
    vector_field: Annotated[str | None, typer.Option(help="Field of the vectors, where there are several.")] = None,
    id_field: Annotated[str | None, typer.Option(help="Its primary key; found by itself.")] = None,
    uri_field: Annotated[
        str | None, typer.Option(help="Field that names the photos; by default uri, url, path, ...; '' for none.")
    ] = None,
    where: Annotated[str, typer.Option(help="Only rows that meet this filter of Milvus.")] = "",
    check: Annotated[int, typer.Option(min=0, help="Embed so many of the photos, and refuse vectors that differ.")] = 0,
    clusters: Annotated[int, typer.Option(min=0, help="Clusters; 0: chosen from the photos.")] = 0,
    matching: Annotated[
        Matching | None, typer.Option(help="How sketches are matched; by default SBKA_INGEST__MATCHING.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of a new gallery in Milvus.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Add clusters and sketch search to a Milvus collection of image embeddings; it is read and never written."""
    from dataclasses import asdict

    from sbka_milvus.cli.console import ConsoleProgress, out, print_json, printable
    from sbka_milvus.pipelines.care.attach import AttachOptions
    from sbka_milvus.settings import load_settings, with_index_options
    from sbka_milvus.upkeep import Collection, attach_to

    settings = with_index_options(load_settings(), clusters, None if matching is None else matching.value)
    wanted = Collection(collection, place, vector_field, id_field, uri_field, where)
    options = AttachOptions(check, settings.ingest.shard_size)
    report, index = attach_to(wanted, gallery, settings, options, ConsoleProgress(), model=model, name=name)
    if as_json:
        print_json({"attach": asdict(report), "index": asdict(index)})
        return
    checked = f" {report.checked} were checked: cosine {report.worst_cosine:.3f} or more." if report.checked else ""
    out.print(
        f"{report.rows} rows of {collection}: {report.added} taken in, {report.unchanged} unchanged, {report.removed} "
        f"gone.{checked}",
        highlight=False,
        markup=False,
    )
    out.print(
        f"{'Serving' if index.rebuilt else 'Still serving'} version {index.version}: {index.photos} photos in "
        f"{index.clusters} clusters ({index.matching}). Next: sbka search SKETCH --gallery {printable(gallery)}",
        highlight=False,
    )
