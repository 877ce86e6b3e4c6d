"""``sbka model import``, ``sbka model statistics`` and ``sbka model show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sbka_milvus.encoders.statistics import ModelStatistics

app = typer.Typer(help="Make and look at model bundles.", no_args_is_help=True)

IMPORT_EPILOG = """\
[bold]Examples[/bold]

sbka model import --backbone open_clip:ViT-B-32 --weights open_clip_model.safetensors -o model/

sbka model import --backbone timm:mobilenetv2_100 --weights mobilenetv2.safetensors --size 128 -o model/
"""
STATISTICS_EPILOG = """\
[bold]Examples[/bold]

sbka model statistics model/ --photos photos/ --sketches sketches/

sbka model statistics model/ --photos photos/ --sketches sketches/ --split split.json
"""


@app.command("import", epilog=IMPORT_EPILOG)
def import_(
    backbone: Annotated[str, typer.Option(help="timm:MODEL or open_clip:MODEL/TAG.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new model.")],
    weights: Annotated[
        Path | None, typer.Option(help="Local weights (safetensors); without them they come from the hub.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Side of the input in pixels.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Argument of the backbone, KEY=VALUE.")] = None,
    name: Annotated[str, typer.Option(help="What to call the model; by default the backbone's name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Make a model from any backbone and its pre-trained weights, without training."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.encoders.backbones import BuildRequest
    from sbka_milvus.pipelines.import_model import import_model

    request = BuildRequest.parse(backbone, weights, size, option or [])
    bundle = import_model(request, out, name or backbone, ConsoleProgress())
    _show(out, bundle.manifest.model_dump_json(), as_json)


@app.command("statistics", epilog=STATISTICS_EPILOG)
def statistics(
    model: Annotated[Path, typer.Argument(help="Folder of a model; that of a gallery, too.", show_default=False)],
    photos: Annotated[Path, typer.Option(help="Photos that it was trained on: one folder a category, or a file list.")],
    sketches: Annotated[Path, typer.Option(help="Sketches of the same: one folder or .ndjson a category, or a list.")],
    split: Annotated[
        Path | None,
        typer.Option(help="JSON with lists 'seen' and 'unseen', or a folder of file lists: only seen ones are read."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Let a model know sketches: encode some of its training, so that searches can tell when nothing matches.

    A training does so itself. A model that was trained elsewhere takes all seen categories as trained ones.
    """
    from sbka_milvus.cli.console import ConsoleProgress, out, print_json
    from sbka_milvus.factory import make_model_statistics
    from sbka_milvus.settings import load_settings

    progress = ConsoleProgress()
    report = make_model_statistics(model, photos, sketches, split, load_settings(), progress, seed=seed)
    for note in report.notes:
        progress.say(note)
    if as_json:
        print_json(_known(report.statistics) | {"notes": list(report.notes)})
        return
    out.print(f"The model now {_in_words(report.statistics)}.", highlight=False)


@app.command("show")
def show(
    model: Annotated[Path, typer.Argument(help="Folder of a model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what a model is: backbone, input, dimension, training, fingerprint."""
    from sbka_milvus.encoders.manifest import read_manifest
    from sbka_milvus.encoders.statistics import read_statistics

    _show(model, read_manifest(model).model_dump_json(), as_json, read_statistics(model))


def _known(statistics: ModelStatistics | None) -> dict[str, object]:
    if statistics is None:
        return {"sketches": 0, "photos": 0, "confidence": False}
    return {
        "sketches": len(statistics.sketches),
        "photos": len(statistics.photos),
        "confidence": statistics.confidence is not None,
    }


def _in_words(statistics: ModelStatistics | None) -> str:
    if statistics is None:
        return "knows no sketches"
    tells = "tells" if statistics.confidence is not None else "cannot tell"
    counts = f"{len(statistics.sketches)} sketches and {len(statistics.photos)} photos"
    return f"knows {counts}, and {tells} when nothing matches"


def _show(folder: Path, manifest: str, as_json: bool, statistics: ModelStatistics | None = None) -> None:
    from sbka_milvus.cli.console import print_json, print_table

    values = json.loads(manifest)
    if as_json:
        print_json(values | {"statistics": _known(statistics)})
        return
    training = values["training"]
    history = training.get("history", {})
    rows = [
        ("name", values["name"]),
        ("backbone", values["backbone"]),
        ("input", f"{values['preprocessing']['size']} px"),
        ("dimension", values["dim"]),
        ("fingerprint", values["fingerprint"]),
        ("trained on", f"{len(values['classes'])} categories" if training else "not trained here"),
    ]
    if training:
        rows += [("mode", training["options"]["mode"]), ("best epoch", history.get("best_epoch", "-"))]
    rows.append(("sketches", _in_words(statistics)))
    print_table(str(folder), ("", "value"), rows, numeric_from=2)
