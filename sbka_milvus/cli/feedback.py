"""``sbka feedback add`` and ``sbka feedback list``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Say which photos were right for a sketch; retraining learns from it.", no_args_is_help=True)

ADD_EPILOG = """\
[bold]Examples[/bold]

sbka feedback add cat.png photos/cats/1.jpg photos/cats/7.jpg --gallery gallery/ --accept

sbka feedback add cat.png photos/dogs/3.jpg --gallery gallery/ --reject

sbka feedback add cat.png photos/all/1.jpg --gallery gallery/ --accept --category cat
"""


@app.command("add", epilog=ADD_EPILOG)
def add(
    sketch: Annotated[Path, typer.Argument(help="The sketch: an image file.", show_default=False)],
    photos: Annotated[list[str], typer.Argument(help="Photos, as `sbka search` names them.", show_default=False)],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    accept: Annotated[
        bool, typer.Option("--accept/--reject", help="Whether the photos are right.", show_default=False)
    ],
    category: Annotated[
        str | None, typer.Option(help="What the sketch shows; by default the folder of the accepted photos.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was kept as JSON.")] = False,
) -> None:
    """Accept or reject photos for a sketch."""
    from sbka_milvus.cli.console import out, print_json, printable
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.pipelines.feedback import give_feedback

    pairs = give_feedback(
        Gallery.open(gallery), sketch, photos, "accepted" if accept else "rejected", category=category, source="cli"
    )
    if as_json:
        print_json([_plain(pair) for pair in pairs])
        return
    verb = "Accepted" if accept else "Rejected"
    out.print(
        f"{verb} {len(pairs)} photos for {printable(sketch)}. "
        f"Next: sbka feedback list --gallery {printable(gallery)}, or sbka retrain show {printable(gallery)}",
        highlight=False,
    )


@app.command("list")
def list_(
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all verdicts as JSON.")] = False,
) -> None:
    """List the verdicts that count, the newest first."""
    from sbka_milvus.cli.console import print_json, print_table, printable
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.feedback import FeedbackLog

    log = FeedbackLog(Gallery.open(gallery).root)
    pairs = log.read()[::-1]
    if as_json:
        print_json([_plain(pair) | {"sketch_file": printable(log.sketch_file(pair))} for pair in pairs])
        return
    accepted = sum(pair.verdict == "accepted" for pair in pairs)
    print_table(
        f"{printable(gallery)}: {len(pairs)} verdicts on {len({pair.sketch for pair in pairs})} sketches, "
        f"{accepted} photos accepted",
        ("time (UTC)", "sketch", "verdict", "category", "photo"),
        (
            (f"{pair.time:%Y-%m-%d %H:%M:%S}", pair.sketch[:12], pair.verdict, pair.category or "-", pair.uri)
            for pair in pairs
        ),
        numeric_from=5,
    )


def _plain(pair: object) -> dict[str, object]:
    import json

    from sbka_milvus.cli.console import printable
    from sbka_milvus.feedback import FeedbackPair

    assert isinstance(pair, FeedbackPair)
    values: dict[str, object] = json.loads(pair.to_line())
    return values | {"uri": printable(pair.uri)}
