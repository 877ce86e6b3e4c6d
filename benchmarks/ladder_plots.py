"""The ladder as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

CHOSEN = ("one-to-one", "one-to-many", "linear system", "full system")


def draw_rows(found: dict[str, Any], path: Path) -> None:
    """Every way of ranking, for the frozen backbone and for the fixed teacher's student."""
    arms = [arm for arm in ("frozen", "one_way") if arm in found["arms"]] or list(found["arms"])[:1]
    rows = list(found["arms"][arms[0]]["unseen"])
    figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(rows) + 1.6), layout="constrained")
    height = 0.8 / len(arms)
    for number, arm in enumerate(arms):
        figures = [found["arms"][arm]["unseen"][row]["mAP@all"] for row in rows]
        at = [place + (number - (len(arms) - 1) / 2) * height for place in range(len(rows))]
        means = [one["mean"] for one in figures]
        ends = [[one["mean"] - one["min"] for one in figures], [one["max"] - one["mean"] for one in figures]]
        drawn = axes.barh(at, means, height * 0.92, xerr=ends, label=arm.replace("_", "-"), error_kw={"lw": 1})
        axes.bar_label(drawn, [f" {mean:.3f}" for mean in means], padding=3, fontsize=8)
    axes.axvline(found["arms"][arms[0]]["chance"], color="0.4", lw=1, ls=":", label="chance")
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlim(0, max(axes.get_xlim()[1] * 1.08, 0.1))
    axes.set_xlabel("mAP@all, unseen categories; mean over seeds, whiskers: smallest and largest")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def draw_arms(found: dict[str, Any], path: Path) -> None:
    """Every training, ranked in four ways."""
    arms = list(found["arms"])
    figure, axes = pyplot.subplots(figsize=(max(7.0, 1.15 * len(arms) + 2.5), 4.6), layout="constrained")
    width = 0.8 / len(CHOSEN)
    for number, row in enumerate(CHOSEN):
        figures = [found["arms"][arm]["unseen"][row]["mAP@all"] for arm in arms]
        at = [place + (number - (len(CHOSEN) - 1) / 2) * width for place in range(len(arms))]
        ends = [[one["mean"] - one["min"] for one in figures], [one["max"] - one["mean"] for one in figures]]
        axes.bar(at, [one["mean"] for one in figures], width * 0.92, yerr=ends, label=row, error_kw={"lw": 1})
    labels = [arm.replace("_", "\n") for arm in arms]
    axes.set_xticks(range(len(arms)), labels, fontsize=9)
    axes.axhline(found["arms"][arms[0]]["chance"], color="0.4", lw=1, ls=":")
    axes.set_ylabel("mAP@all, unseen categories")
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
