"""Pictures of drawings, taken apart in the order in which they might have been drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from sbka_milvus.errors import EmptySketch, InvalidValue
from sbka_milvus.images import drawing_order, normalise_sketch, unfinished


def drawing(size: int = 100) -> Image.Image:
    """A long line above a short one, 90 and 30 pixels, three pixels thick."""
    image = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(image)
    pen.line((5, 20, 94, 20), fill="black", width=3)
    pen.line((5, 70, 34, 70), fill="black", width=3)
    return image


def ink(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L")) < 128


def test_the_long_line_comes_first_from_its_end_on() -> None:
    sketch = drawing()
    order = drawing_order(sketch)
    assert order.shape == (100, 100)
    assert order.dtype == np.float32
    half = ink(unfinished(sketch, order, 0.5))
    assert not half[60:].any()
    (columns,) = half[19:22].all(axis=0).nonzero()
    assert 55 <= len(columns) <= 65, "a half of 120 pixels, at its full width"
    assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))
    assert columns[0] <= 8 or columns[-1] >= 91
    most = ink(unfinished(sketch, order, 0.8))
    assert most[19:22, 8:92].all()
    assert most[69:72].any()
    assert not most[69:72].all(axis=0)[8:32].all()


def test_what_is_drawn_grows_to_the_whole(tmp_path) -> None:
    sketch = normalise_sketch(drawing(), size=160)
    order = drawing_order(sketch)
    steps = [ink(unfinished(sketch, order, share / 10)) for share in range(1, 11)]
    for before, after in pairwise(steps):
        assert not (before & ~after).any(), "nothing that was drawn goes"
        assert after.sum() >= before.sum()
    assert np.array_equal(np.asarray(unfinished(sketch, order, 1.0)), np.asarray(sketch))
    shares = np.array([step.sum() for step in steps]) / steps[-1].sum()
    np.testing.assert_allclose(shares, np.arange(1, 11) / 10, atol=0.06)


def test_chance_puts_the_strokes_in_another_order() -> None:
    image = Image.new("RGB", (100, 100), "white")
    pen = ImageDraw.Draw(image)
    for number in range(8):
        pen.line((5, 5 + 12 * number, 90 - 8 * number, 5 + 12 * number), fill="black", width=2)
    orders = [drawing_order(image, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    firsts = {int(np.argmax(ink(unfinished(image, order, 0.02)).any(axis=1))) for order in orders}
    assert len(firsts) == 2


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.001, 1.0), seed=st.integers(0, 5))
def test_there_is_always_something_and_never_more_than_the_sketch(share: float, seed: int) -> None:
    sketch = drawing()
    found = ink(unfinished(sketch, drawing_order(sketch, np.random.default_rng(seed)), share))
    assert found.any()
    assert not (found & ~ink(sketch)).any()


def test_the_sketch_is_left_as_it_was() -> None:
    sketch = drawing()
    before = np.asarray(sketch).copy()
    unfinished(sketch, drawing_order(sketch), 0.3)
    assert np.array_equal(np.asarray(sketch), before)


def test_a_sheet_without_ink_is_refused() -> None:
    with pytest.raises(EmptySketch, match="no ink"):
        drawing_order(Image.new("RGB", (32, 32), "white"))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    sketch = drawing()
    with pytest.raises(InvalidValue, match="share"):
        unfinished(sketch, drawing_order(sketch), share)


def test_the_order_of_another_sketch_is_refused() -> None:
    with pytest.raises(InvalidValue, match="is not of a sketch of 100 x 100"):
        unfinished(drawing(), drawing_order(drawing(80)), 0.5)
