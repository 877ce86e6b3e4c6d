"""``sbka ingest``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sbka_milvus.cli.matching import Matching

EXIT_QUARANTINED = 3

EPILOG = """\
[bold]Examples[/bold]

sbka ingest photos/ --model model/ --gallery gallery/

sbka ingest 'holiday/**/*.jpg' more/ --gallery gallery/      (goes on where it stopped; only new photos are embedded)

sbka ingest 'shards/{000..012}.tar' more.zip --gallery gallery/     (archives are read where they are, never unpacked)

sbka ingest photos.csv --gallery gallery/     (a manifest: column uri, path or file; search --where filters by the rest)

sbka ingest https://example.org/photos.parquet s3://bucket/cats/ --gallery gallery/     (s3 needs the package s3fs)

sbka ingest inbox/ --gallery gallery/ --watch     (goes on: takes in what comes, until Ctrl-C)

sbka ingest photos/ --gallery gallery/ --prune     (what is gone from photos/ goes from the gallery, too)

sbka ingest photos/ --gallery gallery/ --background           (workers do it: see `sbka up` and `sbka jobs`)
"""


def ingest(
    photos: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, patterns, archives (.tar, .tar.gz, .zip), manifests (.csv, .tsv, .parquet, .jsonl), "
            "addresses (https://, s3://).",
            show_default=False,
        ),
    ],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder; made where there is none.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Model to embed with; by default the gallery's own, else SBKA_BACKBONE."),
    ] = None,
    clusters: Annotated[int, typer.Option(min=0, help="Clusters; 0: chosen from the photos.")] = 0,
    matching: Annotated[
        Matching | None,
        typer.Option(help="How sketches are matched; by default SBKA_INGEST__MATCHING. auto: linear if the model can."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of a new gallery in Milvus.")] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Take out photos that came from these sources and are there no more; "
            "refused where that is more than half of what a source held.",
        ),
    ] = False,
    prune_all: Annotated[
        bool, typer.Option("--prune-all", help="As --prune, also where more than half of a source is gone.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 where files were quarantined.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let workers do it; prints the job's id and returns.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on: take in what comes or changes, until Ctrl-C, which then exits with 0."),
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two looks.")] = 10.0,
    settle: Annotated[
        float, typer.Option(min=0.1, help="With --watch: seconds for which nothing may change before it is taken.")
    ] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Take photos into a gallery: embed them, cluster them, index them in Milvus."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.errors import SettingsError
    from sbka_milvus.factory import ingest_into
    from sbka_milvus.pipelines.prune import PruneOptions
    from sbka_milvus.settings import load_settings, with_index_options

    if watch and (background or strict):
        raise SettingsError(
            "--watch goes with neither --background nor --strict: it does the work itself, and does not end by itself.",
            "Leave one of them out.",
        )

    form = None if matching is None else matching.value
    settings = with_index_options(load_settings(), clusters, form)
    if background:
        from sbka_milvus.cli.jobs import announce
        from workers.submit import submit_ingest

        job = submit_ingest(
            photos,
            gallery,
            model=model,
            name=name,
            n_clusters=clusters,
            matching=form,
            prune=prune or prune_all,
            prune_all=prune_all,
            settings=settings,
            progress=ConsoleProgress(),
        )
        announce(job, as_json=as_json)
        return

    pruning = PruneOptions(consent=prune_all) if prune or prune_all else None

    def take() -> object:
        report = ingest_into(photos, gallery, settings, ConsoleProgress(), model=model, name=name, pruning=pruning)
        _tell(report, gallery, as_json=as_json)
        return report

    if watch:
        _watch(photos, take, every, settle)
        return
    report = take()
    if strict and _has_quarantined(report):
        raise typer.Exit(EXIT_QUARANTINED)


def _watch(photos: list[str], take: Callable[[], object], every: float, settle: float) -> None:
    from sbka_milvus.cli.console import err, printable
    from sbka_milvus.errors import SbkaError
    from sbka_milvus.pipelines.watch import Watch, WatchOptions, look_at

    waiting = True

    def take_all() -> None:
        nonlocal waiting
        waiting = False
        try:
            take()
        except SbkaError:
            waiting = True
            raise
        waiting = True

    def say(message: str) -> None:
        err.print(printable(message), highlight=False, markup=False)

    say(f"Watching {', '.join(photos)}; Ctrl-C ends it.")
    try:
        Watch(lambda: look_at(photos), take_all, say, WatchOptions(every, settle)).run()
    except KeyboardInterrupt:
        # In the middle of an ingest it is told as for any other ingest.
        if not waiting:
            raise
        say("No longer watched; what was found is taken in.")


def _has_quarantined(report: object) -> bool:
    from sbka_milvus.pipelines.ingest import IngestReport

    assert isinstance(report, IngestReport)
    return bool(report.embed.quarantined)


def _tell(report: object, gallery: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from sbka_milvus.cli.console import print_json
    from sbka_milvus.pipelines.ingest import IngestReport

    assert isinstance(report, IngestReport)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report, gallery)


def _show(report: object, gallery: Path) -> None:
    from rich.markup import escape

    from sbka_milvus.cli.console import about_file, err, out, printable
    from sbka_milvus.pipelines.ingest import IngestReport

    assert isinstance(report, IngestReport)
    embed, index = report.embed, report.index
    shown = 10
    for file in embed.quarantined[:shown]:
        err.print(f"[yellow]quarantined[/yellow] {escape(about_file(file.uri, file.reason))}", highlight=False)
    if len(embed.quarantined) > shown:
        err.print(
            f"... and {len(embed.quarantined) - shown} more: sbka quarantine list {printable(gallery)}",
            highlight=False,
        )
    more = (
        ("moved", embed.moved),
        ("copied", embed.copied),
        ("touched", embed.touched),
        ("with new metadata", embed.renewed),
        ("pruned", embed.pruned),
    )
    out.print(
        f"{embed.found} photos found: {embed.embedded} embedded, {embed.unchanged} unchanged, "
        f"{len(embed.quarantined)} quarantined{''.join(f', {count} {what}' for what, count in more if count)}.",
        highlight=False,
    )
    if embed.embedded:
        most = report.bottleneck
        out.print(
            f"Bottleneck: {most.stage} ({most.share:.0%} of the time); {embed.photos_per_s:.3g} photos/s; "
            f"peak memory {embed.peak_memory_mib / 1024:.1f} GiB.",
            highlight=False,
        )
    verb = "Serving" if index.rebuilt else "Still serving"
    distinct = "" if index.distinct == index.photos else f", {index.distinct} of them distinct,"
    out.print(
        f"{verb} version {index.version}: {index.photos} photos{distinct} in {index.clusters} clusters "
        f"({index.matching}). "
        f"Next: sbka search SKETCH --gallery {printable(gallery)}",
        highlight=False,
    )
    made = index.clustering
    if made.get("joined") or made.get("gone"):
        out.print(
            f"Of these photos {made['joined']} joined the clusters that were made in version {made['fit_version']} of "
            f"{made['fitted']}" + (f", of which {made['gone']} are gone." if made["gone"] else "."),
            highlight=False,
        )
    if index.drifted:
        out.print(f"[yellow]note[/yellow] {escape(printable(index.drifted))}", highlight=False)
