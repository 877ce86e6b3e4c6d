"""Insects, seen from above: wings, legs and feelers in pairs."""

from __future__ import annotations

from sbka_milvus.demo.shapes.curves import blob, ellipse, lens, mirror, span, spline, tube
from sbka_milvus.demo.shapes.kit import Figure, Tone


def dragonfly(fig: Figure) -> None:
    """A dragonfly from above: four narrow wings on a rod."""
    long, reach = fig.u(1.1, 1.35), fig.u(0.95, 1.15)
    slim = fig.u(0.2, 0.28)
    for rise, y in ((fig.u(-0.3, -0.1), -0.08), (fig.u(0.2, 0.4), 0.12)):
        for side in (-1, 1):
            fig.body(lens(0, y, side * reach, y + rise, slim, belly=0.62), Tone.LIGHT)
            fig.crease([(0, y), (side * reach * 0.9, y + rise * 0.9)], 0.018)
            fig.crease(
                [(side * reach * 0.6, y + rise * 0.6 - slim * 0.3), (side * reach * 0.6, y + rise * 0.6 + slim * 0.3)],
                0.015,
            )
    fig.body(tube([(0, 0.1), (fig.u(-0.06, 0.06), long)], 0.15, 0.08), Tone.MAIN)
    for y in span(0.35, long, fig.n(4, 6)):
        fig.crease([(-0.06, y), (0.06, y)], 0.03)
    fig.body(ellipse(0, 0.02, 0.14, 0.24), Tone.SECOND)
    fig.body(ellipse(0, -0.27, 0.13, 0.11), Tone.MAIN)
    for side in (-1, 1):
        fig.body(ellipse(side * 0.1, -0.31, 0.075), Tone.DARK)


def ladybird(fig: Figure) -> None:
    """A ladybird from above."""
    rx, ry = fig.u(0.6, 0.7), fig.u(0.7, 0.8)
    for side in (-1, 1):
        for y, bend in ((-0.3, -0.15), (0.1, 0.0), (0.45, 0.18)):
            fig.wire(
                [(side * rx * 0.8, y), (side * (rx + 0.2), y + bend * 0.4), (side * (rx + 0.3), y + bend + 0.1)], 0.055
            )
        fig.wire(
            spline([(side * 0.1, -ry - 0.15), (side * 0.18, -ry - 0.38), (side * 0.36, -ry - fig.u(0.42, 0.55))]), 0.035
        )
    fig.body(ellipse(0, -ry - 0.02, fig.u(0.3, 0.38), 0.26), Tone.DARK)
    for side in (-1, 1):
        fig.mark(ellipse(side * 0.18, -ry - 0.1, 0.06), Tone.LIGHT)
    fig.body(ellipse(0, 0, rx, ry), Tone.MAIN)
    fig.wire([(0, -ry), (0, ry)], 0.035)
    for x, y in ((0.5, -0.45), (0.35, 0.15), (0.6, 0.35), (0.3, 0.65), (0.25, -0.2))[: fig.n(3, 5)]:
        size = fig.u(0.08, 0.13)
        for side in (-1, 1):
            fig.mark(ellipse(side * x * rx, y * ry, size), Tone.DARK)


def butterfly(fig: Figure) -> None:
    """A butterfly with its wings spread."""
    reach, rise, drop = fig.u(0.85, 1.05), fig.u(0.65, 0.85), fig.u(0.6, 0.85)
    cut = fig.u(0.1, 0.25)
    upper = blob(
        [
            (0.02, -0.08),
            (reach * 0.45, -rise * 0.85),
            (reach * 0.9, -rise),
            (reach, -rise * 0.6),
            (reach * 0.8, -cut),
            (0.3, 0.1),
            (0.03, 0.06),
        ]
    )
    lower = blob(
        [
            (0.03, 0.05),
            (reach * 0.55, 0.0),
            (reach * 0.82, drop * 0.35),
            (reach * 0.62, drop * 0.9),
            (reach * 0.35, drop),
            (0.1, drop * 0.45),
        ]
    )
    spots = [(reach * 0.72, -rise * 0.62, fig.u(0.08, 0.16)), (reach * 0.5, drop * 0.5, fig.u(0.08, 0.15))]
    small = fig.chance(0.6)
    style = fig.chance(0.6)
    for side in (-1, 1):
        fig.body(lower if side > 0 else mirror(lower), Tone.SECOND)
        fig.body(upper if side > 0 else mirror(upper), Tone.MAIN)
        for x, y, r in spots:
            fig.mark(ellipse(side * x, y, r), Tone.ACCENT)
            if style:
                fig.mark(ellipse(side * x, y, r * 0.5), Tone.DARK)
        if small:
            fig.mark(ellipse(side * reach * 0.4, -rise * 0.45, 0.06), Tone.LIGHT)
            fig.mark(ellipse(side * reach * 0.88, -rise * 0.42, 0.045), Tone.LIGHT)
        if not style:
            for x, y in ((0.75, -0.8), (0.85, -0.35)):
                fig.crease([(side * 0.08, -0.05), (side * reach * x, rise * y)], 0.02)
        fig.wire(
            spline([(side * 0.03, -0.3), (side * 0.1, -0.6), (side * fig.u(0.22, 0.34), -fig.u(0.72, 0.85))]), 0.03
        )
    fig.body(ellipse(0, 0.08, 0.075, fig.u(0.4, 0.5)), Tone.DARK)
    fig.body(ellipse(0, -0.36, 0.09), Tone.DARK)
    fig.crease([(-0.06, 0.1), (0.06, 0.1)], 0.02)
