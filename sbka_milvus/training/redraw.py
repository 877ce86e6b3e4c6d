"""Random changes of drawn lines for a batch at once: thickness, gaps, smooth bends, blur.

All that is random is drawn by :func:`stroke_changes` for the whole batch, on the CPU, always in the same number of
draws; :func:`redraw` then does the same to a picture wherever and beside whichever others it is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch.nn import functional

WHITE = 255.0
EACH = 0.5
MAX_THICKER = 1.0
MAX_THINNER = 0.5  # a line of one pixel must not vanish
MAX_GAPS = 3
MAX_REACH = 0.12  # of the side: how far a gap extends along the lines from where it starts
MOST_ERASED = 0.5  # share of the ink; where gaps would take more, the picture keeps all
MAX_BEND = 0.03  # of the side: the shift at a knot of the bending field
KNOTS = 5
DRAWN = 0.25  # of full ink, from which a pixel belongs to a line


@dataclass(frozen=True, slots=True)
class StrokeChanges:
    """What happens to each of N pictures; zeros leave it as it is.

    Attributes:
        thicker: shape (N,), float32, -0.5 to 1: how much of one step of erosion (below 0) or dilation is mixed in.
        gap_starts: shape (N, 3), float32, 0 to 1: where in the ink, counted from the upper left, a gap starts.
        gap_reach: shape (N,), float32: how far gaps extend, as a share of the side.
        bend: shape (N, 2, 5, 5), float32: shifts (x, y) at the knots of a smooth field, as a share of the side.
        blur: shape (N,), float32, 0 to 1: how much of a 3 x 3 binomial blur is mixed in.
    """

    thicker: torch.Tensor
    gap_starts: torch.Tensor
    gap_reach: torch.Tensor
    bend: torch.Tensor
    blur: torch.Tensor

    def share(self, chosen: slice) -> StrokeChanges:
        """Those of some of the pictures."""
        return StrokeChanges(*(getattr(self, field.name)[chosen] for field in fields(self)))


def stroke_changes(count: int, probability: float, generator: torch.Generator) -> StrokeChanges:
    """Random changes.

    Args:
        count: of pictures.
        probability: share of them that are changed; each of the four changes then happens with probability 0.5.
        generator: source of chance, on the CPU.
    """

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator)

    changed = uniform() < probability
    thick, gaps, bent, blurred = (changed & (uniform() < EACH) for _ in range(4))
    thicker = uniform() * (MAX_THICKER + MAX_THINNER) - MAX_THINNER
    return StrokeChanges(
        thicker=thicker * thick,
        gap_starts=uniform(MAX_GAPS),
        gap_reach=uniform() * MAX_REACH * gaps,
        bend=(uniform(2, KNOTS, KNOTS) * 2 - 1) * MAX_BEND * bent[:, None, None, None],
        blur=uniform() * blurred,
    )


def redraw(pixels: torch.Tensor, changes: StrokeChanges) -> torch.Tensor:
    """Changes the lines of sketches.

    Args:
        pixels: shape (N, 3, S, S), float32 in [0, 255], grey: dark lines on white.
        changes: of these N pictures.

    Returns:
        shape (N, 3, S, S), float32, in [0, 255], grey.
    """
    ink = 1 - pixels.mean(dim=1, keepdim=True) / WHITE
    ink = _with_gaps(ink, changes.gap_starts.to(ink.device), changes.gap_reach.to(ink.device))
    ink = _thickened(ink, changes.thicker.to(ink.device))
    ink = _bent(ink, changes.bend.to(ink.device))
    ink = _blurred(ink, changes.blur.to(ink.device))
    drawn = (1 - ink.clamp(0, 1)) * WHITE
    # Untouched pictures keep their very values.
    same = ~_touched(changes).to(ink.device)[:, None, None, None]
    return torch.where(same, pixels, drawn.expand_as(pixels))


def _touched(changes: StrokeChanges) -> torch.Tensor:
    return (changes.thicker != 0) | (changes.gap_reach > 0) | (changes.blur > 0) | (changes.bend != 0).flatten(1).any(1)


def _with_gaps(ink: torch.Tensor, starts: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """Erases what is connected to some points of the ink within a distance along the lines."""
    chosen = torch.nonzero(reach > 0).flatten()
    if not len(chosen):
        return ink
    some, side = ink[chosen], ink.shape[-1]
    lines = some > DRAWN
    counts = lines.flatten(1).sum(dim=1, keepdim=True)
    # The n-th pixel of ink is the first at which the count of pixels so far is n.
    wanted = (starts[chosen] * counts).floor().long().clamp(min=0) + 1
    places = torch.searchsorted(lines.flatten(1).long().cumsum(dim=1), wanted).clamp(max=side * side - 1)
    seeds = torch.zeros_like(some.flatten(1)).scatter_(1, places, 1.0).view_as(some)
    steps = (reach[chosen] * side).round()
    grown = seeds * lines
    for step in range(int(steps.max())):
        wider = functional.max_pool2d(grown, 3, stride=1, padding=1) * lines
        grown = torch.where((step < steps)[:, None, None, None], wider, grown)
    # The soft rim of an erased line must not stay behind as a ghost.
    erased = functional.max_pool2d(grown, 3, stride=1, padding=1)
    left = some * (1 - erased)
    enough = left.flatten(1).sum(dim=1) >= (1 - MOST_ERASED) * some.flatten(1).sum(dim=1)
    return ink.index_copy(0, chosen, torch.where(enough[:, None, None, None], left, some))


def _thickened(ink: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    dilated = functional.max_pool2d(ink, 3, stride=1, padding=1)
    eroded = -functional.max_pool2d(-ink, 3, stride=1, padding=1)
    share = amount.abs()[:, None, None, None]
    target = torch.where((amount > 0)[:, None, None, None], dilated, eroded)
    return ink + share * (target - ink)


def _bent(ink: torch.Tensor, knots: torch.Tensor) -> torch.Tensor:
    chosen = torch.nonzero((knots != 0).flatten(1).any(dim=1)).flatten()
    if not len(chosen):
        return ink
    side = ink.shape[-1]
    field = functional.interpolate(knots[chosen], size=(side, side), mode="bicubic", align_corners=True)
    still = torch.eye(2, 3, device=ink.device).expand(len(chosen), 2, 3)
    grid = functional.affine_grid(still, [len(chosen), 1, side, side], align_corners=False)
    # A grid spans [-1, 1], so a share of the side is twice as much in grid units.
    moved = functional.grid_sample(
        ink[chosen], grid + 2 * field.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False
    )
    return ink.index_copy(0, chosen, moved)


def _blurred(ink: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor([1.0, 2.0, 1.0], device=ink.device) / 4
    padded = functional.pad(ink, (1, 1, 1, 1), mode="replicate")
    soft = functional.conv2d(padded, torch.outer(weights, weights)[None, None])
    return ink + amount[:, None, None, None] * (soft - ink)
