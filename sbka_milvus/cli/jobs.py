"""``sbka jobs``: list, show, watch, cancel, retry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.reports import JobStatus
    from workers.submit import Job

app = typer.Typer(help="Background jobs: list, show, watch, cancel, retry.", no_args_is_help=True)

EXIT_FAILED = 1
EXIT_NOT_SWITCHED = 4
EXIT_UNWATCHED = 130

Name = Annotated[str, typer.Argument(help="Id of the job, or its beginning.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

LIST_EPILOG = "[bold]Examples[/bold]\n\nsbka jobs list\n\nsbka jobs list --open --json\n"
SHOW_EPILOG = "[bold]Examples[/bold]\n\nsbka jobs show ingest-20261123-1\n"
WATCH_EPILOG = (
    "Exit codes: 0 done, 1 failed or cancelled, 4 the gate kept the old model, 130 no longer watched (the job goes on)."
    "\n\n[bold]Examples[/bold]\n\nsbka jobs watch ingest-20261123-1\n"
)


@app.command("list", epilog=LIST_EPILOG)
def list_jobs(
    only_open: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """All jobs of the workspace, oldest first."""
    from sbka_milvus.cli.console import err, out, print_json, print_table, printable
    from sbka_milvus.errors import JobError
    from workers.submit import ENDED, Job

    found = []
    for job in Job.list():
        try:
            status = job.status()
        except JobError as error:
            err.print(f"[yellow]passed over[/yellow] {job.id}: {printable(error)}", highlight=False)
            continue
        if not (only_open and status.state in ENDED):
            found.append(status)
    if as_json:
        print_json([_plain(status) for status in found])
    elif not found:
        out.print("No jobs. Start one with `sbka ingest ... --background`.", highlight=False)
    else:
        print_table(
            "",
            ("job", "state", "stage", "done", "left", "bad", "about"),
            (
                (
                    status.id,
                    status.state,
                    status.stage,
                    amount(status),
                    duration(status.eta_s),
                    status.quarantined or "",
                    status.subject,
                )
                for status in found
            ),
            numeric=(3, 4, 5),
            no_wrap=1,
        )


@app.command("show", epilog=SHOW_EPILOG)
def show(name: Name, as_json: AsJson = False) -> None:
    """One job: what was asked, how far it is, what it has made."""
    from sbka_milvus.cli.console import print_json
    from workers.submit import Job

    job = Job.open(name)
    status = job.status()
    if as_json:
        print_json(_plain(status) | {"request": job.folder.record.request.model_dump(mode="json")})
    else:
        print_status(status)


@app.command("watch", epilog=WATCH_EPILOG)
def watch(
    name: Name, as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a second.")] = False
) -> None:
    """Show a job live until it ends."""
    from workers.submit import Job

    follow(Job.open(name), as_json=as_json)


@app.command("cancel")
def cancel(name: Name) -> None:
    """Stop a job; what is embedded or trained so far is kept."""
    from sbka_milvus.cli.console import out
    from workers.submit import Job

    job = Job.open(name)
    job.cancel()
    out.print(f"Cancelled {job.id}. Go on with `sbka jobs retry {job.id}`.", highlight=False)


@app.command("retry")
def retry(name: Name) -> None:
    """Have a failed or cancelled job go on where it was."""
    from sbka_milvus.cli.console import out
    from workers.submit import Job

    job = Job.open(name)
    job.retry()
    out.print(f"{job.id} goes on. Watch it with `sbka jobs watch {job.id}`.", highlight=False)


def announce(job: Job, *, as_json: bool) -> None:
    """Says that a job was handed out, and how to follow it."""
    from sbka_milvus.cli.console import out, print_json

    if as_json:
        print_json({"job": job.id})
        return
    out.print(f"job {job.id}", highlight=False)
    out.print(f"Watch it with `sbka jobs watch {job.id}`.", highlight=False)


def follow(job: Job, *, as_json: bool = False) -> None:
    """Watches a job and ends the program with the code that says how it ended; Ctrl-C ends the watching alone.

    Raises:
        typer.Exit: Always.
    """
    from sbka_milvus.cli.console import err

    try:
        code = watch_job(job, as_json=as_json)
    except KeyboardInterrupt:
        err.print(f"\nNo longer watched; the job goes on. Stop it with `sbka jobs cancel {job.id}`.", highlight=False)
        code = EXIT_UNWATCHED
    raise typer.Exit(code)


def finish(status: JobStatus, *, as_json: bool) -> None:
    """Shows a job that has ended, and ends the program with the code that says how.

    Raises:
        typer.Exit: Always.
    """
    from sbka_milvus.cli.console import print_json

    if as_json:
        print_json(_plain(status))
    else:
        print_status(status)
    raise typer.Exit(exit_code(status))


def exit_code(status: JobStatus) -> int:
    """What a script is told of how a job ended."""
    return {"done": 0, "refused": EXIT_NOT_SWITCHED}.get(status.state, EXIT_FAILED)


def watch_job(job: Job, *, as_json: bool = False) -> int:
    """Shows a job until it ends; the exit code says how."""
    import sys

    from rich.live import Live

    from sbka_milvus.cli.console import err, out

    if as_json:
        status = job.wait(on_status=lambda now: out.print(json.dumps(_plain(now)), highlight=False, markup=False))
    elif err.is_terminal:
        with Live(console=err, transient=True, refresh_per_second=4) as live:
            status = job.wait(on_status=lambda now: live.update(_panel(now)))
        print_status(status)
    else:
        told: list[str] = []

        def tell(now: JobStatus) -> None:
            line = f"{now.state} {now.stage}".strip()
            if now.message and now.state in ("running", "waiting"):
                line += f": {now.message}"
            if not told or told[-1] != line:
                told.append(line)
                sys.stderr.write(line + "\n")

        status = job.wait(on_status=tell)
        print_status(status)
    return exit_code(status)


def print_status(status: JobStatus) -> None:
    """One job on standard output."""
    from sbka_milvus.cli.console import out, printable

    for name, value in lines_of(status):
        out.print(f"{name:<12} {printable(value)}", highlight=False, markup=False)


def lines_of(status: JobStatus) -> list[tuple[str, str]]:
    """What there is to say of a job, a name and a text each."""
    lines = [("job", status.id), ("state", status.state), ("about", status.subject)]
    if status.stage:
        lines.append(("stage", status.stage))
    if status.total is not None or status.done:
        lines.append(("done", f"{amount(status)} {status.steps}".strip()))
    if status.rate:
        lines.append(("speed", f"{status.rate:.1f} {status.steps} a second, {duration(status.eta_s)} left"))
    if status.quarantined:
        lines.append(("quarantined", str(status.quarantined)))
    if status.tries:
        lines.append(("failures", f"{status.tries} so far"))
    if status.message:
        lines.append(("message", status.message))
    for unit in status.units:
        total = "" if unit.total is None else f"/{unit.total}"
        lines.append((unit.unit, f"{unit.stage} {unit.done}{total} {unit.steps} {unit.note} (process {unit.pid})"))
    return lines + _report_lines(status)


def _report_lines(status: JobStatus) -> list[tuple[str, str]]:
    from sbka_milvus.cli.console import about_file

    report: dict[str, Any] = status.report or {}
    lines = []
    if "seconds" in report:
        lines.append(("took", duration(report["seconds"])))
    embed = report.get("embed")
    if embed:
        lines.append(("photos", _photo_counts(embed, report.get("index") or {})))
        shown = 10
        lines += [("quarantined", about_file(file["uri"], file["reason"])) for file in embed["quarantined"][:shown]]
        if len(embed["quarantined"]) > shown:
            lines.append(("", f"... and {len(embed['quarantined']) - shown} more in quarantine.jsonl of the gallery"))
    for step in ("index", "switch"):
        if step in report:
            made = report[step]
            lines.append(("serving", f"version {made['version']}: {made['photos']} photos"))
            if made.get("drifted"):
                lines.append(("note", str(made["drifted"])))
    if "cluster" in report:
        after = report["cluster"]["after"]
        told = after["statistics"]
        lines.append(("serving", f"version {after['version']}: {told['photos']} photos in {told['clusters']} clusters"))
        lines.append(("largest", f"{told['size_max']} photos; evenness {told['evenness']:.3f}, {told['giant']} giants"))
    if "train" in report:
        lines.append(("model", f"{report['train']['model']} ({report['train']['fingerprint']})"))
    if "gate" in report:
        lines.append(("gate", str(report["gate"].get("reason", ""))))
    return lines


def _photo_counts(embed: dict[str, Any], index: dict[str, Any]) -> str:
    always = [f"{embed[name]} {name}" for name in ("found", "embedded", "unchanged")]
    known = {name: embed.get(name, 0) for name in ("moved", "copied", "touched")} | {"pruned": index.get("pruned", 0)}
    return ", ".join([*always, *(f"{count} {name}" for name, count in known.items() if count)])


def amount(status: JobStatus) -> str:
    """Done of all."""
    if status.total is None:
        return str(status.done or "")
    return f"{status.done}/{status.total}"


def duration(seconds: float | None) -> str:
    """Seconds as people read them.

    >>> duration(3.2), duration(125), duration(7260), duration(None)
    ('3 s', '2 min 05 s', '2 h 01 min', '')
    """
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _panel(status: JobStatus) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    from sbka_milvus.cli.console import printable

    table = Table.grid(padding=(0, 2))
    for name, value in lines_of(status):
        table.add_row(name, printable(value))
    bar = ProgressBar(total=status.total or 100, completed=status.done if status.total else 0, width=60)
    return Group(table, bar)


def _plain(status: JobStatus) -> dict[str, Any]:
    # Not as JSON text yet: names of files may hold bytes that are no characters.
    return status.model_dump(mode="json")
