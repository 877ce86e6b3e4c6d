import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

from sbka_milvus.errors import ImageError, InvalidValue, OutputError
from sbka_milvus.sheets import SheetHit, SheetRow, SheetTable, write_html

VOID = {"meta", "img", "use", "circle", "path"}
HOSTILE = "<script>alert('x')</script> \" onerror=\"y & </title>"


class Page(HTMLParser):
    """Collects elements and their text, and checks that every element is closed in turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self._open = [], {}, []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open:
            self.words.setdefault(self._open[-1], []).append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def hit(caption="0.9", correct=None, size=(40, 30)):
    return SheetHit(Image.new("RGB", size, (10, 200, 30)), caption, correct)


def row(*hits, label="cat"):
    return SheetRow(Image.new("L", (20, 20), 255), label, hits)


@pytest.fixture
def render(tmp_path):
    def write(rows, **options):
        path = tmp_path / "sheet.html"
        write_html(rows, path, **{"title": "A sheet", **options})
        return path.read_text("utf-8")

    return write


def picture(attrs):
    kind, data = re.fullmatch(r"data:image/(\w+);base64,(.+)", attrs["src"]).groups()
    return kind, Image.open(BytesIO(base64.b64decode(data)))


def test_pictures_stand_in_the_page_sketches_as_png_and_photos_as_jpeg(render):
    sketch, photo = (picture(attrs) for attrs in Page(render([row(hit())])).all("img"))
    assert (sketch[0], sketch[1].format, sketch[1].size, sketch[1].mode) == ("png", "PNG", (20, 20), "L")
    assert (photo[0], photo[1].format, photo[1].size) == ("jpeg", "JPEG", (40, 30))
    assert all(abs(a - b) < 8 for a, b in zip(photo[1].getpixel((20, 15)), (10, 200, 30), strict=True))


def test_coloured_sketches_keep_their_colour(render):
    sketch = SheetRow(Image.new("RGB", (4, 4), (250, 0, 0)), "cat", ())
    assert picture(Page(render([sketch])).all("img")[0])[1].getpixel((0, 0)) == (250, 0, 0)


def test_large_pictures_are_scaled_down_and_say_their_size(render):
    attrs = Page(render([row(hit(size=(400, 200)))], max_side=100)).all("img")[1]
    assert picture(attrs)[1].size == (100, 50)
    assert (attrs["width"], attrs["height"]) == ("100", "50")


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(render):
    text = render([row(hit(correct=True), label=HOSTILE)], title=HOSTILE, subtitle="s")
    assert re.search(r"https?:|//[a-z]|@import|url\(", text) is None
    page = Page(text)
    assert not {"script", "link", "iframe", "a"} & {tag for tag, _ in page.elements}
    policy = [attrs for attrs in page.all("meta") if "http-equiv" in attrs]
    assert policy[0]["content"].startswith("default-src 'none'; img-src data:")
    assert all(attrs["src"].startswith("data:") for attrs in page.all("img"))


def test_every_text_is_escaped(render):
    table = SheetTable((HOSTILE, HOSTILE), ((HOSTILE, HOSTILE),), HOSTILE)
    rows = [row(hit(HOSTILE, True), label=HOSTILE), row(label=HOSTILE)]
    page = Page(render(rows, title=HOSTILE, subtitle=HOSTILE, tables=[table]))
    tags = {tag for tag, _ in page.elements}
    assert "script" not in tags
    assert not any("onerror" in attrs for _, attrs in page.elements)
    for tag in ("title", "h1", "h2", "caption", "td", "th"):
        assert HOSTILE in page.words[tag], tag
    assert any(HOSTILE in words for words in page.words["figcaption"])
    assert page.all("img")[1]["alt"] == f"hit 1: {HOSTILE}"


def test_marks_say_in_words_what_they_mean(render):
    page = Page(render([row(hit(correct=True), hit(correct=False), hit(correct=None))]))
    marks = [attrs["aria-label"] for attrs in page.all("svg") if attrs.get("role") == "img"]
    assert marks == ["right category", "wrong category"]
    assert [attrs.get("class") for attrs in page.all("li")] == ["right", "wrong", None]
    assert [attrs["href"] for attrs in page.all("use")] == ["#right", "#wrong"]
    assert {attrs["id"] for attrs in page.all("symbol")} == {"right", "wrong"}
    assert "1 of 2 right" in page.words["p"]


def test_nothing_is_said_of_right_and_wrong_where_it_is_not_known(render):
    page = Page(render([row(hit(), hit())]))
    assert "p" not in page.words


def test_pictures_have_texts_for_those_who_do_not_see_them(render):
    assert [attrs["alt"] for attrs in Page(render([row(hit("0.91"))])).all("img")] == ["sketch: cat", "hit 1: 0.91"]


def test_tables_show_floats_to_three_decimals_and_the_rest_as_it_is(render):
    table = SheetTable(("method", "mAP@all", "photos"), (("chance", 0.04926, 625),), "Scores")
    page = Page(render([row(hit())], tables=[table]))
    assert page.words["td"] == ["0.049", "625"]
    assert page.words["th"] == ["method", "mAP@all", "photos", "chance"]
    assert page.words["caption"] == ["Scores"]
    assert [attrs["scope"] for attrs in page.all("th")] == ["col", "col", "col", "row"]


def test_a_search_that_found_nothing_says_so(render):
    page = Page(render([row()]))
    assert page.words["p"] == ["no hits"]
    assert "ol" not in {tag for tag, _ in page.elements}


def test_the_page_follows_the_readers_scheme_and_window(render):
    text = render([row(hit())])
    assert "color-scheme: light dark" in text
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 40rem" in text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in Page(text).all("meta")


def test_names_that_are_no_text_do_not_stop_the_page(render):
    page = Page(render([row(hit("photo-\udcff\x00.jpg"), label="中文")]))
    assert " photo-\ufffd\ufffd.jpg" in page.words["figcaption"]
    assert page.words["h2"] == ["中文"]


def test_one_sheet_is_always_the_same_bytes(render):
    rows = [row(hit(correct=True))]
    assert render(rows) == render(rows)


def test_bad_pictures_leave_the_old_file(tmp_path):
    path = tmp_path / "sheet.html"
    path.write_text("old")
    with pytest.raises(ImageError, match="'empty'"):
        write_html([row(hit("empty", size=(0, 0)))], path, title="t")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["sheet.html"]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="no rows"):
        write_html([], tmp_path / "sheet.html", title="t")
    with pytest.raises(InvalidValue, match="max_side is 0"):
        write_html([row(hit())], tmp_path / "sheet.html", title="t", max_side=0)
    with pytest.raises(OutputError, match="cannot be written"):
        write_html([row(hit())], tmp_path, title="t")
    assert list(tmp_path.iterdir()) == []


def test_tables_refuse_rows_that_do_not_fit_their_header():
    with pytest.raises(InvalidValue, match="Row 2 of a table has 1 cells under 2 headings"):
        SheetTable(("a", "b"), (("x", 1), ("y",)))
    with pytest.raises(InvalidValue, match="no columns"):
        SheetTable((), ())


def test_a_note_on_the_result_stands_under_the_sketch(tmp_path):
    ground = Image.new("L", (8, 8), 255)
    hits = (SheetHit(ground, "0.9", True),)
    row = SheetRow(ground, "cat", hits, note="no good match <0.3>")
    assert row.verdict() == "1 of 1 right, no good match <0.3>"
    assert SheetRow(ground, "cat", (), note="no good match").verdict() == "no good match"
    write_html([row], tmp_path / "page.html", title="t")
    assert "<p>1 of 1 right, no good match &lt;0.3&gt;</p>" in (tmp_path / "page.html").read_text()
