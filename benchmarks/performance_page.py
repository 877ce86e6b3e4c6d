"""Writes the figures of docs/performance.md from the results of search.py and latency.py, between its two marks.

python benchmarks/performance_page.py           # rewrites the page
python benchmarks/performance_page.py --check   # exits with 1 where the page tells something else
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

from recipes import ROOT
from search_plots import WAYS

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures -->", "<!-- end -->"
SMALL, LARGE, SERVER = "lite-10000", "lite-100000", "server-100000"
HNSW = "whole, HNSW"
IN_PROCESS = ("flat", "IVF, 16 probes", "HNSW")
AS_SURE_RATIO = "faster_than_hnsw_of_recall_0.99"
PLOTS = {
    "search-latency.png": "Latency by the number of photos",
    "search-work.png": "Share of the gallery that is compared, by the cluster's weight",
    "search-probes.png": "Agreement by the number of clusters looked into",
}


def main() -> None:
    """Writes, or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    runs = json.loads((RESULTS / "search.json").read_text())["runs"]
    latency = json.loads((RESULTS / "latency.json").read_text())
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    fresh = f"{before}{BEGIN}\n\n{figures(runs, latency)}\n{END}{after}"
    if arguments.check:
        sys.exit(0 if fresh == page else f"{PAGE} tells something else than the results: run this without --check.")
    PAGE.write_text(fresh, encoding="utf-8")


def figures(runs: dict[str, Any], latency: dict[str, Any]) -> str:
    """All of what stands between the marks."""
    lines = ["| | goal | measured |", "|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in (*of_lite(runs), *of_server(runs), *of_work(runs))]
    lines += [f"| {' | '.join(cells)} |" for cells in of_latency(latency)]
    columns = [(run, k) for run in (*sizes(runs), SERVER) for k in ("20", "100")]
    lines += ["", "Median and 95th percentile of one query, in ms:", ""]
    lines += [f"| | {' | '.join(f'{named(run)}, top {k}' for run, k in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for way in WAYS:
        found = [runs[run]["top"][k].get(way) for run, k in columns]
        cells = ["{p50_ms:.3g}, {p95_ms:.3g}".format(**one) if one else "" for one in found]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    lines += ["", "faiss in this process, top 20, plain cosine: ms (recall)", ""]
    lines += [f"| | {' | '.join(named(run) for run in sizes(runs))} |", "|---" * (len(sizes(runs)) + 1) + "|"]
    for way in IN_PROCESS:
        found = [runs[run]["faiss"].get(way) for run in sizes(runs)]
        cells = ["{p50_ms:.3g} ({recall:.2f})".format(**one) if one else "" for one in found]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    lines += [line for name, title in PLOTS.items() for line in ("", f"![{title}](../benchmarks/results/{name})")]
    return "\n".join(lines) + "\n"


def of_lite(runs: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Against Milvus Lite's own search."""
    large, small = (runs[run]["top"] for run in (LARGE, SMALL))
    agreement, recall = large["20"]["default"]["agreement"], large["20"][HNSW]["recall"]
    yield (
        "100,000 photos, Milvus Lite, top 20: times as fast as its whole-collection HNSW",
        "8 by default, agreement 0.99",
        f"**{times(large['20']['default'])}**, agreement {agreement:.4f} (HNSW's recall: {recall:.2f})",
    )
    yield "the same, certified exact", "3", f"**{times(large['20']['exact'])}**"
    yield "10,000 photos, top 20", "not slower", both(small["20"])
    yield "top 100: 100,000 photos; 10,000", "not slower", f"{both(large['100'])}; {both(small['100'])}"


def of_server(runs: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Against a Milvus server's own search."""
    run = runs[SERVER]
    few, many = run["top"]["20"], run["top"]["100"]
    yield (
        f"Milvus server, 100,000 photos, {run['partitions']} partitions, top 100, over its HNSW with a recall of 0.99 "
        f"(ef {run['ef']['100']})",
        "2, recall 0.99",
        f"**{many['default'][AS_SURE_RATIO]:.2f}** by default, {many['exact'][AS_SURE_RATIO]:.2f} exact; "
        f"agreement {many['default']['agreement']:.4f}",
    )
    yield (
        f"the same, top 20 (ef {run['ef']['20']})",
        "",
        f"{few['default'][AS_SURE_RATIO]:.2f} by default, {few['exact'][AS_SURE_RATIO]:.2f} exact",
    )
    yield (
        f"over its HNSW with ef 128, of a recall of {many[HNSW]['recall']:.2f} (top 100) and "
        f"{few[HNSW]['recall']:.2f} (top 20)",
        "",
        f"{both(many)}; {both(few)}",
    )


def of_work(runs: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """How it grows, how much is looked at, and what of the time is ours."""
    grown = []
    for less, more in itertools.pairwise(sizes(runs)):
        ratios = (
            runs[more]["top"]["20"][way]["p50_ms"] / runs[less]["top"]["20"][way]["p50_ms"]
            for way in ("default", "exact")
        )
        grown.append("{:.2f} and {:.2f}".format(*ratios) + f" from {named(less)} to {named(more)}")
    yield "ten times the photos: times the median, by default and exact", "3.2", "; ".join(grown)
    default, exact = (runs[LARGE]["top"]["20"][way] for way in ("default", "exact"))
    yield (
        "100,000 photos: share that Milvus is asked for; share compared by codes",
        "5 % by default, 15 % exact",
        f"{100 * default['rows_share']:.2f} % and {100 * exact['rows_share']:.2f} %; "
        f"{100 * default['codes_share']:.1f} % and {100 * exact['codes_share']:.1f} %, and of another "
        f"{100 * exact['halves_share']:.0f} % half the code",
    )
    large, small = (runs[run]["batch"]["default"]["throughput"] for run in (LARGE, SMALL))
    yield "64 queries together: times the throughput of one at a time", "5", f"**{large:.1f}** ({small:.1f} at 10,000)"
    yield (
        "what is ours of a query",
        "1 ms",
        f"**{default['ours_p50_ms']:.1f} ms** ({runs[SMALL]['top']['20']['default']['ours_p50_ms']:.1f} at 10,000; "
        f"exact {exact['ours_p50_ms']:.1f})",
    )


def of_latency(latency: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """From a sketch's file to its hits."""
    for name, of in latency["encoding"].items():
        one = of["a normalised sketch"]
        yield (
            f"one sketch through {name.split(':')[1]}: times as fast as a plain fp32 call",
            "2, cosine 0.999",
            f"{one['times as fast']:.2f} ({one['plain ms']:.0f} to {one['ours ms']:.0f} ms, {of['way']}), "
            f"cosine {of['cosine']['min']:.4f}",
        )
    for name, search in latency["searching"].items():
        yield (
            f"what a search adds to encoding the sketch, {name.split(':')[1]}",
            "15 %",
            f"**{100 * (search['searching over encoding'] - 1):.0f} %** ({search['encoding ms']:.1f} to "
            f"{search['searching ms']:.1f} ms)",
        )
    start = latency["starting"]
    yield (
        "`sbka --help`; over `import torch`",
        "0.4 s; 0.15",
        f"{start['median s']['help']:.2f} s; {start['help over import torch']:.3f}",
    )
    yield (
        "a first search in a fresh process over loading its model",
        "1.5",
        f"{start['first search over loading the model']:.2f} ({start['median s']['first search']:.1f} s)",
    )


def sizes(runs: dict[str, Any]) -> list[str]:
    """The runs of Milvus Lite, smallest first."""
    return sorted((run for run in runs if run.startswith("lite-")), key=lambda run: int(run.split("-")[1]))


def named(run: str) -> str:
    """How a run is called."""
    engine, rows = run.split("-")
    return f"{int(rows):,}" + (" on a server" if engine == "server" else "")


def times(one: dict[str, Any]) -> str:
    """How many times as fast as HNSW."""
    value = one["faster_than_hnsw"]
    return f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def both(top: dict[str, Any]) -> str:
    """By default and exact."""
    return f"{times(top['default'])} by default, {times(top['exact'])} exact"


if __name__ == "__main__":
    main()
