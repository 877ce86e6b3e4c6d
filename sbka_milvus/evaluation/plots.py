"""Plots of an evaluation, as PNG: drawn without a display, on white, in colours that the colour-blind tell apart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.report import EvaluationReport
from sbka_milvus.evaluation.tally import RECALL_LEVELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito (2008)
_LINES = ("-", "--", "-.", ":")
_DPI = 130
_BAR_HEIGHT = 0.24  # inches a category


def draw_precision_recall(report: EvaluationReport) -> bytes:
    """The precision-recall curve of each method, with chance as a level line.

    Precision is interpolated at 21 levels of recall, averaged over queries as the report's protocol averages.

    Returns:
        A PNG picture.

    Raises:
        InvalidValue: The report has no curves.
    """
    if not report.curves:
        raise InvalidValue("The report has no precision-recall curves.", "Evaluate again.")
    with _axes((7.0, 4.6)) as (axes, picture):
        for number, (method, curve) in enumerate(report.curves.items()):
            style = _LINES[number // len(_COLOURS) % len(_LINES)]
            axes.plot(RECALL_LEVELS, curve, style, color=_COLOURS[number % len(_COLOURS)], label=method, linewidth=2)
        chance = sum(one.n_queries * one.n_photos for one in report.categories) / report.n_queries / report.n_gallery
        axes.axhline(chance, color="#6e7781", linewidth=1, linestyle=(0, (2, 3)), label="chance")
        # Low curves would lie flat on the ground of a scale up to 1.
        top = min(1.02, math.ceil(10 * max(chance, *map(max, report.curves.values())) + 0.5) / 10)
        axes.set(xlim=(0, 1), ylim=(0, top), xlabel="recall", ylabel="precision (interpolated)")
        axes.grid(True, color="#d8dee4", linewidth=0.7)
        axes.legend(frameon=False)
    return picture.getvalue()


def draw_categories(report: EvaluationReport) -> bytes:
    """The mean AP of each category's queries by the report's headline method, best above, with the overall figure.

    Returns:
        A PNG picture.

    Raises:
        InvalidValue: The report has no categories.
    """
    if not report.categories:
        raise InvalidValue("The report has no categories.", "Evaluate again.")
    method = report.headline
    ranked = sorted(report.categories, key=lambda one: (one.values[method]["mAP@all"], one.name))
    names = [_shown(one.name) for one in ranked]
    values = [one.values[method]["mAP@all"] for one in ranked]
    overall = report.score(method, "mAP@all")
    with _axes((7.0, 1.3 + _BAR_HEIGHT * len(ranked))) as (axes, picture):
        bars = axes.barh(range(len(ranked)), values, color=_COLOURS[0], height=0.72)
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # the line of the mean may pass behind
        axes.bar_label(bars, fmt="%.2f", padding=4, fontsize=8, color="#59636e", bbox=ground)
        axes.axvline(overall, color=_COLOURS[1], linewidth=1.5, linestyle="--", label=f"overall: {overall:.3f}")
        axes.set_yticks(range(len(ranked)), names, fontsize=8)
        axes.set(xlim=(0, 1.06), ylim=(-0.7, len(ranked) - 0.3), xlabel=f"mean AP over all ranks, {method}")
        axes.grid(True, axis="x", color="#d8dee4", linewidth=0.7)
        axes.legend(frameon=False, loc="lower right")
    return picture.getvalue()


@contextmanager
def _axes(size: tuple[float, float]) -> Iterator[tuple[Axes, BytesIO]]:
    """Axes to draw on, and the file that holds the picture when the block has ended."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot: it keeps figures and a backend of its own for the whole process.
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    picture = BytesIO()
    yield axes, picture
    with warnings.catch_warnings():
        # A category's name in a script that the font lacks is drawn as boxes; that is no news to anybody.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(picture, format="png", dpi=_DPI, metadata={"Software": None})


def _shown(name: str) -> str:
    """A category's name in letters that a plot can show; a "$" would start a formula."""
    return name.replace("_", " ").encode("utf-8", "replace").decode().replace("$", r"\$")
