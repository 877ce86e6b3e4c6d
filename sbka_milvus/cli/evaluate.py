"""``sbka evaluate``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sbka_milvus.evaluation import EvaluationReport, MethodScores

EPILOG = """\
[bold]Examples[/bold]

sbka evaluate --gallery gallery/ --sketches sketches/ --split split.json

sbka evaluate --photos photos/ --model model/ --sketches sketches/ --split split.json --json

sbka evaluate -g gallery/ --sketches sketches/ --split split.json --protocol sake --map-k 200 --k 100 --k 200

sbka evaluate --photos photos/ -m model/ --sketches sketches/ --split split.json --generalised --report report.html

sbka evaluate -g gallery/ --sketches sketches/ --split split.json --deduplicate --plots plots/ -o report.json
"""


class ProtocolName(StrEnum):
    """The protocols; a test compares them with those of the library, which are not loaded for --help."""

    plain = "plain"
    sake = "sake"
    zse = "zse"


class IntervalsOver(StrEnum):
    """What is drawn anew for the intervals."""

    queries = "queries"
    categories = "categories"


def evaluate(
    sketches: Annotated[Path, typer.Option(help="Folder of sketches, one folder a category; or a file list.")],
    split: Annotated[
        Path,
        typer.Option(help="JSON with the list 'unseen', or a folder of file lists: these categories are evaluated."),
    ],
    gallery: Annotated[
        Path | None, typer.Option("--gallery", "-g", help="A gallery: its real search is scored.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Instead of a gallery: a folder of photos, or a file list.")
    ] = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="With --photos: the model.")] = None,
    clusters: Annotated[int, typer.Option(min=0, help="With --photos: clusters; 0: chosen from their number.")] = 0,
    protocol: Annotated[
        ProtocolName,
        typer.Option(
            help="plain: AP not interpolated, mean over sketches, P@K = hits / K. sake: AP interpolated, mean over "
            "categories, hits / min(K, gallery). zse: AP interpolated, mean over sketches, hits / min(K, relevant)."
        ),
    ] = ProtocolName.plain,
    k: Annotated[list[int] | None, typer.Option(min=1, help="Cut-off of P@K; may come several times.")] = None,
    map_k: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Cut-off of mAP@K, shown strict and lenient; may come several times."),
    ] = None,
    generalised: Annotated[
        bool, typer.Option("--generalised", help="With --photos: a share of the seen photos joins the gallery.")
    ] = False,
    seen_share: Annotated[
        float, typer.Option(min=0.0001, max=1.0, help="With --generalised: that share; 0.2 is OCEAN's.")
    ] = 0.2,
    deduplicate: Annotated[
        bool, typer.Option("--deduplicate", help="Score the gallery without its doubles, too, beside the standard one.")
    ] = False,
    intervals: Annotated[bool, typer.Option(help="95 % intervals of all figures, by bootstrap.")] = True,
    intervals_over: Annotated[
        IntervalsOver, typer.Option(help="What the bootstrap draws: sketches, or whole categories of them.")
    ] = IntervalsOver.queries,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals, the share of seen photos, simulated chance.")] = 0,
    report: Annotated[Path | None, typer.Option("--report", help="Write an HTML page with everything here.")] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Write the plots as PNG into this folder.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the report as JSON here, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score sketches of unseen categories: mAP@all, mAP@K, P@K, one-to-one and one-to-many, beside chance."""
    from sbka_milvus.cli.console import ConsoleProgress, print_json
    from sbka_milvus.errors import SettingsError
    from sbka_milvus.evaluation import EvaluationPlan, Resampling
    from sbka_milvus.evaluation.plan import DEFAULT_MAP_KS, DEFAULT_PRECISION_KS
    from sbka_milvus.factory import evaluate_folder, evaluate_gallery_folder, write_evaluation
    from sbka_milvus.files import replacing
    from sbka_milvus.images import Split
    from sbka_milvus.settings import load_settings

    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"The page {report} is of no known kind.", "Name it .html; -o writes JSON.")
    plan = EvaluationPlan(
        protocol=protocol.value,
        ks=tuple(k or DEFAULT_PRECISION_KS),
        map_ks=tuple(map_k or DEFAULT_MAP_KS),
        deduplicate=deduplicate,
        seen_share=seen_share if generalised else None,
        seed=seed,
        resampling=Resampling(seed=seed, over=intervals_over.value) if intervals else None,
    )
    settings, progress, loaded = load_settings(), ConsoleProgress(), Split.load(split)
    if gallery is not None and photos is None and model is None:
        found = evaluate_gallery_folder(gallery, sketches, loaded, settings, progress, plan)
    elif gallery is None and photos is not None and model is not None:
        found = evaluate_folder(photos, model, sketches, loaded, settings, progress, clusters, plan)
    else:
        raise SettingsError("What to evaluate is not clear.", "Give --gallery, or --photos together with --model.")
    if out is not None:
        with replacing(out) as file:
            file.write(found.to_json().encode())
    for path in write_evaluation(found, page=report, plots=plots):
        progress.say(f"written: {path}")
    if as_json:
        print_json(json.loads(found.to_json()))
    else:
        _show(found)


def _show(report: EvaluationReport) -> None:
    from sbka_milvus.cli.console import out as console
    from sbka_milvus.cli.console import print_table, printable
    from sbka_milvus.evaluation import comparable

    print_table(
        f"{printable(report.data_set)}, split {report.split_name} ({report.split_digest}), protocol {report.protocol}: "
        f"{report.n_queries} sketches, {report.n_gallery} photos, {report.n_clusters} clusters",
        *_columns(report.rows),
        no_wrap=1,
    )
    if report.deduplicated is not None:
        print_table(f"Each photo once: {report.deduplicated.n_gallery} photos", *_columns(report.deduplicated.rows))
    if report.drawn is not None:
        title = f"The photo that was drawn, {report.drawn.n_queries} sketches"
        print_table(title, *_columns(report.drawn.rows))
    if report.resampling is not None:
        console.print(
            f"note in brackets: {report.resampling.level:.0%} intervals, bootstrap over {report.resampling.over}",
            highlight=False,
        )
    for note in (*report.notes, comparable(report)):
        console.print(f"note {printable(note)}", highlight=False)


def _columns(rows: tuple[MethodScores, ...]) -> tuple[list[str], list[list[str]]]:
    """A column a method, which with intervals fits a terminal where a row a method does not."""

    def cell(row: MethodScores, metric: str) -> str:
        ends = row.intervals.get(metric)
        return f"{row.values[metric]:.3f}" + ("" if ends is None else f" ({ends[0]:.3f}–{ends[1]:.3f})")

    header = ["metric", *(row.method for row in rows)]
    return header, [[metric, *(cell(row, metric) for row in rows)] for metric in rows[0].values]
