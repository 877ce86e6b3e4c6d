"""``sbka status``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sbka_milvus.pipelines.care.status import GalleryStatus

EPILOG = """\
[bold]Examples[/bold]

sbka status -g gallery/

sbka status     (what runs in this workspace: `sbka up`, and jobs that have not ended)

sbka status -g gallery/ --json
"""


def status(
    gallery: Annotated[
        Path | None, typer.Option("--gallery", "-g", help="The gallery's folder.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """How a gallery stands: its model, shards, versions, and whether it needs an ingest; and what runs here."""
    from dataclasses import asdict

    from sbka_milvus.cli.console import print_json
    from sbka_milvus.settings import load_settings

    found = None
    if gallery is not None:
        from sbka_milvus.upkeep import gallery_status

        found = gallery_status(gallery, load_settings())
    running = _running()
    if as_json:
        served = found.served if found else None
        print_json(
            {
                "gallery": asdict(found) | {"served": asdict(served) if served else None} if found else None,
                **running,
            }
        )
        return
    if found is not None:
        _show_gallery(found)
    _show_running(running)


def _running() -> dict[str, Any]:
    """What of this workspace runs, from its files: no Redis is asked."""
    from sbka_milvus.errors import JobError
    from sbka_milvus.places import live_up_milvus
    from sbka_milvus.settings import load_settings
    from workers.services.state import live_up
    from workers.submit import ENDED, Job

    settings = load_settings()
    state = live_up(settings.workspace)
    jobs = []
    for job in Job.list(settings):
        try:
            status = job.status()
        except JobError:
            continue
        if status.state not in ENDED:
            jobs.append({"id": status.id, "state": status.state, "stage": status.stage, "about": status.subject})
    return {
        "workspace": str(settings.workspace),
        "up": None if state is None else {"pid": state.pid, "milvus": live_up_milvus(settings.workspace)},
        "jobs": jobs,
    }


def _show_gallery(found: GalleryStatus) -> None:
    from sbka_milvus.cli.console import out, print_table, printable

    shards, served = found.shards, found.served
    model = f"{found.model_name or 'missing'} ({found.model}{f', {found.dim} dimensions' if found.dim else ''})"
    lines = [
        f"gallery      {printable(found.gallery)}, in Milvus {found.name}",
        f"model        {model}",
        f"shards       {shards.files}: {shards.rows} rows, {_size(shards.bytes)}",
        f"quarantined  {found.quarantined}",
        f"milvus       {found.place}" + (f": {printable(found.problem)}" if found.problem else ""),
        "served       "
        + (
            f"version {served.version}: {served.photos} photos in {served.clusters} clusters ({served.form})"
            if served
            else "nothing"
        ),
    ]
    if shards.unreadable:
        lines.append(f"unreadable   {', '.join(shards.unreadable)}")
    for line in lines:
        out.print(line, highlight=False, markup=False)
    if found.versions:
        print_table(
            "Versions" + (" by the folder's records" if found.problem else ""),
            ("version", "model", "created", "form", "complete", "photos", "clusters"),
            (
                (
                    f"{one.version}{' *' if one.served else ''}",
                    one.model,
                    f"{one.created[:19].replace('T', ' ')} UTC" if one.created else "-",
                    one.form,
                    "?" if one.complete is None else "yes" if one.complete else "no",
                    one.photos,
                    one.clusters,
                )
                for one in found.versions
            ),
            numeric_from=5,
        )
    out.print(found.remedy or "Shards and served version belong together.", highlight=False, markup=False)


def _show_running(running: dict[str, Any]) -> None:
    from sbka_milvus.cli.console import out, printable

    up = running["up"]
    where = printable(running["workspace"])
    out.print(f"sbka up      runs in {where}" if up else f"sbka up      does not run in {where}", highlight=False)
    for job in running["jobs"]:
        out.print(f"job          {job['id']}: {job['state']}, {job['stage'] or 'nothing yet'}", highlight=False)


def _size(count: int) -> str:
    """Bytes for people.

    >>> _size(512), _size(5_300_000)
    ('512 B', '5.3 MB')
    """
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
