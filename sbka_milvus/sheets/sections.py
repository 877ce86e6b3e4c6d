"""A page of sections: texts, tables, plots and contact sheets in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.errors import InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.sheets.html import page_end, page_head, row_parts, table_part, text_part
from sbka_milvus.sheets.sheet import SheetRow, SheetTable


@dataclass(frozen=True, slots=True)
class SheetPlot:
    """A picture of figures.

    Attributes:
        png: the PNG file.
        caption: what it shows; also what a reader hears who cannot see it.
    """

    png: bytes
    caption: str

    def __post_init__(self) -> None:
        if not self.png.startswith(b"\x89PNG"):
            raise InvalidValue(f"The plot {self.caption!r} is no PNG picture.", "Save it as PNG.")


@dataclass(frozen=True, slots=True, eq=False)
class SheetSection:
    """A part of a page, in the order of the attributes.

    Attributes:
        heading: above it.
        texts: paragraphs.
        tables: figures.
        plots: pictures of figures.
        rows: sketches with their hits.
    """

    heading: str
    texts: tuple[str, ...] = ()
    tables: tuple[SheetTable, ...] = ()
    plots: tuple[SheetPlot, ...] = ()
    rows: tuple[SheetRow, ...] = ()


def write_page(
    sections: Sequence[SheetSection],
    path: str | os.PathLike[str],
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    max_side: int = 160,
) -> None:
    """Writes sections to one HTML file: whole or not at all.

    The pictures stand in the file itself; it loads nothing and runs nothing, and follows the reader's light or dark
    scheme and the width of the window.

    Args:
        sections: from top to bottom, at least one.
        path: the file; one that is there is replaced.
        title: of the page.
        facts: names and values that stand below the title.
        max_side: longer sketches and photos are scaled down to it, pixels, at least 1.

    Raises:
        InvalidValue: There is no section, or ``max_side`` is below 1.
        ImageError: A picture cannot be read.
        OutputError: The file cannot be written.
    """
    if not sections:
        raise InvalidValue("A page has no sections.", "Pass at least one.")
    if max_side < 1:
        raise InvalidValue(f"max_side is {max_side} pixels.", "It must be at least 1.")
    with replacing(Path(path)) as file:
        file.write(page_head(title, _facts(facts)).encode())
        for section in sections:
            for part in _section(section, max_side):
                file.write(part.encode())
        file.write(page_end().encode())


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    entries = "\n".join(f"<div><dt>{text_part(name)}</dt><dd>{text_part(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">\n{entries}\n</dl>\n'


def _section(section: SheetSection, max_side: int) -> Iterator[str]:
    yield f'<h2 class="part">{text_part(section.heading)}</h2>\n'
    for paragraph in section.texts:
        yield f'<p class="text">{text_part(paragraph)}</p>\n'
    for table in section.tables:
        yield table_part(table)
    for plot in section.plots:
        source = f"data:image/png;base64,{base64.b64encode(plot.png).decode('ascii')}"
        caption = text_part(plot.caption)
        yield f'<figure class="plot"><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>\n'
    for row in section.rows:
        yield from row_parts(row, max_side)
