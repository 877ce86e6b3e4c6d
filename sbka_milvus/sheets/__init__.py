"""Contact sheets: sketches with the photos found for them, as a picture or as HTML; pages of sections around them."""

from sbka_milvus.sheets.html import write_html
from sbka_milvus.sheets.png import draw_sheet, write_png
from sbka_milvus.sheets.sections import SheetPlot, SheetSection, write_page
from sbka_milvus.sheets.sheet import SheetHit, SheetRow, SheetTable

__all__ = [
    "SheetHit",
    "SheetPlot",
    "SheetRow",
    "SheetSection",
    "SheetTable",
    "draw_sheet",
    "write_html",
    "write_page",
    "write_png",
]
