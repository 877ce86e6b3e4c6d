"""Published results, to stand beside a user's own run, and when they may be compared with it.

Source: the results table of SpLIP's authors (Singha, Jha, Gupta, Singla and Banerjee, "Elevating All Zero-Shot
Sketch-Based Image Retrieval Through Multimodal Prompt Learning", ECCV 2024, arXiv 2407.04207), which collects those of
the others. In percent. The papers mix protocols and the two forms of mAP@K.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.evaluation.report import EvaluationReport

SOURCE = "SpLIP's authors (arXiv 2407.04207), who collect the results of the others; percent"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One of the field's four benchmarks in full size.

    Attributes:
        name: as the papers call it.
        split_digest: hash of its class lists.
        n_gallery: photos of its unseen categories.
        n_queries: sketches of its unseen categories.
        metrics: the two figures that papers print for it.
    """

    name: str
    split_digest: str
    n_gallery: int
    n_queries: int
    metrics: tuple[str, str]


BENCHMARKS = (
    Benchmark("Sketchy-25", "db978ad0031a", 17_101, 15_229, ("mAP@all", "P@100")),
    Benchmark("Sketchy-21", "62cc45940f77", 12_553, 12_694, ("mAP@200", "P@200")),
    Benchmark("TU-Berlin", "2a69c49d5f84", 27_989, 2_400, ("mAP@all", "P@100")),
    Benchmark("QuickDraw", "54d647104b3c", 54_151, 92_291, ("mAP@all", "P@200")),
)
"""In the order of the columns of :data:`PUBLISHED`."""

PUBLISHED: dict[str, tuple[str, str, str, str]] = {
    "SAKE": ("54.7 / 69.2", "49.7 / 59.8", "47.5 / 59.9", "–"),
    "TVT": ("64.8 / 79.6", "53.1 / 61.8", "48.4 / 66.2", "14.9 / 29.3"),
    "PSKD": ("68.8 / 78.6", "56.0 / 64.5", "50.2 / 66.2", "15.0 / 29.8"),
    "ZSE-RN": ("69.8 / 79.7", "52.5 / 62.4", "54.2 / 65.7", "14.5 / 21.6"),
    "CLIP-AT": ("–", "72.3 / 72.5", "65.1 / 73.2", "20.2 / 38.8"),
    "TLT": ("77.9 / 84.3", "66.1 / 73.0", "61.5 / 69.5", "27.8 / –"),
    "SpLIP": ("80.2 / 86.7", "76.4 / 77.3", "73.1 / 78.2", "34.2 / 44.6"),
}
"""Method to its two figures on each benchmark, in percent."""


def benchmark_of(report: EvaluationReport) -> Benchmark | None:
    """The benchmark whose classes a report's split has, whatever the size of the run; None where it is another one."""
    return next((known for known in BENCHMARKS if known.split_digest == report.split_digest), None)


def comparable(report: EvaluationReport) -> str:
    """Whether a report's figures may be held against published ones, in words for its reader."""
    known = benchmark_of(report)
    if known is None:
        return (
            f"Not comparable with published figures: the split {report.split_name!r} ({report.split_digest}) is none "
            "of the field's four."
        )
    if report.seen is not None:
        return "Not comparable with published figures of zero-shot retrieval: seen photos are in the gallery."
    if (report.n_gallery, report.n_queries) != (known.n_gallery, known.n_queries):
        return (
            f"Not comparable with published figures: this run has {report.n_gallery:,} photos and "
            f"{report.n_queries:,} sketches, the full {known.name} {known.n_gallery:,} and {known.n_queries:,}. "
            "Figures from a subset are real, and easier or harder than those of the whole."
        )
    return (
        f"Gallery and queries have the size of the full {known.name}. Published figures mix protocols and forms of "
        f"mAP@K; this run is {report.protocol!r}."
    )


def published_table(report: EvaluationReport) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Published figures, in percent, with this run's methods below them in the column of its benchmark.

    A run on another split stands in no column.
    """
    header = ("method", *(f"{known.name}\n{' / '.join(known.metrics)}" for known in BENCHMARKS))
    rows: list[tuple[str, ...]] = [(method, *figures) for method, figures in PUBLISHED.items()]
    own = benchmark_of(report)
    if own is not None:
        for row in report.rows:
            cells = ["–"] * len(BENCHMARKS)
            figures = (f"{100 * row.values[name]:.1f}" if name in row.values else "–" for name in own.metrics)
            cells[BENCHMARKS.index(own)] = " / ".join(figures)
            rows.append((f"this run, {row.method}", *cells))
    return header, tuple(rows)
