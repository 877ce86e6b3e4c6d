"""``sbka train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sbka_milvus.cli import recipe

if TYPE_CHECKING:
    from sbka_milvus.pipelines.train import TrainRequest
    from sbka_milvus.settings import Settings

EPILOG = """\
[bold]Examples[/bold]

sbka train --photos photos/ --sketches sketches/ --backbone timm:mobilenetv2_100 --split split.json -o model/

sbka train --photos photos/ --sketches sketches/ --backbone timm:mobilenetv2_100 --weights FILE -o model/

sbka train --photos photos/ --sketches sketches/ --mode ce --epochs 5 -o model/

sbka train --photos photos/ --sketches sketches/ --head cosine --schedule cosine --ema-decay 0.99 -o model/
sbka train --photos photos/ --pseudo-sketches -o model/      (there are no sketches: they are made from the photos)

torchrun --standalone --nproc-per-node 4 -m sbka_milvus train --photos photos/ --sketches sketches/ -o model/
"""

MORE = "More"

_AS_WISHED = (
    "photos", "sketches", "out", "affinity", "semantics", "knowledge_names", "tensorboard", "precision", "name",
)  # fmt: skip
"""What a user, a training here and one in the background call alike."""
_WISHED = (*_AS_WISHED, "backbone", "weights", "size", "backbone_options", "split", "teacher")


def train(
    photos: Annotated[Path, typer.Option(help="Folder of photos, one folder a category; or a file list.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new model.")],
    sketches: Annotated[
        Path | None,
        typer.Option(help="Folder of sketches, one folder or .ndjson a category; or a file list."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="JSON with lists 'seen' and 'unseen', or a folder of file lists: only seen ones are read."),
    ] = None,
    backbone: Annotated[str, typer.Option(help="What to start from: timm:MODEL or open_clip:MODEL/TAG.")] = "",
    weights: Annotated[
        Path | None, typer.Option(help="Local weights of the backbone (safetensors); or a folder of a model.")
    ] = None,
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
    learning_rate: recipe.LearningRate = 1e-4,
    schedule: recipe.Schedule = "exponential",
    final_rate_factor: recipe.FinalRateFactor = 1e-3,
    warmup_epochs: recipe.WarmupEpochs = 0.0,
    optimiser: recipe.Optimiser = "adam",
    weight_decay: recipe.WeightDecay = 5e-4,
    clip_norm: recipe.ClipNorm = 0.0,
    ema_decay: recipe.EmaDecay = 0.0,
    sketches_per_batch: recipe.SketchesPerBatch = 70,
    photos_per_batch: recipe.PhotosPerBatch = 140,
    balanced: recipe.Balanced = 0,
    accumulate: recipe.Accumulate = 1,
    head: recipe.Head = "linear",
    head_temperature: recipe.HeadTemperature = 0.07,
    label_smoothing: recipe.LabelSmoothing = 0.0,
    semantics: recipe.Semantics = None,
    semantics_weight: recipe.SemanticsWeight = 0.0,
    semantics_temperature: recipe.SemanticsTemperature = 0.1,
    contrastive_weight: recipe.ContrastiveWeight = 0.0,
    contrastive_temperature: recipe.ContrastiveTemperature = 0.07,
    cross_modal_weight: recipe.CrossModalWeight = 1.0,
    knowledge_weight: recipe.KnowledgeWeight = 1.0,
    sketch_knowledge_weight: recipe.SketchKnowledgeWeight = 0.0,
    alignment_weight: recipe.AlignmentWeight = 0.1,
    affinity_weight: recipe.AffinityWeight = 0.3,
    detach_targets: recipe.DetachTargets = True,
    augment_probability: recipe.AugmentProbability = 0.7,
    validation_share: recipe.ValidationShare = 0.1,
    backbone_rate_factor: recipe.BackboneRateFactor = 1.0,
    frozen_stages: recipe.FrozenStages = 0,
    trainable: recipe.Trainable = None,
    adapter_width: recipe.AdapterWidth = 64,
    prompt_count: recipe.PromptCount = 8,
    teacher: recipe.Teacher = None,
    teacher_backbone: recipe.TeacherBackbone = "",
    teacher_weights: recipe.TeacherWeights = None,
    teacher_size: recipe.TeacherSize = None,
    teacher_option: recipe.TeacherOption = None,
    knowledge_names: recipe.KnowledgeNames = None,
    teacher_scope: recipe.TeacherScope = "head",
    teacher_starts: recipe.TeacherStarts = 0.5,
    teacher_rate_factor: recipe.TeacherRateFactor = 1.0,
    teacher_schedule: recipe.TeacherSchedule = "shared",
    relation_weight: recipe.RelationWeight = 0.0,
    relation_pictures: recipe.RelationPictures = "photos",
    embedding_weight: recipe.EmbeddingWeight = 0.0,
    option: Annotated[
        list[str] | None, typer.Option(help="Argument of the backbone, KEY=VALUE.", rich_help_panel=MORE)
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's files, of this training alone; none by default.")
    ] = None,
    stroke_augmentation: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of sketches whose lines are changed.", rich_help_panel=MORE),
    ] = 0.0,
    pseudo_sketches: Annotated[
        bool,
        typer.Option("--pseudo-sketches", help="Make sketches from the photos, too.", rich_help_panel=MORE),
    ] = False,
    pseudo_share: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.99, help="With --sketches: share of sketches made from photos.", rich_help_panel=MORE
        ),
    ] = 0.5,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew, even where a stopped training could go on.")
    ] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let a worker do it; prints the job's id and returns.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train an SBKA model on your sketches and photos of some categories.

    A training that was stopped goes on when the same command is run again.
    """
    given = dict(locals())  # before anything else is named: the parameters, by the names of what they choose
    from sbka_milvus.cli.console import ConsoleProgress, print_json
    from sbka_milvus.pipelines.train import train_model
    from sbka_milvus.settings import load_settings
    from sbka_milvus.training.distributed import leads

    settings = load_settings()
    wish = wish_of({**given, "backbone": backbone or settings.backbone})
    if background:
        from sbka_milvus.cli.jobs import announce
        from workers.submit import submit_train

        announce(submit_train(wish, settings), as_json=as_json)
        return
    report = train_model(_request(wish, settings, fresh=fresh), ConsoleProgress())
    if not leads():
        return
    if as_json:
        print_json(json.loads(report.bundle.manifest.model_dump_json()) | {"path": str(out), "seconds": report.seconds})
        return
    _show(report)


def wish_of(values: dict[str, Any]) -> dict[str, Any]:
    """What a user wishes of a training, by the names of ``schemas.jobs.TrainJob``.

    Args:
        values: the command's parameters by their names, with a backbone.

    Raises:
        SettingsError: An option cannot be used.
    """
    from sbka_milvus.encoders.spec import key_values
    from sbka_milvus.training.options import TrainingOptions

    values = values | {"backbone_options": key_values(values["option"] or [])}
    chosen = {name: value for name, value in values.items() if name in TrainingOptions.model_fields}
    chosen["trainable"] = chosen["trainable"] or recipe.trainable_of(values["backbone"])
    return {
        **{name: values[name] for name in _WISHED},
        **recipe.teacher_backbone(values),
        "device": values["device"] or "auto",
        "options": TrainingOptions.make(**chosen),
    }


def _request(wish: dict[str, Any], settings: Settings, *, fresh: bool) -> TrainRequest:
    """What is wished, by the names of ``schemas.jobs.TrainJob``, done here and now."""
    from sbka_milvus.encoders.backbones import BuildRequest
    from sbka_milvus.encoders.spec import BackboneSpec
    from sbka_milvus.images import Split
    from sbka_milvus.pipelines.train import TrainRequest, checkpoint_beside

    def backbone(prefix: str, options: str) -> BuildRequest:
        weights, size = wish[f"{prefix}weights"], wish[f"{prefix}size"]
        return BuildRequest(BackboneSpec.parse(wish[f"{prefix}backbone"]), weights, size=size, options=wish[options])

    return TrainRequest(
        **{name: wish[name] for name in (*_AS_WISHED, "options")},
        backbone=backbone("", "backbone_options"),
        teacher=backbone("teacher_", "teacher_options") if "teacher_backbone" in wish else None,
        teacher_bundle=wish["teacher"],
        split=None if wish["split"] is None else Split.load(wish["split"]),
        device=settings.device if wish["device"] == "auto" else wish["device"],
        decode_threads=settings.ingest.decode_processes,
        checkpoint=checkpoint_beside(wish["out"]),
        checkpoint_every_s=settings.training.checkpoint_every_s,
        fresh=fresh,
    )


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
