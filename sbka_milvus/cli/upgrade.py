"""``sbka upgrade``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sbka_milvus.cli.matching import Matching

EPILOG = """\
The gate: with --held-out the new version may not lose mAP; without, its hits must agree with those of the
served version on --query, or on the gallery's feedback sketches.

Exit codes: 0 switched, 1 an error, 4 the gate kept the old model.

[bold]Examples[/bold]

sbka upgrade gallery/ --model better-model/ --held-out sketches/

sbka upgrade gallery/ --model better-model/ --query cat.png --query dog.png --background
"""


def upgrade(
    gallery: Annotated[Path, typer.Argument(help="The gallery's folder.", show_default=False)],
    model: Annotated[Path, typer.Option("--model", "-m", help="The new model.")],
    held_out: Annotated[
        Path | None, typer.Option(help="Folder of labelled sketches that no training has seen, one folder a category.")
    ] = None,
    query: Annotated[list[Path] | None, typer.Option(help="A sketch without a label; may be given often.")] = None,
    max_loss: Annotated[float, typer.Option(min=0.0, max=1.0, help="mAP that the new model may lose.")] = 0.01,
    min_agreement: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the first hits that both must have in common.")
    ] = 0.3,
    max_missing: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the served photos that may be unreadable now.")
    ] = 0.01,
    force: Annotated[bool, typer.Option("--force", help="Switch whatever the gate says.")] = False,
    clusters: Annotated[int, typer.Option(min=0, help="Clusters; 0: chosen from the photos.")] = 0,
    matching: Annotated[
        Matching | None,
        typer.Option(help="How sketches are matched; by default SBKA_INGEST__MATCHING. auto: linear if the model can."),
    ] = None,
    background: Annotated[
        bool, typer.Option("--background", help="Let workers do it; prints the job's id and returns.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Embed a gallery anew with another model, measure it, and switch if the gate lets it pass: no search notices."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.cli.jobs import announce, finish
    from sbka_milvus.settings import load_settings
    from workers.here import do_here
    from workers.submit import submit, upgrade_request

    settings = load_settings()
    gate = {
        "held_out": held_out,
        "queries": query or [],
        "max_loss": max_loss,
        "min_agreement": min_agreement,
        "max_missing": max_missing,
        "force": force,
    }
    form = None if matching is None else matching.value
    request = upgrade_request(gallery, model, gate, n_clusters=clusters, matching=form)
    if background:
        announce(submit(request, settings), as_json=as_json)
        return
    finish(do_here(request, settings, ConsoleProgress()).status(), as_json=as_json)
