"""Sketch-like pictures, and the poses they share with photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sbka_milvus.demo import CATEGORIES, CategorySpec
from sbka_milvus.demo.photo import PHOTO_POSES
from sbka_milvus.demo.pose import PoseRange, sample_pose
from sbka_milvus.demo.shapes.curves import ellipse, rect
from sbka_milvus.demo.shapes.kit import Part, Role, Tone
from sbka_milvus.demo.sketch import SKETCH_POSES, draw_sketch, sample_hand

SIZE = 64
SQUARE = Part(rect(-0.5, -0.5, 0.5, 0.5), Role.BODY, Tone.MAIN, 0.0, True)


TRIANGLE = replace(SQUARE, points=np.array([(-0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]))


def ink(parts: list[Part], seed: int = 0) -> np.ndarray:
    """Darkness of each pixel, 0 to 1."""
    grey = np.asarray(draw_sketch(parts, np.random.default_rng(seed), SIZE).convert("L"), dtype=np.float64)
    return 1.0 - grey / 255.0


@pytest.mark.parametrize("spec", CATEGORIES, ids=lambda spec: spec.name)
def test_sketches_are_mostly_white_with_dark_ink(spec: CategorySpec) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        grey = np.asarray(draw_sketch(spec.sample(rng), rng, SIZE).convert("L"))
        assert grey.shape == (SIZE, SIZE)
        assert (grey > 250).mean() > 0.5
        assert (grey < 170).mean() > 0.015


def test_equal_generators_draw_equal_sketches() -> None:
    assert np.array_equal(ink([SQUARE], 3), ink([SQUARE], 3))
    assert not np.array_equal(ink([SQUARE], 3), ink([SQUARE], 4))


def test_bodies_are_outlined_and_not_filled() -> None:
    for seed in range(10):
        assert ink([SQUARE], seed)[28:36, 28:36].max() == 0.0


def test_a_body_hides_what_lies_behind_it() -> None:
    behind = Part(ellipse(0, 0, 0.2), Role.BODY, Tone.MAIN, 0.0, True)
    for seed in range(10):
        assert ink([behind, SQUARE], seed)[22:42, 22:42].sum() == 0.0
        assert ink([SQUARE, behind], seed)[16:48, 16:48].sum() > 1.0


def test_some_hands_leave_details_out_and_none_leaves_out_a_body() -> None:
    mark = Part(ellipse(0, 0, 0.2), Role.MARK, Tone.ACCENT, 0.0, True)
    body = replace(mark, role=Role.BODY)
    drawn = [bool(ink([SQUARE, mark], seed)[16:48, 16:48].any()) for seed in range(40)]
    assert 0.3 < np.mean(drawn) < 0.95
    assert all(ink([SQUARE, body], seed)[16:48, 16:48].any() for seed in range(40))


def test_hands_differ() -> None:
    hands = [sample_hand(np.random.default_rng(seed)) for seed in range(60)]
    assert len({hand.ink for hand in hands}) >= 4
    assert max(hand.width for hand in hands) > 2 * min(hand.width for hand in hands)
    assert any(hand.grain > 0 for hand in hands)
    assert any(hand.grain == 0 for hand in hands)
    assert any(hand.doubled > 0 for hand in hands)


@pytest.mark.parametrize("limits", [PHOTO_POSES, SKETCH_POSES], ids=["photo", "sketch"])
def test_poses_stay_about_the_frame_and_vary(limits: PoseRange) -> None:
    centres, lengths = [], []
    for seed in range(60):
        pose = sample_pose(np.random.default_rng(seed), [TRIANGLE], 100, replace(limits, bend=0.0, perspective=0.0))
        placed = pose.apply(TRIANGLE.points)
        assert placed.min() >= -0.01
        assert placed.max() <= 100.01
        centres.append((placed.min(axis=0) + placed.max(axis=0)) / 2)
        lengths.append(np.ptp(placed, axis=0).max() / 100)
    assert limits.scale[0] - 1e-6 <= min(lengths) < max(lengths) <= limits.scale[1] + 1e-6
    assert (np.std(centres, axis=0) > 0.5).all()


def test_sketches_are_posed_more_calmly_than_photos() -> None:
    assert SKETCH_POSES.rotation < PHOTO_POSES.rotation
    assert SKETCH_POSES.perspective < PHOTO_POSES.perspective
    assert SKETCH_POSES.wander < PHOTO_POSES.wander


def test_some_poses_are_mirrored() -> None:
    handed = {
        np.linalg.det(sample_pose(np.random.default_rng(s), [SQUARE], 64, PHOTO_POSES).matrix) > 0 for s in range(20)
    }
    assert handed == {True, False}
