"""Tells ink from ground: how dark a drawing is at each pixel, whatever it is drawn on and with."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

_SAMPLES = 48  # the ground is judged on a grid of about 48 x 48 pixels
_NEAR = 40  # levels: so much may the ground of one sheet differ by shadow and paper
_SAME = 6  # levels: a ground drawn by a program differs by no more
_FAINTEST = 8  # levels above the noise: less contrast is no ink
_HAZE = 8  # levels: compression leaves so much around bold ink, and an eighth of that contrast around faint ink
_ONE_SIDED = 12  # times as much ink on one side of the ground's colour as on the other: there is one kind of ink
_STRONGEST = 0.2  # share of the ink that becomes black
_FEWEST_PIXELS = 6  # of ink, in a small drawing
_LEAST_INK = 1e-4  # share of a large drawing
_CELLS = 32  # grid on which an uneven ground is drawn before it is enlarged
_PRESENT = 40  # level of stretched ink from which a pixel counts as drawn on
_DUST = 255 * 3.5 / 25  # mean of 5 x 5 pixels of which at most three are drawn on: no stroke is so small

Levels = NDArray[np.float32]
Colours = NDArray[np.uint8]
Counts = NDArray[np.int64]


def ink_map(image: Image.Image) -> Image.Image | None:
    """How much ink is at each pixel, from 0 (ground) to 255, stretched so that faint strokes become clear.

    Args:
        image: mode L, RGB or RGBA; any drawing: ink in alpha, dark on light, light on dark, or coloured.

    Returns:
        Mode L, cropped to the ink; None where there is none.
    """
    if image.mode != "RGBA":
        return _from_colours(_one_band(image))
    alpha = image.getchannel("A")
    if _ink_is_in_alpha(image, alpha):
        return _cleaned(alpha, counts_of(alpha), 0.0)
    paper = Image.new("RGB", image.size, _opaque_ground(image))
    paper.paste(image, mask=alpha)
    return _from_colours(paper)


def _one_band(image: Image.Image) -> Image.Image:
    # Most sketches are stored in three equal bands; looking at one of them takes half the time.
    bands = image.split()
    return bands[0] if len({band.tobytes() for band in bands}) == 1 else image


def _sampled(image: Image.Image) -> Colours:
    """shape (rows, columns, bands), uint8: a grid of pixels over the whole image."""
    width, height = min(_SAMPLES, image.width), min(_SAMPLES, image.height)
    grid = np.asarray(image.resize((width, height), Image.Resampling.NEAREST))
    return grid.reshape(height, width, -1)


def _border(grid: Colours) -> NDArray[np.uint8]:
    return np.concatenate([grid[0], grid[-1], grid[1:-1, 0], grid[1:-1, -1]])


def _ink_is_in_alpha(rgba: Image.Image, alpha: Image.Image) -> bool:
    """Whether transparency is the ground, rather than a sheet of paper with transparent corners."""
    grid = _sampled(rgba)
    if np.median(_border(grid)[:, 3]) >= 128:
        return False
    box = alpha.point([0] * 128 + [255] * 128).getbbox()
    if box is None:
        return True
    inside = _sampled(rgba.crop(box)).reshape(-1, 4)
    opaque = inside[inside[:, 3] >= 128][:, :3]
    if len(opaque) < len(inside) / 2:
        return True
    # More than half of the box is painted: with one colour it is a silhouette, with several it is paper and ink.
    return bool((np.ptp(np.percentile(opaque, (2, 98), axis=0), axis=0) < 2 * _NEAR).all())


def _opaque_ground(rgba: Image.Image) -> tuple[int, int, int]:
    pixels = _sampled(rgba).reshape(-1, 4)
    opaque = pixels[pixels[:, 3] >= 128][:, :3]
    red, green, blue = (int(level) for level in _mode_colour(opaque)) if len(opaque) else (255, 255, 255)
    return red, green, blue


def _mode_colour(pixels: Colours) -> Levels:
    """The median of the pixels around the most frequent brightness."""
    grey = pixels.mean(axis=1)
    counts = np.bincount((grey / 8).astype(np.int64), minlength=32)
    crowd = np.convolve(counts, (1, 1, 1), "same").argmax() * 8 + 4
    return np.asarray(np.median(pixels[np.abs(grey - crowd) <= 12], axis=0), dtype=np.float32)


def _nearness(pixels: Colours, colour: Levels, tolerance: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(pixels - colour).max(axis=-1) <= tolerance)


def _from_colours(image: Image.Image) -> Image.Image | None:
    ground = _ground(image)
    darker, lighter = (_strongest(ImageChops.subtract(*pair)) for pair in ((ground, image), (image, ground)))
    sides = sorted(((counts_of(side), side) for side in (lighter, darker)), key=lambda pair: _weight(pair[0]))
    (other_counts, other), (counts, ink) = sides
    if _weight(other_counts) * _ONE_SIDED >= _weight(counts):
        # Black and white on toned paper, red on blue, or nothing but noise.
        ink = ImageChops.lighter(ink, other)
        counts = counts_of(ink)
        noise = 3 * _level_reached_by(counts, 0.3)
    else:
        # Noise goes both ways and this ink only one: what there is on the other side is the noise on this one.
        noise = _level_reached_by(other_counts, 0.01)
    return _cleaned(ink, counts, 0.0 if noise < 2 else 1.2 * noise + 3)


def _ground(image: Image.Image) -> Image.Image:
    """The sheet without the drawing: one colour, or a smooth surface where it is unevenly lit.

    The colour is voted for by the border and by the whole, since ink may reach the border or cover much of the whole.
    The whole counts twice, for scans with a dark frame.
    """
    grid = _sampled(image)
    border, whole = _border(grid), grid.reshape(-1, grid.shape[2])
    candidates = (np.asarray(np.median(border, axis=0), dtype=np.float32), _mode_colour(whole))
    colour = max(candidates, key=lambda c: _nearness(border, c, _NEAR).mean() + 2 * _nearness(whole, c, _NEAR).mean())
    if _nearness(whole, colour, _SAME).mean() >= 0.6:
        return _even(image, colour)
    surface = _surface(grid, colour)
    return _even(image, colour) if surface is None else surface.resize(image.size, Image.Resampling.BILINEAR)


def _even(image: Image.Image, colour: Levels) -> Image.Image:
    levels = tuple(round(float(level)) for level in colour)
    return Image.new(image.mode, image.size, levels[0] if len(levels) == 1 else levels)


def _surface(grid: Colours, colour: Levels) -> Image.Image | None:
    """A quadratic surface through the pixels near the ground's colour: least squares, repeated without strays."""
    levels = grid.reshape(-1, grid.shape[2]).astype(np.float32)
    basis = _quadratic(*grid.shape[:2])
    chosen = _nearness(grid.reshape(-1, grid.shape[2]), colour, _NEAR)
    for tolerance in (_NEAR, _NEAR / 2, _NEAR / 3):
        if chosen.sum() < 4 * basis.shape[1]:
            return None
        weights = np.linalg.lstsq(basis[chosen], levels[chosen], rcond=None)[0]
        chosen = np.abs(levels - basis @ weights).max(axis=1) <= tolerance
    cells = np.clip(np.rint(_quadratic(_CELLS, _CELLS) @ weights), 0, 255).astype(np.uint8)
    return Image.fromarray(cells.reshape(_CELLS, _CELLS, -1).squeeze())


def _quadratic(rows: int, columns: int) -> Levels:
    y = np.repeat((np.arange(rows) + 0.5) / rows, columns)
    x = np.tile((np.arange(columns) + 0.5) / columns, rows)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(np.float32)


def _strongest(image: Image.Image) -> Image.Image:
    return functools.reduce(ImageChops.lighter, image.split())


def counts_of(levels: Image.Image) -> Counts:
    """shape (256,), int64: how many pixels of a mode L image have each level."""
    return np.array(levels.histogram(), dtype=np.int64)


def _weight(counts: Counts) -> int:
    return int((counts * np.arange(256) ** 2)[2 * _FAINTEST :].sum())


def _level_reached_by(counts: Counts, share: float) -> int:
    """The highest level that at least this share of the pixels reaches."""
    reached = np.cumsum(counts[::-1])[::-1]  # pixels at level 0 or more, at 1 or more, ...
    return max(int(np.count_nonzero(reached >= max(1.0, share * reached[0]))) - 1, 0)


def stretched(levels: Image.Image, counts: Counts, floor: float = 0.0, most: float = 255.0) -> Image.Image:
    """Levels from ``floor`` to the one that a fifth of the ink reaches, spread over 0 to 255.

    Args:
        levels: mode L.
        counts: :func:`counts_of` them.
        floor: what is at or below it becomes 0.
        most: the highest factor.
    """
    ink = counts.copy()
    ink[: int(floor) + 1] = 0
    top = _level_reached_by(ink, _STRONGEST)
    factor = min(255.0 / max(top - floor, 1.0), most)
    return levels.point(np.clip(np.rint((np.arange(256) - floor) * factor), 0, 255).astype(int).tolist())


def _cleaned(levels: Image.Image, counts: Counts, floor: float) -> Image.Image | None:
    """Ink above the noise, stretched, without dust; None where nothing is left."""
    peak = _level_reached_by(counts, max(_FEWEST_PIXELS / counts.sum(), _LEAST_INK))
    floor = max(floor, min(_HAZE, peak / 8))
    if peak < floor + _FAINTEST:
        return None
    ink = stretched(levels, counts, floor)
    # How many pixels around each have ink, however faint: beside bold strokes there may be pale ones.
    present = ink.point([255 * (level >= _PRESENT) for level in range(256)])
    company = present.filter(ImageFilter.BoxBlur(2)).point([255 * (level > _DUST) for level in range(256)])
    # The faint fringe around the outermost strokes, or what compression made of it, must not move the box.
    box = ImageChops.multiply(present, company).getbbox()
    return None if box is None else ImageChops.multiply(ink, company).crop(box)
