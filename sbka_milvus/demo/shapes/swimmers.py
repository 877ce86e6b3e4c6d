"""Animals that swim: fins, flukes, gills."""

from __future__ import annotations

from sbka_milvus.demo.shapes.curves import blob, ellipse, lens, span, spline
from sbka_milvus.demo.shapes.kit import Figure, Tone
from sbka_milvus.demo.shapes.parts import eye


def whale(fig: Figure) -> None:
    """A whale with its spout."""
    long, tall = fig.u(0.95, 1.15), fig.u(0.5, 0.65)
    fluke = -fig.u(0.5, 0.75)
    stem = (-long - 0.3, fluke + 0.18)
    for dx, dy in ((-0.38, -0.12), (0.22, -0.22)):
        fig.body(lens(stem[0] + 0.02, stem[1] + 0.06, stem[0] + dx, stem[1] + dy, 0.24), Tone.MAIN)
    fig.body(
        blob(
            [
                (long, -0.05),
                (long * 0.75, -tall * 0.72),
                (long * 0.15, -tall * 0.85),
                (-long * 0.5, -tall * 0.25),
                (-long * 0.95, -0.2),
                (stem[0] - 0.05, stem[1]),
                (stem[0] + 0.1, stem[1] + 0.03),
                (-long * 0.85, 0.15),
                (-long * 0.3, tall * 0.55),
                (long * 0.45, tall * 0.6),
                (long * 0.92, tall * 0.3),
            ]
        )
    )
    belly = spline([(long * 0.98, 0.12), (long * 0.5, 0.2), (0, tall * 0.38), (-long * 0.4, tall * 0.42)])
    fig.mark(
        [*map(tuple, belly), (-long * 0.1, tall * 0.58), (long * 0.45, tall * 0.6), (long * 0.9, tall * 0.33)],
        Tone.LIGHT,
    )
    for k in (0.3, 0.42):
        fig.crease(spline([(long * 0.85, tall * k), (long * 0.4, tall * (k + 0.05)), (0, tall * (k + 0.1))]), 0.02)
    eye(fig, long * 0.62, 0.0, 0.055)
    fig.body(lens(long * 0.25, tall * 0.3, -long * 0.05, tall * fig.u(0.85, 1.05), 0.2, belly=0.6), Tone.SECOND)
    if fig.chance(0.75):
        x, top = long * 0.35, -tall * 0.85
        for side in (-1, 1):
            fig.wire(
                spline(
                    [
                        (x, top),
                        (x + side * 0.05, top - 0.25),
                        (x + side * 0.2, top - 0.38),
                        (x + side * 0.32, top - 0.2),
                    ]
                ),
                0.05,
                Tone.LIGHT,
            )


def fish(fig: Figure) -> None:
    """A fish from the side."""
    long, tall = fig.u(0.75, 0.95), fig.u(0.36, 0.58)
    spread, tail = fig.u(0.3, 0.48), fig.u(0.4, 0.55)
    notch = fig.u(0.25, 0.5)
    fig.body(
        blob(
            [
                (-long * 0.85, -0.05),
                (-long - tail, -spread),
                (-long - tail * (1 - notch), 0),
                (-long - tail, spread),
                (-long * 0.85, 0.05),
            ]
        ),
        Tone.SECOND,
    )
    back = fig.u(0.18, 0.32)
    fig.body(
        spline(
            [
                (long * 0.35, -tall * 0.7),
                (0.0, -tall - back),
                (-long * 0.45, -tall * 0.75 - back * 0.4),
                (-long * 0.5, -tall * 0.4),
            ]
        ),
        Tone.SECOND,
    )
    fig.body(
        spline([(long * 0.05, tall * 0.8), (-long * 0.25, tall + back * 0.7), (-long * 0.4, tall * 0.55)]), Tone.SECOND
    )
    fig.body(
        blob(
            [
                (long, 0.0),
                (long * 0.6, -tall * 0.65),
                (0.05, -tall),
                (-long * 0.6, -tall * 0.45),
                (-long * 0.95, -0.08),
                (-long * 0.95, 0.08),
                (-long * 0.6, tall * 0.45),
                (0.05, tall),
                (long * 0.6, tall * 0.65),
            ]
        )
    )
    gill = long * 0.42
    fig.crease(ellipse(gill - 0.12, 0, 0.16, tall * 0.62, start=-70, end=70), 0.03)
    eye(fig, long * 0.68, -tall * 0.2, fig.u(0.065, 0.1))
    fig.crease([(long * 0.97, 0.05), (long * 0.78, tall * 0.22)], 0.025)
    if fig.chance(0.5):
        for x in span(-long * 0.65, gill - 0.12, fig.n(2, 4)):
            h = tall * (1 - (x / long) ** 2) * 0.75
            fig.mark([(x - 0.04, -h), (x + 0.05, -h), (x + 0.06, h), (x - 0.03, h)], Tone.ACCENT)
    else:
        for x in span(-long * 0.55, gill - 0.1, 4):
            for y in (-tall * 0.35, 0.0, tall * 0.35):
                fig.crease(ellipse(x, y, 0.07, 0.09, start=-80, end=80), 0.02)
    fig.body(lens(long * 0.15, tall * 0.15, -long * 0.22, tall * fig.u(0.25, 0.6), 0.2, belly=0.65), Tone.SECOND)
    if fig.chance(0.3):
        for i in range(fig.n(2, 3)):
            fig.wire(ellipse(long + 0.15 + 0.06 * i, -0.15 - 0.2 * i, 0.05 + 0.015 * i), 0.025, Tone.LIGHT)
