"""The plot of a training: losses, learning rates, and how well unseen categories would be found."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from sbka_milvus.files import replacing
from sbka_milvus.training.history import EpochRecord, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c510a")
"""Okabe and Ito's colours, which colour-blind readers tell apart, and two more."""


def draw_training(history: History, path: Path) -> None:
    """Writes a PNG with one point an epoch.

    Args:
        history: of at least one epoch.
        path: the file; it is replaced as a whole.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    losses, rates, found = figure.subplots(3, 1, sharex=True)
    _losses(losses, history.epochs)
    _rates(rates, history.epochs)
    _found(found, history)
    starts = next((record.epoch for record in history.epochs if record.teacher_learns), None)
    for panel in (losses, rates, found):
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        if starts is not None:
            panel.axvline(starts - 0.5, color="#555555", linestyle=":", linewidth=1.2)
    if starts is not None:
        losses.annotate(
            "teacher learns", (starts - 0.5, 1.0), (4, -2), xycoords=losses.get_xaxis_transform(),
            textcoords="offset points", va="top", fontsize=8, color="#555555",
        )  # fmt: skip
    found.set_xlabel("epoch")
    found.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    found.set_xlim(0.4, len(history.epochs) + 0.6)
    content = BytesIO()
    figure.savefig(content, format="png")
    with replacing(path) as file:
        file.write(content.getvalue())


def _losses(panel: Axes, epochs: list[EpochRecord]) -> None:
    names = list(dict.fromkeys(name for record in epochs for name in record.losses))
    for name, colour in zip(names, _INK * len(names), strict=False):
        points = [(record.epoch, record.losses[name]) for record in epochs if record.losses.get(name, 0.0) > 0]
        if points:
            panel.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=name.replace("_", " "))
    _logarithmic(panel)
    panel.set_ylabel("weighted loss")
    _legend(panel)


def _rates(panel: Axes, epochs: list[EpochRecord]) -> None:
    numbers = [record.epoch for record in epochs]
    panel.plot(numbers, [r.learning_rate for r in epochs], marker="o", markersize=3, color=_INK[0], label="student")
    points = [(r.epoch, r.teacher_learning_rate) for r in epochs if r.teacher_learning_rate is not None]
    if points:
        panel.plot(*zip(*points, strict=True), marker="s", markersize=3, color=_INK[1], label="teacher")
    _logarithmic(panel)
    panel.set_ylabel("learning rate")
    _legend(panel)


def _found(panel: Axes, history: History) -> None:
    panel.set_ylabel("mAP@all, pseudo-unseen")
    points = [(record.epoch, record.validation_map) for record in history.epochs if record.validation_map is not None]
    if not points:
        panel.text(0.5, 0.5, "no categories were held out", transform=panel.transAxes, ha="center", color="#555555")
        panel.set_yticks([])
        return
    panel.plot(*zip(*points, strict=True), marker="o", markersize=3, color=_INK[0], label="one-to-one")
    if history.best_epoch is not None and history.best_map is not None:
        label = f"the model:\nepoch {history.best_epoch}, {history.best_map:.3f}"
        panel.plot(
            history.best_epoch,
            history.best_map,
            marker="*",
            markersize=13,
            color=_INK[1],
            linestyle="none",
            label=label,
        )
    _legend(panel)
    panel.margins(y=0.1)


def _logarithmic(panel: Axes) -> None:
    if panel.dataLim.minposy < float("inf"):
        panel.set_yscale("log")


def _legend(panel: Axes) -> None:
    if not panel.get_legend_handles_labels()[0]:
        return
    panel.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
