"""An evaluation as one HTML page, and its plots as files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sbka_milvus.errors import ImageError
from sbka_milvus.evaluation import (
    EvaluationReport,
    Example,
    MethodScores,
    comparable,
    protocol_named,
    published_table,
    score_table,
)
from sbka_milvus.evaluation.plots import draw_categories, draw_precision_recall
from sbka_milvus.evaluation.published import SOURCE
from sbka_milvus.files import replacing
from sbka_milvus.images import load_sketch
from sbka_milvus.images.source import printable
from sbka_milvus.pipelines.sheet import thumbnail
from sbka_milvus.sheets import SheetHit, SheetPlot, SheetRow, SheetSection, SheetTable, write_page

PLOTS = {"precision-recall.png": draw_precision_recall, "categories.png": draw_categories}
"""File name of each plot to what draws it."""

_SKETCH_SIDE = 160
_GREY = (225, 225, 225)


def write_plots(report: EvaluationReport, folder: Path) -> list[Path]:
    """Writes each plot as a PNG file to a folder, which is made where there is none; returns the files.

    Raises:
        OutputError: A file cannot be written.
    """
    written = []
    for name, draw in PLOTS.items():
        picture = draw(report)
        with replacing(folder / name) as file:
            file.write(picture)
        written.append(folder / name)
    return written


def write_evaluation_page(report: EvaluationReport, path: Path) -> None:
    """Writes all of a report to one HTML file that needs no other file, no network and no scripts.

    Sketches and photos of the examples are read again from where they were; those that are gone are grey.

    Raises:
        OutputError: The file cannot be written.
    """
    sections = [_methods(report), *_more_tables(report), _published(report), _categories(report), *_examples(report)]
    if report.notes:
        sections.append(SheetSection("Notes", tuple(map(printable, report.notes))))
    title = f"Evaluation of {printable(report.data_set)}, split {report.split_name}"
    write_page(sections, path, title=title, facts=_facts(report))


def _facts(report: EvaluationReport) -> list[tuple[str, str]]:
    facts = [
        ("Data set", printable(report.data_set)),
        ("Split", f"{report.split_name} ({report.split_digest})"),
        ("Protocol", report.protocol),
        ("Sketches", f"{report.n_queries:,} of {report.n_categories} categories"),
        ("Photos in the gallery", f"{report.n_gallery:,}"),
        ("Clusters", f"{report.n_clusters:,}, cluster weight {report.cluster_weight:g}"),
        ("Model", report.fingerprint),
    ]
    if report.deduplicated is not None:
        facts.append(("Photos, each once", f"{report.deduplicated.n_gallery:,}"))
    if report.seen is not None:
        facts.append(("Seen photos among them", f"{report.seen.n_photos:,} ({report.seen.share:.0%} of the seen)"))
    return facts


def _methods(report: EvaluationReport) -> SheetSection:
    rules = protocol_named(report.protocol)
    texts = [
        comparable(report),
        f"Protocol {rules.name!r}: {rules.describe()}. mAP@K is strict: it divides by min(K, relevant); "
        "mAP@K lenient divides by the hits among the first K. The two are not comparable.",
    ]
    if report.resampling is not None:
        texts.append(
            f"Below each figure: {report.resampling.level:.0%} interval, percentile bootstrap over "
            f"{report.resampling.over} ({report.resampling.resamples} resamples, seed {report.resampling.seed})."
        )
    plot = SheetPlot(
        draw_precision_recall(report), "Precision against recall, interpolated, averaged as the protocol averages."
    )
    return SheetSection("Methods", tuple(texts), (SheetTable(*report.table(intervals=True)),), (plot,))


def _more_tables(report: EvaluationReport) -> list[SheetSection]:
    sections = []
    if report.deduplicated is not None:
        text = (
            f"Photos of one category and file name, or of one category and content, count once: "
            f"{report.deduplicated.n_gallery:,} of {report.n_gallery:,} photos stay. "
            "The others are passed over in the rankings; the clusters are those of the whole gallery."
        )
        table = SheetTable(*score_table(_side_by_side(report.rows, report.deduplicated.rows), intervals=True))
        sections.append(SheetSection("Each photo once", (text,), (table,)))
    if report.drawn is not None:
        text = (
            f"The very photo that was drawn, told by the file names of {report.drawn.n_queries:,} sketches: how often "
            "it is among the first K photos of the gallery, or of its category."
        )
        table = SheetTable(*score_table(report.drawn.rows, intervals=True))
        sections.append(SheetSection("The photo that was drawn", (text,), (table,)))
    if report.differences:
        rows = tuple(
            (
                f"{one.method} over {one.baseline}",
                one.metric,
                _signed(one.value),
                f"{_signed(one.low)} to {_signed(one.high)}",
                f"{one.share_above:.1%}",
            )
            for one in report.differences
        )
        header = ("methods", "metric", "difference", "interval", "resamples above")
        text = "Paired bootstrap: both methods on the same queries drawn anew. An interval without 0 is a difference."
        sections.append(SheetSection("Differences", (text,), (SheetTable(header, rows),)))
    return sections


def _side_by_side(rows: tuple[MethodScores, ...], once: tuple[MethodScores, ...]) -> tuple[MethodScores, ...]:
    pairs = zip(rows, once, strict=True)
    return tuple(
        row
        for standard, other in pairs
        for row in (standard, MethodScores(f"{other.method}, each photo once", other.values, other.intervals))
    )


def _published(report: EvaluationReport) -> SheetSection:
    table = SheetTable(*published_table(report), caption=f"Source: {SOURCE}.")
    return SheetSection("Published results", (comparable(report),), (table,))


def _categories(report: EvaluationReport) -> SheetSection:
    method = report.headline
    metrics = tuple(report.categories[0].values[method])
    header = ("category", "sketches", "photos", *metrics)
    ranked = sorted(report.categories, key=lambda one: -one.values[method]["mAP@all"])
    rows: tuple[tuple[str | int | float, ...], ...] = tuple(
        (_shown(one.name), one.n_queries, one.n_photos, *(one.values[method][name] for name in metrics))
        for one in ranked
    )
    plot = SheetPlot(draw_categories(report), f"Mean AP of each category's sketches, {method}.")
    return SheetSection(f"Categories, {method}", (), (SheetTable(header, rows),), (plot,))


def _examples(report: EvaluationReport) -> list[SheetSection]:
    sections = []
    for kind in ("best", "worst"):
        rows = tuple(_row(one) for one in report.examples if one.kind == kind)
        if rows:
            text = f"Of {report.headline}, by average precision; one of each category."
            sections.append(SheetSection(f"{kind.capitalize()} queries", (text,), rows=rows))
    return sections


def _row(example: Example) -> SheetRow:
    hits = tuple(SheetHit(thumbnail(hit.uri), _shown(Path(hit.uri).parent.name), hit.right) for hit in example.hits)
    label = f"{_shown(example.category)}, AP {example.average_precision:.3f}"
    return SheetRow(_sketch(example.sketch), label, hits)


def _sketch(path: str) -> Image.Image:
    try:
        return load_sketch(path, size=_SKETCH_SIDE)
    except ImageError:
        return Image.new("RGB", (_SKETCH_SIDE, _SKETCH_SIDE), _GREY)


def _shown(name: str) -> str:
    return printable(name.replace("_", " "))


def _signed(value: float) -> str:
    """A difference to three decimals; what rounds to nothing has no sign.

    >>> _signed(0.0304), _signed(-0.0304), _signed(-0.0001)
    ('+0.030', '−0.030', '0.000')
    """
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}".replace("-", "−")
