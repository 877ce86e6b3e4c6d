"""A contact sheet as one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from sbka_milvus.errors import InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.sheets.lettering import font_of_size, shorten
from sbka_milvus.sheets.pictures import fit_tile, flatten
from sbka_milvus.sheets.sheet import SheetHit, SheetRow, require_rows

SMALLEST_TILE = 48

_Colour = tuple[int, int, int]
_WHITE: _Colour = (255, 255, 255)
_INK: _Colour = (31, 35, 40)
_GREY: _Colour = (101, 109, 118)
_RULE: _Colour = (208, 215, 222)
_GROUND: _Colour = (246, 248, 250)
_RIGHT: _Colour = (26, 127, 55)
_WRONG: _Colour = (207, 34, 46)
_TICK = ((0.27, 0.53), (0.44, 0.70), (0.74, 0.33))
_CROSS = (((0.32, 0.32), (0.68, 0.68)), ((0.68, 0.32), (0.32, 0.68)))
_OVERSAMPLING = 4


@dataclass(frozen=True, slots=True)
class _Layout:
    """Pixel measures of a sheet; all follow from the tile's side."""

    tile: int
    columns: int
    rows: int

    @property
    def margin(self) -> int:
        return self.tile // 5

    @property
    def gap(self) -> int:
        return max(8, self.tile // 7)

    @property
    def frame(self) -> int:
        return max(2, self.tile // 32)

    @property
    def title_size(self) -> int:
        return max(14, self.tile // 6)

    @property
    def label_size(self) -> int:
        return max(11, self.tile // 9)

    @property
    def caption_size(self) -> int:
        return max(10, self.tile // 10)

    @property
    def header_y(self) -> int:
        return self.margin + round(self.title_size * 1.7)

    @property
    def first_y(self) -> int:
        return self.header_y + round(self.label_size * 1.9)

    @property
    def pitch(self) -> int:
        """From the top of a row to the top of the next one."""
        return self.tile + round(self.label_size * 1.6) + self.gap

    def column_x(self, column: int) -> int:
        """Left edge of a column; column 0 is the sketch, which stands a little apart."""
        return self.margin + column * (self.tile + self.gap) + (self.gap if column else 0)

    def row_y(self, row: int) -> int:
        return self.first_y + row * self.pitch

    @property
    def size(self) -> tuple[int, int]:
        width = self.column_x(self.columns) + self.tile + self.margin
        return width, self.row_y(self.rows) - self.gap + self.margin


def draw_sheet(rows: Sequence[SheetRow], *, title: str, tile: int = 128, columns: int | None = None) -> Image.Image:
    """Sketches at the left, the photos that were found for each to the right, best first.

    A right hit has a green frame and a tick, a wrong one a red frame and a cross; the marks are drawn shapes, so that
    nobody has to tell the colours apart. Texts that are too long end in an ellipsis. The font is the one that Pillow
    brings along: letters beyond ASCII lose their accents or become question marks.

    Args:
        rows: at least one.
        title: the line above.
        tile: side of a picture, pixels; at least 48.
        columns: how many hits to show of each row, at least 1; by default as many as the longest row has.

    Returns:
        RGB, on white ground.

    Raises:
        InvalidValue: There is no row, or ``tile`` or ``columns`` is too small.
        ImageError: A picture cannot be read.
    """
    require_rows(rows)
    if tile < SMALLEST_TILE:
        raise InvalidValue(f"The tile is {tile} pixels.", f"It must be at least {SMALLEST_TILE}.")
    if columns is not None and columns < 1:
        raise InvalidValue(f"There are {columns} columns.", "There must be at least one.")
    layout = _Layout(tile, columns or max(1, *(len(row.hits) for row in rows)), len(rows))
    sheet = Image.new("RGB", layout.size, _WHITE)
    _draw_head(sheet, layout, title)
    for index, row in enumerate(rows):
        _draw_row(sheet, layout, index, row)
    return sheet


def write_png(
    rows: Sequence[SheetRow],
    path: str | os.PathLike[str],
    *,
    title: str,
    tile: int = 128,
    columns: int | None = None,
) -> None:
    """Writes :func:`draw_sheet`, which explains the arguments, to a PNG file: whole or not at all.

    Raises:
        InvalidValue, ImageError: As :func:`draw_sheet`.
        OutputError: The file cannot be written.
    """
    sheet = draw_sheet(rows, title=title, tile=tile, columns=columns)
    with replacing(Path(path)) as file:
        sheet.save(file, "PNG", optimize=True)


def _draw_head(sheet: Image.Image, layout: _Layout, title: str) -> None:
    draw = ImageDraw.Draw(sheet)
    font = font_of_size(layout.title_size)
    text = shorten(title, font, sheet.width - 2 * layout.margin)
    draw.text((layout.margin, layout.margin), text, _INK, font, anchor="la")
    for column in range(layout.columns + 1):
        name = str(column) if column else "sketch"
        _write(draw, layout, (column, layout.header_y), name, (layout.caption_size, _GREY))


def _draw_row(sheet: Image.Image, layout: _Layout, index: int, row: SheetRow) -> None:
    draw = ImageDraw.Draw(sheet)
    top = layout.row_y(index)
    below = top + layout.tile + round(layout.label_size * 0.6)
    left = layout.column_x(0)
    sheet.paste(fit_tile(flatten(row.sketch, row.label), layout.tile, _WHITE), (left, top))
    draw.rectangle((left, top, left + layout.tile - 1, top + layout.tile - 1), outline=_RULE)
    _write(draw, layout, (0, below), row.label, (layout.label_size, _INK))
    if row.note:
        band = top + layout.tile - round(layout.caption_size * 1.6)
        draw.rectangle((left + 1, band, left + layout.tile - 2, top + layout.tile - 2), fill=_WHITE)
        _write(draw, layout, (0, band), row.note, (layout.caption_size, _INK))
    for column, hit in enumerate(row.hits[: layout.columns], start=1):
        _draw_hit(sheet, layout, (layout.column_x(column), top), hit)
        _write(draw, layout, (column, below), hit.caption, (layout.caption_size, _GREY))
    if not row.hits:
        _write(draw, layout, (1, top + layout.tile // 2), "no hits", (layout.caption_size, _GREY))


def _draw_hit(sheet: Image.Image, layout: _Layout, corner: tuple[int, int], hit: SheetHit) -> None:
    left, top = corner
    sheet.paste(fit_tile(flatten(hit.image, hit.caption), layout.tile, _GROUND), corner)
    if hit.correct is None:
        return
    edge = layout.frame
    box = (left - edge, top - edge, left + layout.tile - 1 + edge, top + layout.tile - 1 + edge)
    ImageDraw.Draw(sheet).rectangle(box, outline=_RIGHT if hit.correct else _WRONG, width=edge)
    mark = _mark(hit.correct, max(14, layout.tile // 6))
    sheet.paste(mark, (left + layout.tile - mark.width, top), mark)


def _mark(correct: bool, side: int) -> Image.Image:
    """A white tick or cross on a disc, RGBA; drawn large and scaled down, since ImageDraw does not smooth edges."""
    big = side * _OVERSAMPLING
    mark = Image.new("RGBA", (big, big), (*_WHITE, 0))
    draw = ImageDraw.Draw(mark)
    draw.ellipse((0, 0, big - 1, big - 1), fill=_WHITE)
    rim = big // 14
    draw.ellipse((rim, rim, big - 1 - rim, big - 1 - rim), fill=_RIGHT if correct else _WRONG)
    for stroke in (_TICK,) if correct else _CROSS:
        draw.line([(x * big, y * big) for x, y in stroke], fill=_WHITE, width=big // 9, joint="curve")
    return mark.resize((side, side), Image.Resampling.BOX)


def _write(
    draw: ImageDraw.ImageDraw, layout: _Layout, place: tuple[int, int], text: str, style: tuple[int, _Colour]
) -> None:
    """Writes text in the middle of a column; ``place`` is (column, y), ``style`` is (size, colour)."""
    column, y = place
    size, colour = style
    font = font_of_size(size)
    middle = layout.column_x(column) + layout.tile // 2
    draw.text((middle, y), shorten(text, font, layout.tile), colour, font, anchor="ma")
