"""``sbka ingest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXIT_QUARANTINED = 3

EPILOG = """\
[bold]Examples[/bold]

sbka ingest photos/ --model model/ --gallery gallery/

sbka ingest 'holiday/**/*.jpg' more/ --gallery gallery/      (goes on where it stopped; only new photos are embedded)
"""


def ingest(
    photos: Annotated[list[str], typer.Argument(help="Files, folders and patterns.", show_default=False)],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder; made where there is none.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Model to embed with; by default the gallery's own, else SBKA_BACKBONE."),
    ] = None,
    clusters: Annotated[int, typer.Option(min=0, help="Clusters; 0: chosen from the number of photos.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of a new gallery in Milvus.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 where files were quarantined.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Take photos into a gallery: embed them, cluster them, index them in Milvus."""
    from dataclasses import asdict

    from sbka_milvus.cli.console import ConsoleProgress, print_json
    from sbka_milvus.factory import ingest_into
    from sbka_milvus.settings import load_settings

    settings = load_settings()
    if clusters:
        settings = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"n_clusters": clusters})})
    report = ingest_into(photos, gallery, settings, ConsoleProgress(), model=model, name=name)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report, gallery)
    if strict and report.embed.quarantined:
        raise typer.Exit(EXIT_QUARANTINED)


def _show(report: object, gallery: Path) -> None:
    from sbka_milvus.cli.console import err, out, printable
    from sbka_milvus.pipelines.ingest import IngestReport

    assert isinstance(report, IngestReport)
    embed, index = report.embed, report.index
    shown = 10
    for file in embed.quarantined[:shown]:
        err.print(f"[yellow]quarantined[/yellow] {printable(file.reason)}", highlight=False)
    if len(embed.quarantined) > shown:
        err.print(
            f"... and {len(embed.quarantined) - shown} more in {printable(gallery)}/quarantine.jsonl", highlight=False
        )
    rate = embed.embedded / embed.seconds if embed.seconds else 0.0
    out.print(
        f"{embed.found} photos found: {embed.embedded} embedded ({rate:.0f} a second), {embed.unchanged} unchanged, "
        f"{len(embed.quarantined)} quarantined.",
        highlight=False,
    )
    verb = "Serving" if index.rebuilt else "Still serving"
    out.print(
        f"{verb} version {index.version}: {index.photos} photos in {index.clusters} clusters. "
        f"Next: sbka search SKETCH --gallery {printable(gallery)}",
        highlight=False,
    )
