"""Photo-like pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sbka_milvus.demo import CATEGORIES, CategorySpec
from sbka_milvus.demo.background import draw_background
from sbka_milvus.demo.photo import draw_photo
from sbka_milvus.demo.shapes.curves import rect
from sbka_milvus.demo.shapes.kit import Part, Role, Tone
from sbka_milvus.demo.texture import palette

SIZE = 64


def pixels(parts: list[Part], seed: int = 0) -> np.ndarray:
    return np.asarray(draw_photo(parts, np.random.default_rng(seed), SIZE), dtype=np.float64)


def square(*more: Part) -> list[Part]:
    return [Part(rect(-0.5, -0.5, 0.5, 0.5), Role.BODY, Tone.MAIN, 0.0, True), *more]


@pytest.mark.parametrize("spec", CATEGORIES, ids=lambda spec: spec.name)
def test_photos_have_three_channels_that_vary(spec: CategorySpec) -> None:
    rng = np.random.default_rng(5)
    photo = np.asarray(draw_photo(spec.sample(rng), rng, SIZE), dtype=np.float64)
    assert photo.shape == (SIZE, SIZE, 3)
    assert (photo.std(axis=(0, 1)) > 4).all()
    assert np.abs(photo[..., 0] - photo[..., 2]).max() > 10


def test_one_figure_is_coloured_and_lit_anew_each_time() -> None:
    centres = np.array([pixels(square(), seed)[28:36, 28:36].mean(axis=(0, 1)) for seed in range(24)])
    assert (centres.std(axis=0) > 25).all()


def test_equal_generators_take_equal_photos() -> None:
    assert np.array_equal(pixels(square(), 3), pixels(square(), 3))
    assert not np.array_equal(pixels(square(), 3), pixels(square(), 4))


def hole(part: Part) -> Part:
    return replace(part, role=Role.HOLE)


def test_the_background_is_seen_through_a_hole() -> None:
    body = square()[0]
    light, dark = (replace(body, tone=tone) for tone in (Tone.LIGHT, Tone.DARK))
    for seed in range(4):
        assert not np.array_equal(pixels([light], seed), pixels([dark], seed))
        assert np.array_equal(pixels([light, hole(light)], seed), pixels([dark, hole(dark)], seed))


def test_an_open_detail_darkens_the_body_it_lies_on() -> None:
    seam = Part(np.array([(-0.3, 0.0), (0.3, 0.0)]), Role.MARK, Tone.DARK, 0.2, False)
    for seed in range(4):
        change = pixels(square(seam), seed) - pixels(square(), seed)
        assert change.max() <= 1.0
        assert 0.01 < (change.min(axis=2) < -15).mean() < 0.2


def test_backgrounds_vary_and_stay_in_range() -> None:
    means = []
    for seed in range(30):
        field = draw_background(np.random.default_rng(seed), SIZE)
        assert field.shape == (SIZE, SIZE, 3)
        assert np.isfinite(field).all()
        means.append(field.mean(axis=(0, 1)))
    assert (np.std(means, axis=0) > 15).all()


def test_colours_keep_away_from_the_background() -> None:
    grey = np.full(3, 128.0, dtype=np.float32)
    distances = [np.abs(palette(np.random.default_rng(seed), grey)[0] - grey).sum() for seed in range(100)]
    assert np.mean(np.array(distances) > 130) > 0.9
