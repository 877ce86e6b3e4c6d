"""What stands on a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from sbka_milvus.errors import InvalidValue


@dataclass(frozen=True, slots=True, eq=False)
class SheetHit:
    """One photo that was found.

    Attributes:
        image: the photo, of any mode and size.
        caption: a few words below it, such as its score.
        correct: whether it is of the sketch's category; None where that is not known, and no mark is shown.
    """

    image: Image.Image
    caption: str
    correct: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SheetRow:
    """One sketch with its hits.

    Attributes:
        sketch: of any mode and size.
        label: its category, or its file name.
        hits: best first; may be empty.
        note: a few words on the result as a whole, such as that it has no good match; may be empty.
    """

    sketch: Image.Image
    label: str
    hits: tuple[SheetHit, ...]
    note: str = ""

    def verdict(self) -> str:
        """How many hits are right, in words, and the note; empty where that is known of none and there is no note.

        >>> ground = Image.new("L", (1, 1))
        >>> SheetRow(ground, "cat", (SheetHit(ground, "0.9", True), SheetHit(ground, "0.8", False))).verdict()
        '1 of 2 right'
        """
        marks = [hit.correct for hit in self.hits if hit.correct is not None]
        return ", ".join(filter(None, (f"{sum(marks)} of {len(marks)} right" if marks else "", self.note)))


@dataclass(frozen=True, slots=True)
class SheetTable:
    """A table of figures to stand above the pictures.

    Attributes:
        header: one text a column; the first column names the row.
        rows: each as long as the header; floats are shown to three decimals.
        caption: what the table shows.

    Raises:
        InvalidValue: There is no column, or a row is longer or shorter than the header.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.header:
            raise InvalidValue("A table has no columns.", "Give it a header.")
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.header):
                raise InvalidValue(f"Row {number} of a table has {len(row)} cells under {len(self.header)} headings.")


def require_rows(rows: Sequence[SheetRow]) -> None:
    """Refuses a sheet with nothing on it.

    Raises:
        InvalidValue: There is no row.
    """
    if not rows:
        raise InvalidValue("A contact sheet has no rows.", "Pass at least one sketch.")
