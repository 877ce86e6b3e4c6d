"""Contact sheets: sketches with the photos that were found for them, as a picture or as one HTML file."""

from sbka_milvus.sheets.html import write_html
from sbka_milvus.sheets.png import draw_sheet, write_png
from sbka_milvus.sheets.sheet import SheetHit, SheetRow, SheetTable

__all__ = ["SheetHit", "SheetRow", "SheetTable", "draw_sheet", "write_html", "write_png"]
