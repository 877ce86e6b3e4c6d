"""``sbka cluster``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sbka_milvus.cli.matching import Matching

if TYPE_CHECKING:
    from sbka_milvus.pipelines.index_form import MatchingForm
    from sbka_milvus.pipelines.recluster import ClusterView, ReclusterReport

EPILOG = """\
Searches go on in the version that is served until the new one is whole; that one is kept for `sbka gallery rollback`.
What is asked for here holds for later ingests that ask for nothing else.

[bold]Examples[/bold]

sbka cluster -g gallery/                            (after an ingest has said that the clusters have drifted)

sbka cluster -g gallery/ --stats-only               (balance and radii of what is served; nothing is built)

sbka cluster -g gallery/ --clusters 200 --dry-run   (what 200 clusters would look like)

sbka cluster -g gallery/ --background               (a worker does it: see `sbka up` and `sbka jobs`)
"""


def cluster(
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.", show_default=False)],
    clusters: Annotated[int, typer.Option(min=0, help="Clusters; 0: chosen from the photos.")] = 0,
    matching: Annotated[
        Matching | None, typer.Option(help="How sketches are matched; by default SBKA_INGEST__MATCHING.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the clustering.")] = 0,
    stats_only: Annotated[
        bool, typer.Option("--stats-only", "--show", help="Show the clusters that are served; build nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Cluster and show what would come of it; build nothing.")
    ] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let a worker do it; prints the job's id and returns.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Cluster a gallery anew behind its alias, and show how even and how wide the clusters are."""
    from sbka_milvus.cli.console import ConsoleProgress
    from sbka_milvus.errors import SettingsError
    from sbka_milvus.factory import gallery_clusters, recluster_gallery
    from sbka_milvus.settings import load_settings

    if stats_only + dry_run + background > 1:
        raise SettingsError("Of --stats-only, --dry-run and --background only one can be asked for.", "Leave the rest.")
    settings = load_settings()
    form = None if matching is None else matching.value
    if stats_only:
        _show_view(gallery, gallery_clusters(gallery, settings), as_json=as_json)
        return
    if background:
        from sbka_milvus.cli.jobs import announce
        from workers.submit import submit_cluster

        job = submit_cluster(gallery, n_clusters=clusters, matching=form, seed=seed, settings=settings)
        announce(job, as_json=as_json)
        return
    report = recluster_gallery(
        gallery,
        settings,
        ConsoleProgress(),
        n_clusters=clusters or None,
        matching=None if form is None else cast("MatchingForm", form),
        seed=seed,
        trial=dry_run,
    )
    _show_report(gallery, report, as_json=as_json)


def _show_view(gallery: Path, view: ClusterView, *, as_json: bool) -> None:
    from dataclasses import asdict

    from sbka_milvus.cli.console import out, print_json, printable

    if as_json:
        print_json(asdict(view))
        return
    _show_table(gallery, [view])
    if view.drifted:
        out.print(printable(view.drifted), highlight=False, markup=False)


def _show_report(gallery: Path, report: ReclusterReport, *, as_json: bool) -> None:
    from sbka_milvus.cli.console import out, print_json, printable

    if as_json:
        print_json(report.to_dict())
        return
    _show_table(gallery, [view for view in (report.before, report.after) if view is not None])
    if report.built:
        line = f"Serving version {report.after.version} ({report.after.matching}), after {report.seconds:.1f} s."
        if report.before is not None:
            line += f" Back to version {report.before.version}: sbka gallery rollback {printable(gallery)}"
    else:
        line = "Nothing was built. Without --dry-run it is."
    out.print(line, highlight=False, markup=False)


def _show_table(gallery: Path, views: list[ClusterView]) -> None:
    from sbka_milvus.cli.console import print_table, printable

    shown = [rows_of(view) for view in views]
    header = [f"version {view.version}" if view.version is not None else "would be" for view in views]
    rows = [(name, *(column[name] for column in shown)) for name in shown[0]]
    print_table(f"Clusters of {printable(gallery)}", ("", *header), rows)


def rows_of(view: ClusterView) -> dict[str, str]:
    """What there is to say of the clusters of a version."""
    told, origin = view.statistics, view.clustering
    rows = {
        "photos": str(told.photos),
        "clusters": str(told.clusters),
        "empty": str(told.empty),
        "tiny (1 or 2 photos)": str(told.tiny),
        "giant (over 5 medians)": str(told.giant),
        "photos a cluster: 5 %, median, 95 %": f"{told.size_p5:.0f}, {told.size_p50:.0f}, {told.size_p95:.0f}",
        "photos in the largest": str(told.size_max),
        "evenness (1: all equal)": f"{told.evenness:.3f}",
        "radius: median, 95 %": f"{told.radius_p50:.1f}, {told.radius_p95:.1f} degrees",
        "made": "-",
        "drift of those that joined": "-",
    }
    if origin:
        rows["made"] = f"fitted to {origin['fitted']} in version {origin['fit_version']}, {origin['joined']} joined"
        drift = origin["drift"]
        rows["drift of those that joined"] = f"{drift['drift']:.3f}" if drift["enough"] else "-"
    return rows
