import base64
import re
from io import BytesIO

import pytest
from PIL import Image

from sbka_milvus.errors import ImageError, InvalidValue, OutputError
from sbka_milvus.sheets import SheetHit, SheetPlot, SheetRow, SheetSection, SheetTable, write_page

HOSTILE = "<script>alert('x')</script> \" onerror=\"y & </title>"


def png(colour: str = "red") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (30, 20), colour).save(buffer, "PNG")
    return buffer.getvalue()


def page(tmp_path, *sections, **options) -> str:
    write_page(sections, tmp_path / "page.html", title=options.pop("title", "Title"), **options)
    return (tmp_path / "page.html").read_text()


def test_the_parts_of_a_section_stand_in_their_order(tmp_path):
    row = SheetRow(Image.new("L", (9, 9)), "a sketch", (SheetHit(Image.new("L", (9, 9)), "a hit", True),))
    table = SheetTable(("method", "two\nlines"), (("mine", "0.5\n0.4–0.6"),), "a caption")
    text = page(
        tmp_path,
        SheetSection("First", ("one text", "another text"), (table,), (SheetPlot(png(), "a plot"),), (row,)),
        SheetSection("Second"),
        facts=(("Model", "f00d"), ("Split", "x")),
    )
    wanted = ["<dt>Model</dt><dd>f00d</dd>", ">First</h2>", "one text", "another text", "a caption", "two<br>lines"]
    wanted += ["0.5<br>0.4–0.6", 'alt="a plot"', "a sketch", "a hit", ">Second</h2>", "</html>"]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)


def test_plots_stand_in_the_page_as_they_are(tmp_path):
    text = page(tmp_path, SheetSection("S", plots=(SheetPlot(png("blue"), "p"),)))
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert base64.b64decode(data) == png("blue")


def test_no_text_becomes_markup(tmp_path):
    section = SheetSection(HOSTILE, (HOSTILE,), (SheetTable((HOSTILE,), ((HOSTILE,),)),), (SheetPlot(png(), HOSTILE),))
    text = page(tmp_path, section, title=HOSTILE, facts=((HOSTILE, HOSTILE),))
    assert "<script" not in text
    assert 'onerror="' not in text
    assert text.count("</title>") == 1
    assert "default-src 'none'" in text


def test_without_facts_there_is_no_list_of_them(tmp_path):
    assert "<dl" not in page(tmp_path, SheetSection("S"))


def test_what_makes_no_page_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="no sections"):
        page(tmp_path)
    with pytest.raises(InvalidValue, match="max_side is 0"):
        page(tmp_path, SheetSection("S"), max_side=0)
    with pytest.raises(InvalidValue, match="'figure' is no PNG"):
        SheetPlot(b"GIF89a", "figure")


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    kept = page(tmp_path, SheetSection("Kept"))
    row = SheetRow(Image.new("L", (0, 0)), "no pixels", ())
    with pytest.raises(ImageError, match="no pixels"):
        page(tmp_path, SheetSection("S", rows=(row,)))
    assert (tmp_path / "page.html").read_text() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"page\.html"):
        write_page([SheetSection("S")], tmp_path / "file" / "page.html", title="T")
