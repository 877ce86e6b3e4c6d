"""Finds the lines of a photo that somebody would draw: contours of what it shows, and not its textures or ground.

Four known steps, each relative to the photo itself, so that dim and bright photos give alike drawings:

1. the strength of edges over three colour channels at two scales (the structure tensor of Di Zenzo 1986 in CIE L*a*b*);
2. surround suppression: an edge among edges is texture, one that stands alone is a contour (Grigorescu, Petkov and
   Westenberg 2003);
3. geodesic saliency: what is reached from the photo's border without crossing edges is ground (Wei et al. 2012);
4. non-maximum suppression and hysteresis as Canny's (1986), with thresholds that are ranks within the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

_SCALES = (1.4, 2.6)  # pixels: standard deviations of the derivatives
_CHANNEL_RANGES = (100.0, 60.0, 60.0)  # of L*, a* and b* in usual photos
_NEAR, _AROUND = 7, 31  # pixels: an edge's own square, and the one whose edges weaken it
_SUPPRESSION = 0.8  # share of the surrounding strength that is taken off
_REACH = 9  # pixels: an edge is as salient as the best that it borders on
_ENCLOSED = 0.5  # of the greatest distance from the border: from here on a pixel is fully salient
_LEAST_SALIENCY = 0.15  # what an edge within the ground keeps of its strength
_LEAST_CENTRALITY = 0.5  # what an edge at the rim keeps, since people frame what they photograph
_FRAME = 3  # pixels at the rim, where scans and screenshots have edges of their own
_LOW, _HIGH = 38, 82  # ranks in percent among the edges of a photo: the thresholds where there is much texture
_CLEAR_LOW, _CLEAR_HIGH = 0.12, 0.3  # worth that passes in any photo: a clear one may show nothing but contours
_STRONGEST = 95  # the rank that counts as full strength
_FAINTEST = 2e-3  # strength of full contrast is about 0.4; less than this is noise of a blank picture


@dataclass(frozen=True, slots=True)
class Lines:
    """Where a photo has lines.

    Attributes:
        mask: shape (H, W), bool: lines of one pixel's width.
        worth: shape (H, W), float32, in [0, 1]: how much a line at each pixel would tell.
    """

    mask: Mask
    worth: Field


def find_lines(pixels: NDArray[np.uint8]) -> Lines:
    """The lines of a photo.

    Args:
        pixels: shape (H, W, 3), uint8, RGB. The scales are meant for a long side of about 256 pixels.
    """
    from scipy import ndimage
    from skimage.filters import apply_hysteresis_threshold
    from skimage.morphology import skeletonize

    strength, angle = _edges(pixels)
    alone = _without_texture(strength)
    thin = _is_crest(alone, angle) & (alone > 0)
    thin[:_FRAME], thin[-_FRAME:], thin[:, :_FRAME], thin[:, -_FRAME:] = False, False, False, False
    found = alone[thin]
    top = float(np.percentile(found, _STRONGEST)) if found.size else 0.0
    if top < _FAINTEST:
        return Lines(np.zeros(strength.shape, dtype=np.bool_), np.zeros(strength.shape, dtype=np.float32))
    salient = ndimage.maximum_filter(_saliency(alone), _REACH)
    worth = (
        np.minimum(alone / top, 1) * (_LEAST_SALIENCY + (1 - _LEAST_SALIENCY) * salient) * _centrality(salient.shape)
    )
    low, high = np.minimum(np.percentile(worth[thin], (_LOW, _HIGH)), (_CLEAR_LOW, _CLEAR_HIGH))
    mask = apply_hysteresis_threshold(np.where(thin, worth, 0), low, high)
    # Crests that run diagonally have gaps of one pixel.
    closed = ndimage.binary_closing(np.pad(mask, 1), np.ones((3, 3)))[1:-1, 1:-1]
    return Lines(np.asarray(skeletonize(closed), dtype=np.bool_), worth.astype(np.float32))


def _edges(pixels: NDArray[np.uint8]) -> tuple[Field, Field]:
    """Strength of the strongest change of colour at each pixel over all scales, and its angle in radians."""
    from scipy import ndimage
    from skimage.color import rgb2lab

    lab = (rgb2lab(pixels.astype(np.float32) / 255) / _CHANNEL_RANGES).astype(np.float32)
    best = np.full(pixels.shape[:2], -1, dtype=np.float32)
    angle = np.zeros_like(best)
    for scale in _SCALES:
        across = [scale * ndimage.gaussian_filter(lab[..., band], scale, order=(0, 1)) for band in range(3)]
        down = [scale * ndimage.gaussian_filter(lab[..., band], scale, order=(1, 0)) for band in range(3)]
        xx = sum(x * x for x in across)
        yy = sum(y * y for y in down)
        xy = sum(x * y for x, y in zip(across, down, strict=True))
        strength = np.sqrt((xx + yy + np.hypot(xx - yy, 2 * xy)) / 2)
        stronger = strength > best
        best = np.where(stronger, strength, best)
        angle = np.where(stronger, np.arctan2(2 * xy, xx - yy) / 2, angle)
    return best, angle


def _without_texture(strength: Field) -> Field:
    from scipy import ndimage

    near, around = (side**2 * ndimage.uniform_filter(strength, side, mode="reflect") for side in (_NEAR, _AROUND))
    ring = (around - near) / (_AROUND**2 - _NEAR**2)
    return np.asarray(np.maximum(strength - _SUPPRESSION * ring, 0), dtype=np.float32)


def _is_crest(strength: Field, angle: Field) -> Mask:
    """Whether a pixel is at least as strong as its neighbours on both sides of the line."""
    from scipy import ndimage

    rows, columns = np.indices(strength.shape, dtype=np.float32)
    across, down = np.cos(angle), np.sin(angle)
    before, after = (
        ndimage.map_coordinates(strength, [rows + sign * down, columns + sign * across], order=1, mode="nearest")
        for sign in (-1, 1)
    )
    return np.asarray((strength > before) & (strength >= after))


def _saliency(strength: Field) -> Field:
    """How much edge lies between a pixel and the border at least: 0 for ground, 1 for what is well enclosed."""
    from scipy import ndimage
    from skimage.graph import MCP_Geometric
    from skimage.measure import block_reduce

    # At half the size, where an edge still blocks the way, it takes a quarter of the time.
    small = block_reduce(strength, (2, 2), np.max)
    cost = np.maximum(small - np.median(small), 0) + 1e-4
    rim = np.ones(cost.shape, dtype=np.bool_)
    rim[1:-1, 1:-1] = False
    distance, _ = MCP_Geometric(cost).find_costs(np.argwhere(rim))
    # What is half as well enclosed as the best is enclosed enough: a part of a thing may border on the ground.
    full = _ENCLOSED * float(np.percentile(distance, 97))
    scaled = np.clip(distance / max(full, 1e-9), 0, 1).astype(np.float32)
    whole = ndimage.zoom(scaled, 2, order=1)
    return np.asarray(whole[: strength.shape[0], : strength.shape[1]], dtype=np.float32)


def _centrality(shape: tuple[int, ...]) -> Field:
    rows, columns = ((np.arange(side) + 0.5) / side - 0.5 for side in shape)
    bell = np.exp(-((rows[:, None] / 0.45) ** 2 + (columns[None, :] / 0.45) ** 2) / 2)
    return np.asarray(_LEAST_CENTRALITY + (1 - _LEAST_CENTRALITY) * bell, dtype=np.float32)
