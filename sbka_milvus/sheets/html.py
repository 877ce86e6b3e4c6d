"""A contact sheet as one HTML file that needs no other file, no network and no scripts."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops

from sbka_milvus.errors import InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.sheets.lettering import one_line
from sbka_milvus.sheets.pictures import flatten, resize_within
from sbka_milvus.sheets.sheet import SheetHit, SheetRow, SheetTable, require_rows
from sbka_milvus.sheets.style import MARKS, POLICY, STYLE

_JPEG_QUALITY = 85


def write_html(
    rows: Sequence[SheetRow],
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
    tables: Sequence[SheetTable] = (),
    max_side: int = 256,
) -> None:
    """Writes sketches with their hits, and tables above them, to one HTML file: whole or not at all.

    The pictures stand in the file itself, photos as JPEG and sketches as PNG. The page follows the reader's light or
    dark scheme and the width of the window; each hit says in words, too, whether it is right.

    Args:
        rows: at least one.
        path: the file; one that is there is replaced.
        title: of the page.
        subtitle: a line below it; may be empty.
        tables: figures to stand above the pictures.
        max_side: longer pictures are scaled down to it, pixels, at least 1.

    Raises:
        InvalidValue: There is no row, or ``max_side`` is below 1.
        ImageError: A picture cannot be read.
        OutputError: The file cannot be written.
    """
    require_rows(rows)
    if max_side < 1:
        raise InvalidValue(f"max_side is {max_side} pixels.", "It must be at least 1.")
    with replacing(Path(path)) as file:
        for part in _page(rows, title, subtitle, tables, max_side):
            file.write(part.encode())


def _page(
    rows: Sequence[SheetRow], title: str, subtitle: str, tables: Sequence[SheetTable], max_side: int
) -> Iterator[str]:
    yield page_head(title, f"<p>{text_part(subtitle)}</p>\n" if subtitle else "")
    for table in tables:
        yield table_part(table)
    for row in rows:
        yield from row_parts(row, max_side)
    yield page_end()


def page_head(title: str, below: str = "") -> str:
    """All above the content; ``below`` is HTML that stands under the title."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text_part(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{MARKS}\n"
        f"<header>\n<h1>{text_part(title)}</h1>\n{below}</header>\n<main>\n"
    )


def page_end() -> str:
    """All below the content."""
    return "</main>\n</body>\n</html>\n"


def table_part(table: SheetTable) -> str:
    """A table as HTML; lines of a cell stand below one another."""
    caption = f"<caption>{text_part(table.caption)}</caption>" if table.caption else ""
    header = "".join(f'<th scope="col">{_cell(name)}</th>' for name in table.header)
    body = "\n".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])}</tr>'
        for row in table.rows
    )
    return (
        f'<div class="table">\n<table>{caption}\n<thead><tr>{header}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def row_parts(row: SheetRow, max_side: int) -> Iterator[str]:
    """A sketch with its hits as HTML, piece by piece."""
    verdict = f"<p>{text_part(row.verdict())}</p>" if row.verdict() else ""
    yield (
        f'<section>\n<figure class="sketch">{_image(_png(row, max_side), f"sketch: {row.label}")}'
        f"<figcaption><h2>{text_part(row.label)}</h2>{verdict}</figcaption></figure>\n"
    )
    if row.hits:
        yield "<ol>\n"
        for rank, hit in enumerate(row.hits, start=1):
            yield _hit(rank, hit, max_side)
        yield "</ol>\n"
    else:
        yield '<p class="none">no hits</p>\n'
    yield "</section>\n"


def _hit(rank: int, hit: SheetHit, max_side: int) -> str:
    photo = _image(_jpeg(hit, max_side), f"hit {rank}: {hit.caption}")
    kind, mark = "", ""
    if hit.correct is not None:
        name, word = ("right", "right category") if hit.correct else ("wrong", "wrong category")
        kind = f' class="{name}"'
        mark = f'<svg class="mark" role="img" aria-label="{word}"><title>{word}</title><use href="#{name}"/></svg>'
    return (
        f'<li{kind}><figure><span class="photo">{photo}{mark}</span>'
        f'<figcaption><span class="rank">{rank}</span> {text_part(hit.caption)}</figcaption></figure></li>\n'
    )


def _image(encoded: tuple[str, bytes, tuple[int, int]], alt: str) -> str:
    kind, data, (width, height) = encoded
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return f'<img src="{source}" width="{width}" height="{height}" alt="{text_part(alt)}">'


def _png(row: SheetRow, max_side: int) -> tuple[str, bytes, tuple[int, int]]:
    image = resize_within(flatten(row.sketch, row.label), max_side, enlarge=False)
    grey = image.convert("L")
    if ImageChops.difference(image, grey.convert("RGB")).getbbox() is None:
        image = grey
    return "png", _encoded(image, "PNG", optimize=True), image.size


def _jpeg(hit: SheetHit, max_side: int) -> tuple[str, bytes, tuple[int, int]]:
    image = resize_within(flatten(hit.image, hit.caption), max_side, enlarge=False)
    return "jpeg", _encoded(image, "JPEG", quality=_JPEG_QUALITY, optimize=True), image.size


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def text_part(text: str) -> str:
    """Text as HTML, on one line."""
    return escape(one_line(text), quote=True)


def _cell(cell: str | int | float) -> str:
    lines = [f"{cell:.3f}"] if isinstance(cell, float) else str(cell).split("\n")
    return "<br>".join(map(text_part, lines))
