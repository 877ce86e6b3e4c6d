"""``sbka evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """\
[bold]Examples[/bold]

sbka evaluate --gallery gallery/ --sketches sketches/ --split split.json

sbka evaluate --photos photos/ --model model/ --sketches sketches/ --split split.json --json
"""


def evaluate(
    sketches: Annotated[Path, typer.Option(help="Folder of sketches, one folder a category.")],
    split: Annotated[Path, typer.Option(help="JSON with the list 'unseen': these categories are evaluated.")],
    gallery: Annotated[
        Path | None, typer.Option("--gallery", "-g", help="A gallery: its real search is scored.")
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Instead of a gallery: a folder of photos.")] = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="With --photos: the model.")] = None,
    clusters: Annotated[int, typer.Option(min=0, help="With --photos: clusters; 0: chosen from their number.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the report as JSON here, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score sketches of unseen categories: mAP@all, mAP@200, P@K, one-to-one and one-to-many, beside chance."""
    from sbka_milvus.cli.console import ConsoleProgress, print_json, print_table, printable
    from sbka_milvus.cli.console import out as console
    from sbka_milvus.errors import SettingsError
    from sbka_milvus.factory import evaluate_folder, evaluate_gallery_folder
    from sbka_milvus.files import replacing
    from sbka_milvus.images import Split
    from sbka_milvus.settings import load_settings

    settings, progress, loaded = load_settings(), ConsoleProgress(), Split.load(split)
    if gallery is not None and photos is None and model is None:
        report = evaluate_gallery_folder(gallery, sketches, loaded, settings, progress)
    elif gallery is None and photos is not None and model is not None:
        report = evaluate_folder(photos, model, sketches, loaded, settings, progress, n_clusters=clusters)
    else:
        raise SettingsError("What to evaluate is not clear.", "Give --gallery, or --photos together with --model.")
    if out is not None:
        with replacing(out) as file:
            file.write(report.to_json().encode())
    if as_json:
        print_json(json.loads(report.to_json()))
        return
    header, rows = report.table()
    print_table(
        f"{printable(report.data_set)}, split {report.split_name} ({report.split_digest}), protocol {report.protocol}: "
        f"{report.n_queries} sketches, {report.n_gallery} photos, {report.n_clusters} clusters",
        header,
        rows,
    )
    for note in report.notes:
        console.print(f"note {printable(note)}", highlight=False)
