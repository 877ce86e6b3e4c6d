"""``sbka retrain set``, ``show``, ``off`` and ``now``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sbka_milvus.cli import recipe

if TYPE_CHECKING:
    from datetime import datetime

    from sbka_milvus.embeddings import Gallery

app = typer.Typer(
    help="Say when a gallery gets a newly trained model, and see what became of it.", no_args_is_help=True
)

SET_EPILOG = """\
[bold]Examples[/bold]

sbka retrain set gallery/ --photos photos/ --sketches sketches/ --split split.json --every 24h --held-out held-out/

sbka retrain set gallery/ --photos photos/ --sketches sketches/ --after-pairs 50 --on-drift 0.25 --epochs 10

sbka retrain set gallery/ --photos photos/ --pseudo-sketches --every 7d --training head=cosine --training ema_decay=0.99
"""

MORE = "More"
_GALLERY = Annotated[Path, typer.Argument(help="The gallery's folder.", show_default=False)]
_JSON = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
_AS_SAID = (
    "photos", "sketches", "split", "backbone", "weights", "size", "backbone_options", "affinity", "semantics",
    "teacher", "knowledge_names", "tensorboard", "device", "precision",
)  # fmt: skip
_UNITS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


@app.command("set", epilog=SET_EPILOG)
def set_(
    gallery: _GALLERY,
    photos: Annotated[Path, typer.Option(help="Folder of photos, one folder a category; or a file list.")],
    sketches: Annotated[
        Path | None,
        typer.Option(help="Folder of sketches, one folder or .ndjson a category; or a file list. Feedback joins them."),
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="JSON with lists 'seen' and 'unseen', or a folder of file lists.")
    ] = None,
    pseudo_sketches: Annotated[
        bool, typer.Option("--pseudo-sketches", help="Make sketches from the photos, too.")
    ] = False,
    every: Annotated[str | None, typer.Option(help="Retrain at least this often: 90m, 24h, 7d.")] = None,
    after_pairs: Annotated[int | None, typer.Option(min=1, help="Retrain after so many new verdicts.")] = None,
    on_drift: Annotated[float | None, typer.Option(help="Retrain where cluster drift is above this: 0.25.")] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Labelled sketches on which the new model must be as good as the old one.")
    ] = None,
    max_loss: Annotated[float, typer.Option(help="mAP that the new model may lose on them.")] = 0.01,
    min_agreement: Annotated[
        float, typer.Option(help="Without labelled sketches: overlap of both models' top hits on feedback sketches.")
    ] = 0.3,
    force: Annotated[bool, typer.Option("--force", help="Switch whatever the figures say.")] = False,
    rest: Annotated[str, typer.Option(help="Rest after each retraining.")] = "1h",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 20,
    mode: Annotated[Literal["ce", "one_way", "bidirectional"], typer.Option(help="As `sbka train`.")] = "bidirectional",
    backbone: Annotated[str, typer.Option(help="What to start from; by default the gallery's model's.")] = "",
    weights: Annotated[Path | None, typer.Option(help="Local weights of the backbone.", rich_help_panel=MORE)] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Side of the input.", rich_help_panel=MORE)] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Argument of the backbone, KEY=VALUE.", rich_help_panel=MORE)
    ] = None,
    affinity: Annotated[
        Path | None, typer.Option(help="npz of category-to-ImageNet affinities.", rich_help_panel=MORE)
    ] = None,
    semantics: recipe.Semantics = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0.", rich_help_panel=MORE)] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "fp32_channels_last", "bf16"],
        typer.Option(help="Number format of the networks.", rich_help_panel=MORE),
    ] = "auto",
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="Folder in which each retraining has one for TensorBoard's files.", rich_help_panel=MORE),
    ] = None,
    teacher: recipe.Teacher = None,
    teacher_backbone: recipe.TeacherBackbone = "",
    teacher_weights: recipe.TeacherWeights = None,
    teacher_size: recipe.TeacherSize = None,
    teacher_option: recipe.TeacherOption = None,
    knowledge_names: recipe.KnowledgeNames = None,
    training: Annotated[
        list[str] | None,
        typer.Option(
            help="Any further option of `sbka train`'s recipe and teacher, KEY=VALUE: learning_rate=0.001.",
            rich_help_panel=MORE,
        ),
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Set when and how a gallery is retrained; replaces what was set before."""
    given = dict(locals())  # before anything else is named: the parameters, by the names of what they choose
    from sbka_milvus.cli.retrain_report import show_retraining
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.encoders.spec import key_values
    from sbka_milvus.pipelines.retraining import RetrainingPolicy, register
    from sbka_milvus.settings import load_settings
    from workers.retraining import require_retrainable

    settings, opened = load_settings(), Gallery.open(gallery)
    own = {} if backbone else _own_backbone(opened)
    values = given | {
        "backbone": backbone or own.get("backbone", settings.backbone),
        "size": size or own.get("size"),
        "backbone_options": own.get("options", {}) | key_values(option or []),
    }
    said = {"epochs": epochs, "mode": mode, "pseudo_sketches": pseudo_sketches}
    policy = RetrainingPolicy.make(
        **{name: values[name] for name in _AS_SAID},
        **recipe.teacher_backbone(values),
        options={"trainable": recipe.trainable_of(values["backbone"]), **said} | key_values(training or []),
        gate={"held_out": held_out, "max_loss": max_loss, "min_agreement": min_agreement, "force": force},
        every_hours=None if every is None else hours(every),
        after_pairs=after_pairs,
        drift_above=on_drift,
        rest_hours=hours(rest),
    )
    require_retrainable(opened, policy, settings)
    if policy.drift_above is not None:
        _begin_drift(opened, policy.since)
    policy.save(opened.root)
    register(settings.workspace, opened)
    show_retraining(opened, as_json)


@app.command("show")
def show(gallery: _GALLERY, as_json: _JSON = False) -> None:
    """Show the policy, what became of earlier retrainings, and whether the next is due and why."""
    from sbka_milvus.cli.retrain_report import show_retraining
    from sbka_milvus.embeddings import Gallery

    show_retraining(Gallery.open(gallery), as_json)


@app.command("off")
def off(gallery: _GALLERY) -> None:
    """Stop retraining a gallery by itself; the policy is kept, and `sbka retrain now` still works."""
    from sbka_milvus.cli.console import out, printable
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.pipelines.retraining import RetrainingPolicy, unregister
    from sbka_milvus.settings import load_settings

    opened = Gallery.open(gallery)
    RetrainingPolicy.load(opened.root).model_copy(update={"enabled": False}).save(opened.root)
    unregister(load_settings().workspace, opened)
    out.print(f"{printable(gallery)} is no longer retrained by itself; a running job goes on.", highlight=False)


@app.command("now")
def now(
    gallery: _GALLERY,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.")] = "asked for by hand",
    as_json: _JSON = False,
) -> None:
    """Retrain a gallery in the background now, by its policy."""
    from sbka_milvus.cli.console import out, print_json
    from workers.submit import submit_retrain

    job = submit_retrain(gallery, reason)
    if as_json:
        print_json({"job": job.id})
        return
    out.print(f"job {job.id}\nNext: sbka jobs watch {job.id}", highlight=False)


def hours(text: str) -> float:
    """A time such as 90m, 24h or 7d, in hours.

    Raises:
        SettingsError: It has another form.

    >>> hours("90m"), hours("24h"), hours("7d")
    (1.5, 24.0, 168.0)
    """
    from sbka_milvus.errors import SettingsError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text.strip())
    if match is None:
        raise SettingsError(f"{text!r} is no time.", "Write 90m, 24h or 7d.")
    return float(match[1]) * _UNITS[match[2]]


def _own_backbone(gallery: Gallery) -> dict[str, Any]:
    """What the gallery's model was made from; nothing where it cannot be read."""
    from sbka_milvus.encoders.manifest import read_manifest
    from sbka_milvus.errors import BundleError

    try:
        manifest = read_manifest(gallery.model_folder)
    except BundleError:
        return {}
    return {
        "backbone": manifest.backbone,
        "options": manifest.options,
        "size": manifest.preprocessing.get("size"),
    }


def _begin_drift(gallery: Gallery, time: datetime) -> None:
    """A gallery that was indexed before drift was measured has no reference yet."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.embeddings.shards import read_embeddings
    from sbka_milvus.pipelines.reference import ensure_reference, has_reference

    if has_reference(gallery):
        return
    with ConsoleProgress().stage("Noting the gallery's clusters"):
        embeddings = read_embeddings(gallery.shard_folder, gallery.fingerprint)
        if embeddings is not None:
            ensure_reference(gallery, embeddings, None, time)
