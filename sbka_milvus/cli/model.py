"""``sbka model import`` and ``sbka model show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make and look at model bundles.", no_args_is_help=True)

IMPORT_EPILOG = """\
[bold]Examples[/bold]

sbka model import --backbone open_clip:ViT-B-32 --weights open_clip_model.safetensors -o model/

sbka model import --backbone timm:mobilenetv2_100 --weights mobilenetv2.safetensors --size 128 -o model/
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
    from sbka_milvus.cli.options import build_request
    from sbka_milvus.pipelines.import_model import import_model

    bundle = import_model(build_request(backbone, weights, size, option), out, name or backbone, ConsoleProgress())
    _show(out, bundle.manifest.model_dump_json(), as_json)


@app.command("show")
def show(
    model: Annotated[Path, typer.Argument(help="Folder of a model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what a model is: backbone, input, dimension, training, fingerprint."""
    from sbka_milvus.encoders.manifest import read_manifest

    _show(model, read_manifest(model).model_dump_json(), as_json)


def _show(folder: Path, manifest: str, as_json: bool) -> None:
    from sbka_milvus.cli.console import print_json, print_table

    values = json.loads(manifest)
    if as_json:
        print_json(values)
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
    print_table(str(folder), ("", "value"), rows, numeric_from=2)
