"""``sbka search``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sbka_milvus.errors import SettingsError
    from sbka_milvus.types import SearchResult

EPILOG = """\
[bold]Examples[/bold]

sbka search cat.png --gallery gallery/ -k 10

sbka search cat.png dog.png --gallery gallery/ --json

sbka search cat.png --gallery gallery/ --sheet hits.png

sbka search cat.png --gallery gallery/ --exact -k 50 --offset 50   (the second page of fifty, and proof that it is)

sbka search cat.png --gallery gallery/ --rerank neighbours   (candidates that resemble one another rise together)

sbka search cat.png --gallery gallery/ --fail-on-no-match --min-confidence 0.5
sbka search cat.png --gallery gallery/ --where 'year > 2020 and place in ["Rome", "Oslo"]'   (columns of a manifest)
"""
EXIT_NO_MATCH = 4


def search(
    sketches: Annotated[list[Path], typer.Argument(help="Sketches: image files.", show_default=False)],
    gallery: Annotated[Path, typer.Option("--gallery", "-g", help="The gallery's folder.")],
    k: Annotated[int | None, typer.Option("-k", min=1, help="Hits a sketch; by default SBKA_SEARCH__K.")] = None,
    n_probe: Annotated[
        int | None,
        typer.Option(min=1, help="Clusters to look into, no more and no fewer; by default as many as it takes."),
    ] = None,
    exact: Annotated[
        bool | None,
        typer.Option(
            "--exact/--not-exact", help="Find the best photos of the whole gallery, and prove it.", show_default=False
        ),
    ] = None,
    max_probe: Annotated[int | None, typer.Option(min=1, help="Clusters to look into at most.")] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(min=0.001, help="Milliseconds after which no further clusters are looked into.")
    ] = None,
    offset: Annotated[int, typer.Option(min=0, help="Best hits to leave out: the next page. Searches exactly.")] = 0,
    per_cluster: Annotated[int | None, typer.Option(min=1, help="Hits of one cluster at most.")] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            help="Score the best candidates anew: neighbours, quantised, or fused, which changes nothing.",
            show_default=False,
        ),
    ] = None,
    rerank_depth: Annotated[
        int | None,
        typer.Option(min=1, help="Candidates to re-rank, and to page through; by default max(4 k, 100)."),
    ] = None,
    cluster_weight: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Weight of the cluster's score; 0: photos one by one. Not for galleries of the form linear.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help="Only photos that meet this, such as: year > 2020 and place like 'Ro%'.", show_default=False),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Say that there is no good match below this confidence; by default SBKA_SEARCH__MIN_CONFIDENCE.",
        ),
    ] = None,
    fail_on_no_match: Annotated[
        bool, typer.Option("--fail-on-no-match", help="Exit with code 4 where a sketch has no good match.")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet: .png, or .html for a page.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
) -> None:
    """Find the photos most like a sketch."""
    from dataclasses import asdict

    from sbka_milvus.api import SketchSearch
    from sbka_milvus.cli.console import err, print_json, printable
    from sbka_milvus.cli.sheet_files import require_sheet_suffix
    from sbka_milvus.search import SearchOptions
    from sbka_milvus.settings import load_settings

    if sheet is not None:
        require_sheet_suffix(sheet)
    SearchOptions(reranker=rerank, rerank_depth=rerank_depth)  # before a model is loaded in vain
    least = load_settings().search.min_confidence if min_confidence is None else min_confidence
    with SketchSearch.open(gallery) as engine:
        drawn = [engine.normalise(path) for path in sketches]
        results = engine.search_normalised(
            drawn,
            k,
            n_probe=n_probe,
            exact=exact,
            max_probe=max_probe,
            deadline_ms=deadline_ms,
            cluster_weight=cluster_weight,
            where=where,
            offset=offset,
            per_cluster=per_cluster,
            reranker=rerank,
            rerank_depth=rerank_depth,
        )
    if fail_on_no_match and any(result.confidence is None for result in results):
        raise _cannot_tell(gallery, results[0].fingerprint)
    if as_json:
        print_json(
            [
                {
                    "sketch": printable(path),
                    "gallery": result.gallery,
                    "version": result.version,
                    "probes": list(result.probes),
                    "exact": result.exact,
                    "rows": result.rows,
                    "codes": result.codes,
                    "halves": result.halves,
                    "reranker": result.reranker,
                    "confidence": result.confidence,
                    "good_match": None if result.confidence is None else result.confidence >= least,
                    "hits": [
                        asdict(hit) | {"uri": printable(hit.uri), "duplicates": [*map(printable, hit.duplicates)]}
                        for hit in result
                    ],
                }
                for path, result in zip(sketches, results, strict=True)
            ]
        )
    else:
        for path, result in zip(sketches, results, strict=True):
            _show(path, result, least)
    if sheet is not None:
        from sbka_milvus.pipelines.sheet import sheet_row
        from sbka_milvus.sheets import write_html, write_png

        rows = [
            sheet_row(image, path.stem, list(result), note=_note(result, least))
            for image, path, result in zip(drawn, sketches, results, strict=True)
        ]
        write = write_html if sheet.suffix.lower() in (".html", ".htm") else write_png
        write(rows, sheet, title="Sketches and their photos")
        err.print(f"Contact sheet: {printable(sheet)}", highlight=False)
    if fail_on_no_match and any(_doubtful(result, least) for result in results):
        raise typer.Exit(EXIT_NO_MATCH)


def _doubtful(result: SearchResult, least: float) -> bool:
    return result.confidence is not None and result.confidence < least


def _note(result: SearchResult, least: float) -> str:
    if result.confidence is None:
        return ""
    return f"{'no good match, ' if _doubtful(result, least) else ''}confidence {result.confidence:.2f}"


def _cannot_tell(gallery: Path, fingerprint: str) -> SettingsError:
    from sbka_milvus.cli.console import printable
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.errors import SettingsError

    folder = Gallery.open(gallery).for_model(fingerprint).model_folder

    return SettingsError(
        f"--fail-on-no-match needs to know how sure a search is, and the gallery's model {fingerprint} cannot tell.",
        f"Give it statistics: `sbka model statistics {printable(folder)} --photos FOLDER --sketches FOLDER`.",
    )


def _show(sketch: Path, result: SearchResult, least: float) -> None:
    """Hits below the folder that they share, so that long paths do not fill the table."""
    from sbka_milvus.cli.console import out, print_table, printable

    folder = shared_folder([hit.uri for hit in result])
    has_keys = any(hit.key is not None for hit in result)
    print_table(
        f"{printable(sketch)}: photos in {printable(folder)}" if folder else f"{printable(sketch)}: photos",
        ("photo", "rank", "score", "cluster", "cluster\nscore", "member\nscore", *(["key"] if has_keys else [])),
        (
            (
                hit.uri[len(folder) :] + (f" (and {len(hit.duplicates)} equal)" if hit.duplicates else ""),
                hit.rank,
                f"{hit.score:.3f}",
                hit.cluster_id,
                f"{hit.cluster_score:.3f}",
                f"{hit.member_score:.3f}",
                *([hit.key] if has_keys else []),
            )
            for hit in result
        ),
    )
    looked = f"{len(result.probes)} {'cluster' if len(result.probes) == 1 else 'clusters'}"
    if result.reranker:
        proved = "what was re-ranked are the nearest photos of the gallery"
    else:
        proved = "no other photo of the gallery is nearer"
    out.print(
        f"Exact: {proved} ({looked} looked into)."
        if result.exact
        else f"{looked} looked into; --exact proves that {proved}.",
        highlight=False,
    )
    if _doubtful(result, least):
        out.print(
            f"No good match: the gallery seems to hold nothing like this sketch (confidence {result.confidence:.2f}).",
            highlight=False,
        )
    elif result.confidence is not None:
        out.print(f"Confidence {result.confidence:.2f}.", highlight=False)


def shared_folder(uris: Sequence[str]) -> str:
    """What all URIs begin with, up to a slash; they may be paths, members of archives and addresses.

    >>> shared_folder(["/p/cats/1.jpg", "/p/cars/2.jpg"]), shared_folder(["/p/1.jpg", "https://example.org/1.jpg"])
    ('/p/', '')
    """
    folders = [uri.rpartition("/")[0].split("/") for uri in uris]
    shared = 0
    while folders and all(len(folder) > shared and folder[shared] == folders[0][shared] for folder in folders):
        shared += 1
    return "".join(f"{part}/" for part in folders[0][:shared]) if shared else ""
