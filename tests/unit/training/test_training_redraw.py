"""Lines of sketches changed at random: what each change does, and that the draws depend on nothing else."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sbka_milvus.training.redraw import MAX_BEND, MAX_REACH, StrokeChanges, redraw, stroke_changes

SIDE = 64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still(count: int) -> StrokeChanges:
    return stroke_changes(count, 0.0, seeded())


def sketch(width: int = 3) -> torch.Tensor:
    """A box and, apart from it, a bar: shape (1, 3, 64, 64)."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((10, 10, 40, 40), outline="black", width=width)
    pen.line((10, 54, 54, 54), "black", width)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float()


def ink(pixels: torch.Tensor) -> torch.Tensor:
    return (1 - pixels.mean(dim=1) / 255).sum(dim=(1, 2))


def test_probability_zero_changes_nothing() -> None:
    pixels = torch.rand(5, 3, 16, 16, generator=seeded(1)) * 255
    assert torch.equal(redraw(pixels, stroke_changes(5, 0.0, seeded())), pixels)


def test_the_probability_is_the_share_of_pictures_that_change_and_each_change_comes_half_as_often() -> None:
    changes = stroke_changes(4000, 0.6, seeded())
    happened = torch.stack(
        [changes.thicker != 0, changes.gap_reach > 0, (changes.bend != 0).flatten(1).any(1), changes.blur > 0]
    )
    assert happened.float().mean(dim=1).tolist() == pytest.approx([0.3] * 4, abs=0.03)
    assert happened.any(dim=0).float().mean().item() == pytest.approx(0.6 * (1 - 0.5**4), abs=0.03)
    assert changes.thicker.min() >= -0.5
    assert changes.thicker.max() <= 1
    assert 0.9 * MAX_REACH < changes.gap_reach.max() <= MAX_REACH
    assert 0.9 * MAX_BEND < changes.bend.abs().max() <= MAX_BEND


def test_one_seed_gives_one_result_and_takes_the_same_from_the_generator_whatever_it_makes() -> None:
    first, again, other = (stroke_changes(9, 0.7, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(getattr(first, f.name), getattr(again, f.name)) for f in fields(first))
    assert not torch.equal(first.bend, other.bend)
    states = []
    for probability in (0.0, 0.5, 1.0):
        generator = seeded(3)
        stroke_changes(9, probability, generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[1], states[2])


def test_a_picture_is_changed_alike_beside_whichever_others() -> None:
    pixels = torch.cat([sketch(width) for width in (1, 2, 3, 4, 5, 6)])
    changes = stroke_changes(6, 1.0, seeded(4))
    whole = redraw(pixels, changes)
    for start in (0, 1):
        share = slice(start, None, 2)
        assert torch.allclose(redraw(pixels[share], changes.share(share)), whole[share], atol=1e-3)


def test_thicker_lines_have_more_ink_and_thinner_ones_less() -> None:
    pixels = sketch().expand(4, -1, -1, -1)
    amounts = torch.tensor([-0.5, 0.0, 0.5, 1.0])
    drawn = redraw(pixels, replace(still(4), thicker=amounts))
    thin, same, thick, thickest = ink(drawn).tolist()
    assert thin < same < thick < thickest
    # A line of 3 pixels gains one on each side.
    assert thickest / same == pytest.approx(5 / 3, rel=0.05)
    assert thin / same == pytest.approx((3 + 1) / 2 / 3, rel=0.05)
    assert (redraw(sketch(1), replace(still(1), thicker=amounts[:1])) < 130).sum() == (sketch(1) < 130).sum()


def test_a_gap_is_a_connected_piece_of_one_line() -> None:
    # All start in the last pixels of ink: the bar at the bottom, which the gap cannot leave.
    gaps = replace(still(1), gap_starts=torch.full((1, 3), 0.999), gap_reach=torch.tensor([0.12]))
    left = redraw(sketch(), gaps)
    assert torch.equal(left[..., :48, :], sketch()[..., :48, :]), "the box is whole"
    before, after = (one[0, 0, 54] < 128 for one in (sketch(), left))
    # 0.12 of 64 pixels is 8 steps to the left, and a pixel of rim.
    assert before.sum() - after.sum() == 8 + 1 + 1
    assert not after[45:].any()
    assert after[10:40].all()


def test_a_gap_that_would_take_half_of_the_drawing_takes_nothing() -> None:
    dot = torch.full((1, 3, SIDE, SIDE), 255.0)
    dot[..., 30:33, 30:33] = 0
    gaps = replace(still(1), gap_starts=torch.zeros(1, 3), gap_reach=torch.tensor([0.1]))
    assert torch.allclose(redraw(dot, gaps), dot)
    blank = torch.full((1, 3, SIDE, SIDE), 255.0)
    assert torch.allclose(redraw(blank, gaps), blank), "nor is there anything to take from a blank sheet"


def test_one_shift_at_all_knots_moves_the_drawing() -> None:
    knots = torch.zeros(1, 2, 5, 5)
    knots[:, 0] = 4 / SIDE
    moved = redraw(sketch(), replace(still(1), bend=knots))
    assert torch.allclose(moved[..., 4:-8], sketch()[..., 8:-4], atol=0.5)


def test_bends_are_smooth_and_keep_lines_together() -> None:
    changes = stroke_changes(50, 1.0, seeded(5))
    bent = replace(still(50), bend=changes.bend)
    drawn = redraw(sketch().expand(50, -1, -1, -1), bent)
    kept = ink(drawn) / ink(sketch())
    assert kept.min() > 0.8
    assert kept.max() < 1.2
    moved = (drawn - sketch()).abs().flatten(1).amax(dim=1)
    assert torch.equal(moved > 1, (changes.bend != 0).flatten(1).any(dim=1))


def test_blur_softens_edges_and_keeps_the_ink() -> None:
    soft = redraw(sketch(), replace(still(1), blur=torch.ones(1)))
    assert ink(soft).item() == pytest.approx(ink(sketch()).item(), rel=1e-3)
    assert ((soft > 20) & (soft < 235)).sum() > 200
    assert ((sketch() > 20) & (sketch() < 235)).sum() == 0


def test_results_are_grey_in_range_and_on_white() -> None:
    pixels = sketch(1).expand(60, -1, -1, -1)
    drawn = redraw(pixels, stroke_changes(60, 1.0, seeded(6)))
    assert drawn.dtype == torch.float32
    assert drawn.shape == pixels.shape
    assert drawn.min() >= 0
    assert drawn.max() <= 255
    assert torch.equal(drawn[:, 0], drawn[:, 2])
    assert (drawn[..., 0, :] == 255).all()
    assert (ink(drawn) > 0.2 * ink(pixels)).all(), "no drawing vanishes"
