"""``sbka gallery versions``, ``sbka gallery promote`` and ``sbka gallery rollback``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sbka_milvus.pipelines.version_states import VersionState

app = typer.Typer(help="Look at the versions of a gallery, and choose the one that is served.", no_args_is_help=True)

VERSIONS_EPILOG = """\
[bold]Examples[/bold]

sbka gallery versions gallery/

sbka gallery versions gallery/ --json
"""
PROMOTE_EPILOG = """\
[bold]Examples[/bold]

sbka gallery promote gallery/ 3
"""
ROLLBACK_EPILOG = """\
[bold]Examples[/bold]

sbka gallery rollback gallery/
"""

_Folder = Annotated[Path, typer.Argument(help="The gallery's folder.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print the versions as JSON.")]


@app.command("versions", epilog=VERSIONS_EPILOG)
def versions(gallery: _Folder, as_json: _Json = False) -> None:
    """List the versions that Milvus holds: which is served, which are complete, what the gate said."""
    from sbka_milvus.factory import open_gallery
    from sbka_milvus.pipelines.version_states import list_versions
    from sbka_milvus.settings import load_settings

    with open_gallery(gallery, load_settings(), must_serve=False) as (opened, store):
        states = list_versions(opened, store)
    _show(gallery, states, as_json)


@app.command("promote", epilog=PROMOTE_EPILOG)
def promote(
    gallery: _Folder,
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.", show_default=False)],
    as_json: _Json = False,
) -> None:
    """Serve a version from now on, whatever its gate said; searches go on without a gap."""
    from sbka_milvus.factory import open_gallery
    from sbka_milvus.pipelines.version_states import find_version, list_versions
    from sbka_milvus.pipelines.versions import serve_version
    from sbka_milvus.settings import load_settings

    settings = load_settings()
    with open_gallery(gallery, settings, must_serve=False) as (opened, store):
        serve_version(opened, store, find_version(opened, store, version), settings.ingest.keep_versions)
        states = list_versions(opened, store)
    _show(gallery, states, as_json)


@app.command("rollback", epilog=ROLLBACK_EPILOG)
def rollback(gallery: _Folder, as_json: _Json = False) -> None:
    """Serve the version again that was served before this one."""
    from sbka_milvus.factory import open_gallery
    from sbka_milvus.pipelines import versions as pipeline
    from sbka_milvus.pipelines.version_states import list_versions
    from sbka_milvus.settings import load_settings

    with open_gallery(gallery, load_settings()) as (opened, store):
        pipeline.rollback(opened, store)
        states = list_versions(opened, store)
    _show(gallery, states, as_json)


def _show(gallery: Path, states: list[VersionState], as_json: bool) -> None:
    from sbka_milvus.cli.console import out, print_json, print_table, printable

    if as_json:
        print_json([_plain(state) for state in states])
        return
    print_table(
        f"Versions of {printable(gallery)}",
        ("version", "model", "created", "gate", "matching", "photos", "clusters", "complete"),
        (_row(state) for state in states),
        numeric_from=5,
    )
    out.print("* is served.", highlight=False)


def _row(state: VersionState) -> tuple[object, ...]:
    from sbka_milvus.pipelines.index_form import form_name

    record = state.record
    return (
        f"{state.info.version}{' *' if state.served else ''}",
        state.info.fingerprint,
        f"{record.created[:19].replace('T', ' ')} UTC" if record else "-",
        _gate(state),
        form_name(record),
        state.photos,
        state.info.n_clusters,
        "yes" if state.complete else "no",
    )


def _gate(state: VersionState) -> str:
    record = state.record
    if record is None:
        return "-"
    if record.rolled_back is not None:
        return "rolled back from"
    if record.gate is None:
        return "waits" if record.waits else "-"
    verdict = "passed" if record.gate["passed"] else "refused"
    if record.gate.get("candidate_value") is None:
        return verdict
    return f"{verdict}: {record.gate['measure']} {record.gate['candidate_value']:.3f}"


def _plain(state: VersionState) -> dict[str, Any]:
    from dataclasses import asdict

    info = state.info
    known = asdict(state.record) if state.record else {}
    kept = ("created", "promoted", "rolled_back", "gate", "options", "source", "matching", "distinct")
    return {
        "version": info.version,
        "served": state.served,
        "complete": state.complete,
        "photos": state.photos,
        "clusters": info.n_clusters,
        "model": info.fingerprint,
        "dim": info.dim,
    } | {name: known.get(name) for name in kept}
