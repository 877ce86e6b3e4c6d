"""``sbka verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sbka_milvus.pipelines.care.verify import VerifyReport

EXIT_FINDINGS = 5

EPILOG = """\
Exit codes: 0 nothing is wrong (with --repair: any more), 5 something is, 1 it could not be looked at.

[bold]Examples[/bold]

sbka verify -g gallery/

sbka verify -g gallery/ --files     (also whether the photos' files are as they were: by size and time)

sbka verify -g gallery/ --hash     (likewise, and reads every file)

sbka verify -g gallery/ --repair     (builds anew what is wrong in Milvus; sets damaged shards aside)
"""


def verify(
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    files: Annotated[bool, typer.Option("--files", help="Look at the photos' files too: size and time.")] = False,
    by_content: Annotated[bool, typer.Option("--hash", help="Read every file, and compare its content.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what the shards can mend, then verify again. Deletes no shard.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look for what is wrong: photos' files, shards, and what Milvus holds of them."""
    from sbka_milvus.cli.console import ConsoleProgress, print_json
    from sbka_milvus.pipelines.care.verify import VerifyOptions
    from sbka_milvus.settings import load_settings
    from sbka_milvus.upkeep import verify_folder

    options = VerifyOptions(files, by_content)
    report = verify_folder(gallery, load_settings(), options, ConsoleProgress(), repair=repair)
    if as_json:
        print_json(_plain(report))
    else:
        _show(report)
    if not report.is_clean:
        raise typer.Exit(EXIT_FINDINGS)


def _plain(report: VerifyReport) -> dict[str, Any]:
    from dataclasses import asdict

    from sbka_milvus.cli.console import printable

    told = [
        {
            "kind": finding.kind,
            "count": finding.count,
            "examples": [printable(one) for one in finding.examples],
            "meaning": finding.about.meaning,
            "remedy": finding.about.remedy,
            "repair": finding.about.mend,
        }
        for finding in report.findings
    ]
    return asdict(report) | {"clean": report.is_clean, "findings": told}


def _show(report: VerifyReport) -> None:
    from sbka_milvus.cli.console import out, print_table, printable

    for line in report.repaired:
        out.print(f"repaired: {printable(line)}", highlight=False, markup=False)
    if report.findings:
        print_table(
            "Findings",
            ("finding", "count", "meaning", "examples"),
            (
                (
                    finding.kind,
                    finding.count,
                    f"{finding.about.meaning}\n{finding.about.remedy}",
                    "\n".join(finding.examples),
                )
                for finding in report.findings
            ),
            numeric=(1,),
            no_wrap=1,
        )
    served = f"version {report.version} of {report.milvus_rows} rows" if report.version else "no version served"
    out.print(
        f"{report.photos} photos in {report.shards} shards ({report.superseded} older rows of them), {served}.",
        highlight=False,
    )
    if report.files_checked is not None:
        out.print(
            f"{report.files_checked} files looked at; of {report.files_unchecked} photos the files are not known here.",
            highlight=False,
        )
    if report.behind:
        out.print("The shards hold something else than the served version was built from: ingest, or --repair.")
    out.print(f"{'Clean' if report.is_clean else 'Something is wrong'}; {report.seconds:.1f} s.", highlight=False)
