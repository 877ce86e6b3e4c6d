import pytest
from PIL import Image, ImageChops

from sbka_milvus.errors import ImageError, InvalidValue, OutputError
from sbka_milvus.sheets import SheetHit, SheetRow, draw_sheet, write_png
from sbka_milvus.sheets.png import _RIGHT, _WRONG, _Layout

BLUE = (0, 0, 200)
WHITE = (255, 255, 255)


def hit(correct=None, caption="0.9"):
    return SheetHit(Image.new("RGB", (30, 30), BLUE), caption, correct)


def row(*hits, label="cat"):
    return SheetRow(Image.new("L", (30, 30), 128), label, hits)


def tile_with_frame(sheet, column, layout):
    left, top = layout.column_x(column), layout.row_y(0)
    return sheet.crop(
        (left - layout.frame, top - layout.frame, left + layout.tile + layout.frame, top + layout.tile + layout.frame)
    )


def test_right_and_wrong_differ_in_shape_as_well_as_in_colour():
    layout = _Layout(96, 3, 1)
    sheet = draw_sheet([row(hit(True), hit(False), hit(None))], title="t", tile=96)
    right, wrong, unknown = (tile_with_frame(sheet, column, layout) for column in (1, 2, 3))
    assert right.getpixel((0, 50)) == right.getpixel((50, 0)) == _RIGHT
    assert wrong.getpixel((0, 50)) == wrong.getpixel((50, 0)) == _WRONG
    assert unknown.getpixel((0, 50)) == (255, 255, 255)
    assert unknown.getpixel((50, 50)) == BLUE
    assert unknown.crop((3, 3, 99, 99)).getcolors() == [(96 * 96, BLUE)]


def test_a_right_hit_has_a_tick_and_a_wrong_one_a_cross():
    layout = _Layout(384, 2, 1)
    sheet = draw_sheet([row(hit(True), hit(False))], title="t", tile=384)

    def colour(column, x, y):
        left, top = layout.column_x(column) + 384 - 64, layout.row_y(0)
        return sheet.getpixel((left + round(64 * x), top + round(64 * y)))

    middle, foot = (0.5, 0.5), (0.44, 0.68)
    assert (colour(1, *foot), colour(1, *middle)) == (WHITE, _RIGHT)
    assert (colour(2, *foot), colour(2, *middle)) == (_WRONG, WHITE)


def test_sketch_stands_at_the_left_and_hits_follow_in_order():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    hits = tuple(SheetHit(Image.new("RGB", (5, 5), colour), "") for colour in colours)
    layout = _Layout(64, 3, 2)
    sheet = draw_sheet([row(), row(*hits)], title="t", tile=64)
    assert sheet.size == layout.size
    middles = [(layout.column_x(column) + 32, layout.row_y(1) + 32) for column in range(4)]
    assert [sheet.getpixel(middle) for middle in middles] == [(128, 128, 128), *colours]


def test_columns_cut_and_widen_a_sheet():
    rows = [row(hit(), hit(), hit())]
    cut, whole, wide = (draw_sheet(rows, title="t", columns=columns) for columns in (2, None, 5))
    assert cut.width == _Layout(128, 2, 1).size[0] < whole.width == _Layout(128, 3, 1).size[0] < wide.width


def test_a_search_that_found_nothing_says_so():
    sheet = draw_sheet([row()], title="t")
    layout = _Layout(128, 1, 1)
    left, top = layout.column_x(1), layout.row_y(0)
    words = ImageChops.invert(sheet.crop((left, top, left + 128, top + 128)).convert("L")).getbbox()
    assert words is not None
    assert words[0] > 30 and words[2] < 98


@pytest.mark.parametrize("text", ["x" * 500, "中文 名", "a\nb\tc\x00", ""])
def test_texts_of_any_length_and_script_stay_in_their_place(text):
    sheet = draw_sheet([row(hit(caption=text), hit(), label=text)], title=text)
    layout = _Layout(128, 2, 1)
    assert sheet.size == layout.size
    between = layout.column_x(2) - layout.gap
    strip = sheet.crop((between + 1, layout.first_y, layout.column_x(2) - 1, sheet.height))
    assert strip.getcolors() == [(strip.width * strip.height, (255, 255, 255))]
    edge = sheet.crop((sheet.width - layout.margin + 1, 0, sheet.width, sheet.height))
    assert edge.getcolors() == [(edge.width * edge.height, (255, 255, 255))]


def test_nothing_is_drawn_over_the_lower_edge():
    sheet = draw_sheet([row(hit(caption="gjpq"), label="gjpq")] * 2, title="t")
    assert ImageChops.invert(sheet.convert("L")).getbbox()[3] < sheet.height - 5


@pytest.mark.parametrize("changes", [{"tile": 47}, {"columns": 0}, {"columns": -1}])
def test_sizes_too_small_are_refused(changes):
    with pytest.raises(InvalidValue, match="at least"):
        draw_sheet([row(hit())], title="t", **changes)


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(InvalidValue, match="no rows"):
        draw_sheet([], title="t")


def test_pictures_without_pixels_are_named():
    with pytest.raises(ImageError, match=r"'0\.75' has no pixels"):
        draw_sheet([row(SheetHit(Image.new("RGB", (0, 0)), "0.75"))], title="t")


def test_the_written_file_holds_the_drawn_sheet(tmp_path):
    rows = [row(hit(True))]
    write_png(rows, tmp_path / "sheet.png", title="t", tile=64)
    with Image.open(tmp_path / "sheet.png") as written:
        assert written.format == "PNG"
        assert ImageChops.difference(written, draw_sheet(rows, title="t", tile=64)).getbbox() is None


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "nowhere").write_text("a file, and no folder")
    with pytest.raises(OutputError, match=r"nowhere.sheet\.png cannot be written"):
        write_png([row(hit())], tmp_path / "nowhere" / "sheet.png", title="t")


def test_a_note_is_written_into_the_sketchs_tile(tmp_path):
    ground = Image.new("L", (64, 64), 255)
    drawn = []
    for note in ("", "no good match"):
        path = tmp_path / f"sheet{len(note)}.png"
        write_png([SheetRow(ground, "cat", (SheetHit(ground, "0.9"),), note=note)], path, title="t")
        with Image.open(path) as sheet:
            drawn.append(sheet.convert("RGB"))
    assert drawn[0].size == drawn[1].size
    assert ImageChops.difference(*drawn).getbbox() is not None
