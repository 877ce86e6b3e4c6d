import pytest

from sbka_milvus.sheets.lettering import drawable, font_of_size, one_line, shorten

FONT = font_of_size(14)


def test_text_stays_on_one_line_and_shows_its_control_characters():
    assert one_line(" a\r\n b\tc\x00 ") == "a b c\ufffd"
    assert one_line("\udcff\u202e") == "\ufffd\ufffd"
    assert one_line("می\u200cخواهم") == "می\u200cخواهم"


def test_letters_the_font_lacks_are_replaced():
    assert drawable("Café über “x” 中", FONT) == "Cafe uber “x” ?"
    assert drawable("\udcff", FONT) == "?"
    assert drawable("cafe\u0301 a\u200db", FONT) == "cafe ab"


def test_text_that_fits_is_left_alone():
    assert shorten("airplane", FONT, FONT.getlength("airplane")) == "airplane"


@pytest.mark.parametrize("width", [20, 35, 60, 100])
def test_long_text_ends_in_an_ellipsis_within_its_width(width):
    text = shorten("hot-air balloon of a very long name", FONT, width)
    assert text.endswith("…")
    assert FONT.getlength(text) <= width
    assert "hot-air balloon".startswith(text[:-1].strip()[:15])
    assert len(text) > 1


def test_a_longer_cut_would_not_have_fitted():
    whole = "abcdefghijklmnopqrstuvwxyz"
    cut = shorten(whole, FONT, 80)
    assert FONT.getlength(whole[: len(cut)] + "…") > 80


def test_no_blank_stands_before_the_ellipsis():
    assert shorten("ab cdefgh", FONT, FONT.getlength("ab …")) == "ab…"


def test_where_nothing_fits_there_is_no_text():
    assert shorten("airplane", FONT, 1) == ""
    assert shorten("airplane", FONT, FONT.getlength("…")) == "…"
