"""Things that sail and fly."""

from __future__ import annotations

from sbka_milvus.demo.shapes.curves import blob, ellipse, lathe, rect, rounded, span, spline
from sbka_milvus.demo.shapes.kit import Figure, Tone


def sailboat(fig: Figure) -> None:
    """A boat under sail."""
    half, deep, tall = fig.u(0.8, 1.0), fig.u(0.28, 0.42), fig.u(1.5, 2.0)
    mast = fig.u(-0.15, 0.2)
    fig.wire([(mast, 0), (mast, -tall)], 0.05)
    main = spline(
        [(mast - 0.05, -tall * 0.96), (mast - half * 0.62, -tall * 0.5), (mast - half * fig.u(0.8, 1.0), -0.18)]
    )
    fig.body([*map(tuple, main), (mast - 0.05, -0.18)], Tone.LIGHT)
    for k in range(1, fig.n(1, 4)):
        fig.crease([(mast - 0.05, -tall * 0.25 * k), (mast - half * (0.85 - 0.2 * k), -tall * 0.25 * k)], 0.02)
    if fig.chance(0.8):
        jib = spline(
            [(mast + 0.05, -tall * fig.u(0.75, 0.92)), (mast + half * 0.45, -tall * 0.4), (half * 0.92, -0.16)]
        )
        fig.body([*map(tuple, jib), (mast + 0.05, -0.16)], Tone.SECOND)
    if fig.chance(0.5):
        fig.body([(mast, -tall), (mast - 0.3, -tall + 0.08), (mast, -tall + 0.17)], Tone.ACCENT)
    hull = [
        (-half, 0),
        (half * 1.12, -0.06),
        *map(tuple, spline([(half * 0.85, deep * 0.7), (half * 0.6, deep), (-half * 0.7, deep)])),
    ]
    fig.body(hull, Tone.MAIN)
    fig.crease([(-half * 0.95, deep * 0.35), (half * 0.98, deep * 0.3)], 0.04)
    if fig.chance(0.5):
        waves = [(x, deep + (0.1 if i % 2 else 0.0)) for i, x in enumerate(span(-half * 1.3, half * 1.3, 9))]
        fig.wire(spline(waves), 0.04, Tone.SECOND)


def aeroplane(fig: Figure) -> None:
    """An airliner from the side."""
    long, fat = fig.u(1.15, 1.35), fig.u(0.17, 0.24)
    fig.body([(0.15, -fat * 0.3), (-0.25, -fig.u(0.6, 0.8)), (-0.5, -fig.u(0.6, 0.8)), (-0.2, -fat * 0.3)], Tone.SECOND)
    tail = fig.u(0.45, 0.62)
    fig.body(
        [(-long * 0.6, -fat * 0.6), (-long * 0.93, -tail), (-long * 1.12, -tail), (-long * 0.95, -fat * 0.3)],
        Tone.ACCENT,
    )
    hull = [
        (long, 0.02),
        (long * 0.82, -fat * 0.85),
        (long * 0.5, -fat),
        (-long * 0.5, -fat),
        (-long, -fat * 0.6),
        (-long * 0.98, -fat * 0.2),
    ]
    fig.body(blob([*hull, (-long * 0.4, fat * 0.85), (long * 0.5, fat), (long * 0.85, fat * 0.7)]), Tone.MAIN)
    fig.mark(blob([(long * 0.78, -fat * 0.55), (long * 0.9, -fat * 0.25), (long * 0.74, -fat * 0.2)]), Tone.LIGHT)
    for x in span(-long * 0.65, long * 0.6, fig.n(5, 9)):
        fig.mark(ellipse(x, -fat * 0.3, 0.04, 0.055), Tone.LIGHT)
    fig.body(
        [(-long * 0.8, fat * 0.05), (-long * 1.15, fat * 0.9), (-long * 1.28, fat * 0.9), (-long * 1.02, 0)],
        Tone.SECOND,
    )
    reach, sweep = fig.u(0.65, 0.9), fig.u(0.45, 0.7)
    fig.body([(0.32, fat * 0.35), (0.2 - sweep, reach), (-0.05 - sweep, reach), (-0.22, fat * 0.4)], Tone.SECOND)
    if fig.chance(0.7):
        fig.body(rect(0.0 - sweep * 0.3, reach * 0.5, 0.38 - sweep * 0.3, reach * 0.5 + 0.17, 0.07), Tone.ACCENT)


def balloon(fig: Figure) -> None:
    """A hot-air balloon with its basket."""
    r, drop = fig.u(0.8, 0.95), fig.u(0.95, 1.2)
    mouth = fig.u(0.18, 0.26)
    outline = lathe([(0.02, -r), (r * 0.72, -r * 0.7), (r, 0), (r * 0.72, drop * 0.55), (mouth, drop)])
    deep = drop + fig.u(0.25, 0.4)
    for x in (-mouth, -mouth * 0.3, mouth * 0.3, mouth):
        fig.wire([(x, drop), (x * 0.8, deep + 0.05)], 0.025)
    fig.body(outline, Tone.MAIN)
    gores = fig.n(1, 3)
    for i in range(gores):
        f = (i + 0.45) / gores
        side = spline(
            [(0.02, -r), (r * 0.72 * f, -r * 0.72), (r * f, 0), (r * 0.72 * f, drop * 0.55), (mouth * f, drop)]
        )
        if i == 0 and fig.chance(0.6):
            fig.mark([*map(tuple, side), *[(-x, y) for x, y in side[::-1]]], Tone.SECOND)
        else:
            fig.crease(side, 0.025)
            fig.crease(side * [-1, 1], 0.025)
    if fig.chance(0.4):
        fig.crease(spline([(-r * 0.98, 0.1), (0, 0.28), (r * 0.98, 0.1)]), 0.05)
    fig.body(
        rounded(
            [(-mouth * 0.9, deep), (mouth * 0.9, deep), (mouth * 0.75, deep + 0.3), (-mouth * 0.75, deep + 0.3)], 0.05
        ),
        Tone.ACCENT,
    )
    fig.crease([(-mouth * 0.85, deep + 0.1), (mouth * 0.85, deep + 0.1)], 0.03)
