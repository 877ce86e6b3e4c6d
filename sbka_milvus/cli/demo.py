"""``sbka demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = """\
[bold]Examples[/bold]

sbka demo

sbka demo -o /tmp/demo --seed 1
"""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the demo makes.")] = Path("demo"),
    photos: Annotated[int, typer.Option(min=4, max=500, help="Photos of each category.")] = 40,
    sketches: Annotated[int, typer.Option(min=4, max=500, help="Sketches of each category.")] = 30,
    pretrain_epochs: Annotated[int, typer.Option(min=1, help="Epochs on photos alone.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of SBKA.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """The main job on a small world drawn from nothing: no network, no server, no weights."""
    import json

    from sbka_milvus.cli.console import ConsoleProgress, err, print_json
    from sbka_milvus.pipelines.demo import DemoOptions
    from sbka_milvus.settings import load_settings
    from sbka_milvus.showcase import run_demo

    err.print(
        "A world of drawn things: a network learns some categories, then finds photos of others from sketches.",
        highlight=False,
    )
    options = DemoOptions(photos=photos, sketches=sketches, pretrain_epochs=pretrain_epochs, epochs=epochs, seed=seed)
    result = run_demo(out, options, load_settings(), ConsoleProgress())
    if as_json:
        print_json(json.loads(result.report.to_json()))
        return
    _show(result)


def _show(result: object) -> None:
    from sbka_milvus.cli.console import out, print_table, printable
    from sbka_milvus.showcase import DEMO_METRICS, DemoResult

    assert isinstance(result, DemoResult)
    report = result.report
    print_table(
        f"{report.n_queries} sketches of {report.n_categories} unseen categories, {report.n_gallery} photos",
        ("method", *DEMO_METRICS),
        ((row.method, *(f"{row.values[metric]:.3f}" for metric in DEMO_METRICS)) for row in report.rows),
    )
    lines = [
        f"Contact sheet: {printable(result.sheet_png)} and {printable(result.sheet_html)}",
        f"All of it took {result.seconds:.0f} s.",
        "",
        "The same with your own pictures:",
        "  sbka train --photos PHOTOS/ --sketches SKETCHES/ --backbone timm:mobilenetv2_100 -o model/",
        "  sbka ingest PHOTOS/ --model model/ --gallery gallery/",
        "  sbka search sketch.png --gallery gallery/ -k 10",
    ]
    out.print("\n".join(lines), highlight=False)
