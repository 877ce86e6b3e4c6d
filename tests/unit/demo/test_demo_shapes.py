"""The parametric shapes and the kit they are drawn with."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.demo import CATEGORIES, CategorySpec
from sbka_milvus.demo.shapes.curves import blob, capsule, ellipse, lathe, lens, mirror, rect, rounded, spline, tube
from sbka_milvus.demo.shapes.kit import Figure, Role

each_category = pytest.mark.parametrize("spec", CATEGORIES, ids=lambda spec: spec.name)


@each_category
def test_samples_fill_the_unit_box_and_fit_the_label_map(spec: CategorySpec) -> None:
    for seed in range(4):
        parts = spec.sample(np.random.default_rng(seed))
        points = np.concatenate([part.points for part in parts])
        assert np.isfinite(points).all()
        assert np.isclose(np.ptp(points, axis=0).max(), 1.0)
        assert np.allclose(points.min(axis=0) + points.max(axis=0), 0.0)
        assert len(parts) <= 255
        assert any(part.role is Role.BODY for part in parts)


@each_category
def test_samples_repeat_with_the_seed_and_differ_between_seeds(spec: CategorySpec) -> None:
    def outline(seed: int) -> bytes:
        return b"".join(part.points.tobytes() for part in spec.sample(np.random.default_rng(seed)))

    outlines = [outline(seed) for seed in range(4)]
    assert outline(0) == outlines[0]
    assert len(set(outlines)) == 4


def area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def test_an_ellipse_has_its_area() -> None:
    assert area(ellipse(3, 4, 2, 1, tilt=30)) == pytest.approx(2 * np.pi, rel=0.01)


def test_an_arc_runs_clockwise_from_the_right() -> None:
    arc = ellipse(0, 0, 1, start=180, end=270)
    assert arc[0] == pytest.approx([-1, 0], abs=1e-9)
    assert arc[-1] == pytest.approx([0, -1], abs=1e-9)


def test_a_spline_passes_through_its_points() -> None:
    points = np.array([(0.0, 0.0), (1.0, 2.0), (3.0, 1.0)])
    assert spline(points, steps=7)[::7] == pytest.approx(points)
    assert blob(points)[::7] == pytest.approx(points)


def test_rounding_takes_the_corners_and_no_more() -> None:
    assert area(rounded(rect(0, 0, 2, 1), 0.1)) == pytest.approx(2 - 4 * 0.1**2 / 6, abs=1e-3)
    # More than half of an edge cannot be taken.
    assert np.ptp(rounded(rect(0, 0, 2, 1), 9.0), axis=0) == pytest.approx([2, 1])


def test_a_tube_is_as_wide_as_asked() -> None:
    path = np.array([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)])
    assert area(tube(path, 0.5)) == pytest.approx(1.0)
    assert area(tube(path, 0.5, 0.1)) == pytest.approx(0.6)
    assert area(capsule(path, 0.5)) == pytest.approx(1.0 + np.pi * 0.25**2, rel=0.02)


def test_a_lens_spans_its_tips_and_is_widest_at_its_belly() -> None:
    points = lens(0, 0, 1, 0, 0.4, belly=0.25)
    assert np.ptp(points, axis=0) == pytest.approx([1.0, 0.4], abs=0.02)
    assert points[np.abs(points[:, 1]).argmax(), 0] == pytest.approx(0.25, abs=0.06)


def test_a_turned_shape_is_symmetric() -> None:
    points = lathe([(0.5, 0), (1, 1), (0.2, 2)], cx=2.0)
    assert points == pytest.approx(mirror(points, x=2.0)[::-1])


def test_fitting_keeps_proportions_and_scales_widths() -> None:
    figure = Figure(np.random.default_rng(0))
    figure.body(rect(10, 10, 14, 12))
    figure.wire([(10, 10), (14, 12)], 0.4)
    body, wire = figure.fitted()
    assert np.ptp(body.points, axis=0) == pytest.approx([1.0, 0.5])
    assert wire.width == pytest.approx(0.1)
