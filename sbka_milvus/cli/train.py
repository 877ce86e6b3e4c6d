"""``sbka train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

EPILOG = """\
[bold]Examples[/bold]

sbka train --photos photos/ --sketches sketches/ --backbone timm:mobilenetv2_100 --split split.json -o model/

sbka train --photos photos/ --sketches sketches/ --backbone timm:mobilenetv2_100 --weights FILE -o model/

sbka train --photos photos/ --sketches sketches/ --mode ce --epochs 5 -o model/
"""

MORE = "More"


def train(
    photos: Annotated[Path, typer.Option(help="Folder of photos, one folder a category.")],
    sketches: Annotated[Path, typer.Option(help="Folder of sketches, one folder a category.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new model.")],
    split: Annotated[
        Path | None, typer.Option(help="JSON with lists 'seen' and 'unseen': only seen ones are read.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="What to start from: timm:MODEL or open_clip:MODEL/TAG.")] = "",
    weights: Annotated[Path | None, typer.Option(help="Local weights of the backbone (safetensors).")] = None,
    mode: Annotated[
        Literal["ce", "one_way", "bidirectional"],
        typer.Option(help="Categories alone, a fixed teacher, or SBKA: both learn."),
    ] = "bidirectional",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 20,
    affinity: Annotated[Path | None, typer.Option(help="npz of category-to-ImageNet affinities.")] = None,
    size: Annotated[
        int | None, typer.Option(min=32, help="Side of the input in pixels; by default the backbone's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0.")] = "",
    precision: Annotated[
        Literal["auto", "fp32", "fp32_channels_last", "bf16"], typer.Option(help="Number format of the networks.")
    ] = "auto",
    name: Annotated[str, typer.Option(help="What to call the model.")] = "sbka",
    learning_rate: Annotated[float, typer.Option(min=0.0, help="At the start.", rich_help_panel=MORE)] = 1e-4,
    final_rate_factor: Annotated[
        float, typer.Option(help="Rate at the end over rate at the start.", rich_help_panel=MORE)
    ] = 1e-3,
    sketches_per_batch: Annotated[int, typer.Option(min=2, help="Sketches in a step.", rich_help_panel=MORE)] = 70,
    photos_per_batch: Annotated[int, typer.Option(min=2, help="Photos in a step.", rich_help_panel=MORE)] = 140,
    validation_share: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.9, help="Share of seen categories that choose the best epoch.", rich_help_panel=MORE
        ),
    ] = 0.1,
    trainable: Annotated[
        Literal["all", "norm"] | None,
        typer.Option(
            help="What trains in the backbone; by default all, for CLIP its norms alone.", rich_help_panel=MORE
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Argument of the backbone, KEY=VALUE.", rich_help_panel=MORE)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train an SBKA model on your sketches and photos of some categories."""
    from sbka_milvus.cli.console import ConsoleProgress, print_json
    from sbka_milvus.cli.options import build_request
    from sbka_milvus.images import Split
    from sbka_milvus.pipelines.train import TrainRequest, train_model
    from sbka_milvus.settings import load_settings
    from sbka_milvus.training.options import TrainingOptions

    settings = load_settings()
    backbone = backbone or settings.backbone
    options = TrainingOptions(
        mode=mode,
        epochs=epochs,
        sketches_per_batch=sketches_per_batch,
        photos_per_batch=photos_per_batch,
        learning_rate=learning_rate,
        final_rate_factor=final_rate_factor,
        trainable=trainable or ("norm" if backbone.startswith("open_clip:") else "all"),
        validation_share=validation_share,
        seed=seed,
    )
    request = TrainRequest(
        photos=photos,
        sketches=sketches,
        out=out,
        backbone=build_request(backbone, weights, size, option),
        options=options,
        split=None if split is None else Split.load(split),
        affinity=affinity,
        device=device or settings.device,
        precision=precision,
        name=name,
        decode_threads=settings.ingest.decode_threads,
    )
    report = train_model(request, ConsoleProgress())
    if as_json:
        print_json(json.loads(report.bundle.manifest.model_dump_json()) | {"path": str(out), "seconds": report.seconds})
        return
    _show(report)


def _show(report: object) -> None:
    from sbka_milvus.cli.console import err, out, print_table, printable
    from sbka_milvus.pipelines.train import TrainReport

    assert isinstance(report, TrainReport)
    for note in report.notes:
        err.print(f"note {printable(note)}", highlight=False)
    for path, reason in report.rejected[:10]:
        err.print(f"left out {printable(path)}: {printable(reason)}", highlight=False)
    history = report.history
    print_table(
        "Training",
        ("epoch", "loss", "teacher learns", "mAP@all, pseudo-unseen"),
        (
            (
                f"{record.epoch}{' *' if record.epoch == history.best_epoch else ''}",
                f"{sum(record.losses.values()):.3f}",
                "yes" if record.teacher_learns else "no",
                "-" if record.validation_map is None else f"{record.validation_map:.3f}",
            )
            for record in history.epochs
        ),
    )
    folder = printable(report.bundle.path)
    out.print(
        f"Model of epoch {history.best_epoch} (*) saved in {folder} after {report.seconds:.0f} s.", highlight=False
    )
    out.print(f"Next: sbka ingest PHOTOS --model {folder} --gallery gallery/", highlight=False)
