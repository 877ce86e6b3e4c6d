"""Text that fits: one line, in letters that the font has, no wider than its place."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

ELLIPSIS = "…"

_JOINERS = "\u200c\u200d"  # not printable by themselves, but spelling needs them in Persian, Hindi and emoji


@lru_cache(maxsize=16)
def font_of_size(size: int) -> Font:
    """Pillow's own font, so that a sheet looks the same on every machine."""
    return ImageFont.load_default(size)


def one_line(text: str) -> str:
    """The text with each run of white space made one blank, and what cannot be shown made a replacement character.

    >>> one_line("  a\\n\\tb ")
    'a b'
    """
    return "".join(
        letter if letter.isprintable() or letter in _JOINERS else "\ufffd" for letter in " ".join(text.split())
    )


def drawable(text: str, font: Font) -> str:
    """The text on one line, in letters that ``font`` has.

    Pillow's font has little beyond ASCII: accents are dropped, other letters become question marks.

    >>> drawable("café 中", font_of_size(12))
    'cafe ?'
    """
    return "".join(_letter(letter, font) for letter in one_line(text))


def shorten(text: str, font: Font, width: float) -> str:
    """The text, drawable, cut and ended with an ellipsis where it is wider than ``width`` pixels."""
    whole = drawable(text, font)
    if font.getlength(whole) <= width:
        return whole
    for end in range(len(whole) - 1, 0, -1):
        cut = whole[:end].rstrip() + ELLIPSIS
        if font.getlength(cut) <= width:
            return cut
    return ELLIPSIS if font.getlength(ELLIPSIS) <= width else ""


@lru_cache(maxsize=4096)
def _letter(letter: str, font: Font) -> str:
    if letter.isascii() or _has(letter, font):
        return letter
    base = "".join(part for part in unicodedata.normalize("NFKD", letter) if not _is_accent(part))
    return base if base.isascii() else "?"


def _is_accent(letter: str) -> bool:
    return unicodedata.combining(letter) != 0 or letter in _JOINERS


def _has(letter: str, font: Font) -> bool:
    # A letter that a font lacks is drawn as the same box as one from the private use area, which no font has.
    return bytes(font.getmask(letter)) != bytes(font.getmask("\ue000"))
