"""Searches as pictures: latency by size, work by weight, agreement by probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

WAYS = (
    "default",
    "exact",
    "default, no codes",
    "16 probes",
    "whole, HNSW",
    "whole, HNSW, recall 0.99",
    "whole, partitions",
)


def draw(report: dict[str, Any], folder: Path) -> None:
    """Writes search-latency.png, search-work.png and search-probes.png."""
    draw_latency(report, folder / "search-latency.png")
    if "curves" in report:
        draw_work(report["curves"], folder / "search-work.png")
        draw_probes(report["curves"], folder / "search-probes.png")


def draw_latency(report: dict[str, Any], path: Path) -> None:
    """Median latency of the top 20 by the number of photos."""
    figure, axes = pyplot.subplots(figsize=(7, 4.4), layout="constrained")
    runs = sorted(
        (run for name, run in report["runs"].items() if name.startswith("lite")), key=lambda run: int(run["rows"])
    )
    for way in WAYS:
        found = [(run["rows"], run["top"]["20"][way]) for run in runs if way in run["top"]["20"]]
        if found:
            x = [rows for rows, _ in found]
            (line,) = axes.plot(x, [one["p50_ms"] for _, one in found], marker="o", label=way)
            axes.fill_between(
                x,
                [one["p50_ms"] for _, one in found],
                [one["p95_ms"] for _, one in found],
                alpha=0.12,
                color=line.get_color(),
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("photos in Milvus Lite")
    axes.set_ylabel("milliseconds a query, top 20: median to 95th percentile")
    figure.legend(loc="outside right center", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def draw_work(curves: dict[str, Any], path: Path) -> None:
    """Shares of the gallery that are compared by vectors and by codes, by weight."""
    figure, all_axes = pyplot.subplots(
        1, len(curves), figsize=(5.2 * len(curves), 4.2), layout="constrained", squeeze=False
    )
    for axes, (name, curve) in zip(all_axes[0], curves.items(), strict=True):
        weights = [float(weight) for weight in curve["weights"]]
        # Lines that lie on one another: the lower ones are wide and pale.
        for way, color, width in (("exact, no codes", "C2", 6.0), ("exact", "C1", 4.0), ("default", "C0", 1.5)):
            found = [one[way] for one in curve["weights"].values()]
            style: dict[str, Any] = {"color": color, "lw": width, "alpha": 1.0 if width < 2 else 0.45}
            axes.plot(weights, [100 * one["rows_share"] for one in found], label=f"{way}: vectors", **style)
            if any(one["codes_share"] for one in found):
                style |= {"ls": ":", "lw": 1.5 + width / 4, "alpha": 1.0}
                axes.plot(weights, [100 * one["codes_share"] for one in found], label=f"{way}: codes", **style)
            if any(one["halves_share"] for one in found):
                style |= {"ls": "--", "lw": 1.0, "alpha": 0.7}
                axes.plot(weights, [100 * one["halves_share"] for one in found], label=f"{way}: half codes", **style)
        axes.set_yscale("log")
        axes.set_xlabel("weight of the cluster score")
        axes.set_ylabel("% of the gallery compared with a query, top 20")
        axes.set_title(f"{name}: {curve['clusters']['photos']:,} photos", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*all_axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def draw_probes(curves: dict[str, Any], path: Path) -> None:
    """Agreement with the exact ranking by a fixed number of probes, and where the adaptive search lies."""
    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    for number, (name, curve) in enumerate(curves.items()):
        found = list(curve["probes"].values())
        color = f"C{number}"
        axes.plot(
            [one["clusters"] for one in found],
            [one["agreement"] for one in found],
            marker="o",
            color=color,
            label=f"{name}: fixed number of probes",
        )
        adaptive = curve["weights"]["0.8"]["default"]
        axes.plot(
            adaptive["clusters"], adaptive["agreement"], marker="*", ms=14, ls="", color=color, label=f"{name}: default"
        )
    axes.set_xscale("log", base=2)
    axes.set_xlabel("clusters looked into")
    axes.set_ylabel("share of the exact top 20 found, weight 0.8")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
