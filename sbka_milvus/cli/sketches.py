"""``sbka sketches``: make sketches from photos, render drawings kept as strokes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Make sketches to train on: from photos, or from drawings kept as strokes.", no_args_is_help=True
)

EXIT_QUARANTINED = 3
_SHOWN = 10

MAKE_EPILOG = """\
[bold]Examples[/bold]

sbka sketches make photos/ -o sketches/

sbka sketches make photos/ -o straight/ --wobble 0 --size 224

sbka sketches make Sketchy/zeroshot1/all_photo_filelist_train.txt -o sketches/      (a file list: see docs/data.md)
"""

RENDER_EPILOG = """\
[bold]Examples[/bold]

sbka sketches render cat.ndjson dog.ndjson -o sketches/ --limit 500 --recognised-only

sbka sketches render drawings/ -o sketches/ --variants 3      (a folder of .ndjson; each drawing in three versions)
"""


@app.command("make", epilog=MAKE_EPILOG)
def make(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, one folder a category; or a file list.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the sketches.")],
    size: Annotated[int, typer.Option(min=16, max=4096, help="Side of a sketch in pixels.")] = 256,
    wobble: Annotated[float, typer.Option(min=0.0, max=10.0, help="Unsteadiness of the hand; 0: none.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the unsteadiness.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 where photos could not be drawn.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Draw photos as somebody would sketch them, to train on where there are no sketches.

    Sketches that are there already are kept, so a run that was stopped goes on when it is started again.
    """
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.images import list_images
    from sbka_milvus.pipelines.make_sketches import MakeOptions, make_sketches
    from sbka_milvus.settings import load_settings

    ingest = load_settings().ingest
    options = MakeOptions(size, seed, wobble, ingest.decode_processes, ingest.max_pixels)
    report = make_sketches(list_images(photos), out, options, ConsoleProgress())
    rejected = [(str(path), reason) for path, reason in report.rejected]
    kept = len(report.sketches) - report.made
    _show(
        f"{report.made} sketches made, {kept} were there, {len(rejected)} photos left out. "
        f"Next: sbka train --photos {photos} --sketches {out} -o model/",
        rejected,
        {"made": report.made, "kept": kept, "seconds": report.seconds},
        as_json=as_json,
    )
    if strict and rejected:
        raise typer.Exit(EXIT_QUARANTINED)


@app.command("render", epilog=RENDER_EPILOG)
def render(
    drawings: Annotated[list[Path], typer.Argument(help=".ndjson files of Quick, Draw!, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the sketches: one folder a file.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Drawings of each file; by default all.")] = None,
    recognised_only: Annotated[
        bool, typer.Option("--recognised-only", help="Leave out drawings that the game did not recognise.")
    ] = False,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Side of a sketch in pixels.")] = 224,
    variants: Annotated[int, typer.Option(min=1, help="Versions of each drawing, its strokes changed at random.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the variants.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 where lines could not be used.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Render drawings kept as strokes, raw or simplified, into pictures in one folder a file."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.pipelines.render_drawings import RenderOptions, drawing_files, render_drawings

    options = RenderOptions(size, limit, recognised_only, variants, seed)
    report = render_drawings(drawing_files(drawings), out, options, ConsoleProgress())
    bad = [(f"{line.file}, line {line.line}", line.reason) for line in report.bad]
    _show(
        f"{report.made} sketches made, {report.kept} were there, {len(bad)} lines left out, "
        f"{report.passed_over} drawings not recognised.",
        bad,
        {"made": report.made, "kept": report.kept, "passed_over": report.passed_over, "seconds": report.seconds},
        as_json=as_json,
    )
    if strict and bad:
        raise typer.Exit(EXIT_QUARANTINED)


def _show(summary: str, left_out: Sequence[tuple[str, str]], figures: dict[str, object], *, as_json: bool) -> None:
    from sbka_milvus.cli.console import about_file, err, out, print_json, printable

    if as_json:
        print_json(figures | {"left_out": [{"what": printable(w), "reason": printable(r)} for w, r in left_out]})
        return
    for what, reason in left_out[:_SHOWN]:
        err.print(f"[yellow]left out[/yellow] {about_file(what, reason)}", highlight=False)
    if len(left_out) > _SHOWN:
        err.print(f"... and {len(left_out) - _SHOWN} more; --json lists all", highlight=False)
    out.print(printable(summary), highlight=False)
