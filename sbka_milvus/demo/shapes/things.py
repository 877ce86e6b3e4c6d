"""Things about the house that stand, hang or are worn."""

from __future__ import annotations

import math
from itertools import pairwise

from sbka_milvus.demo.shapes.curves import around, blob, ellipse, lathe, rect, span, spline, tube
from sbka_milvus.demo.shapes.kit import Figure, Tone


def chair(fig: Figure) -> None:
    """A chair, seen a little from the side."""
    wide, deep, legs, back = fig.u(0.7, 0.85), fig.u(0.25, 0.38), fig.u(0.75, 0.95), fig.u(0.8, 1.1)
    thick = fig.u(0.08, 0.12)
    skew = deep * 0.6
    for x in (skew, wide + skew):
        fig.body(rect(x - thick * 0.4, -deep, x + thick * 0.6, legs - deep), Tone.SECOND)
    post_x = (skew, wide + skew)
    for x in post_x:
        fig.body(rect(x - thick * 0.4, -deep - back, x + thick * 0.6, -deep + 0.03), Tone.SECOND)
    style = fig.n(0, 2)
    if style == 0:
        fig.body(rect(skew, -deep - back * 0.97, wide + skew, -deep - back * fig.u(0.3, 0.45), 0.08), Tone.MAIN)
    elif style == 1:
        for k in span(0.35, 1.0, fig.n(2, 3)):
            fig.body(rect(skew, -deep - back * k - 0.06, wide + skew, -deep - back * k + 0.06), Tone.MAIN)
    else:
        fig.body(rect(skew, -deep - back, wide + skew, -deep - back + 0.15, 0.04), Tone.MAIN)
        for x in span(skew, wide + skew, fig.n(3, 4)):
            fig.wire([(x, -deep - back + 0.15), (x, -deep)], 0.05, Tone.SECOND)
    fig.body([(0, 0), (wide, 0), (wide + skew, -deep), (skew, -deep)], Tone.MAIN)
    fig.body(rect(0, 0, wide, thick), Tone.MAIN)
    for x in (0, wide - thick):
        fig.body(rect(x, thick, x + thick, legs), Tone.SECOND)
    if fig.chance(0.4):
        fig.wire([(thick, legs * 0.6), (wide - thick, legs * 0.6)], 0.05, Tone.SECOND)


def table(fig: Figure) -> None:
    """A table, with four legs or a pedestal."""
    half, tall, thick = fig.u(0.95, 1.15), fig.u(0.75, 1.0), fig.u(0.09, 0.14)
    deep = fig.u(0.25, 0.4)
    if fig.chance(0.35):
        fig.body(lathe([(0.08, 0), (0.1, tall * 0.5), (0.07, tall * 0.75), (0.14, tall)]), Tone.SECOND)
        for side in (-1, 0, 1):
            fig.body(
                tube(
                    spline([(0, tall * 0.92), (side * 0.3, tall), (side * 0.5, tall + 0.15 + 0.06 * (side == 0))]),
                    0.12,
                    0.07,
                ),
                Tone.SECOND,
            )
        fig.body(
            [*map(tuple, ellipse(0, thick, half, deep * 0.55, start=0, end=180)), (-half, 0), (half, 0)], Tone.MAIN
        )
        fig.body(ellipse(0, 0, half, deep * 0.55), Tone.MAIN)
        return
    leg, taper = fig.u(0.1, 0.15), fig.u(0.5, 1.0)
    for x, y in ((-half * 0.72, -deep), (half * 0.72, -deep), (-half * 0.92, 0.0), (half * 0.92, 0.0)):
        fig.body(
            [(x - leg / 2, y), (x + leg / 2, y), (x + leg / 2 * taper, y + tall), (x - leg / 2 * taper, y + tall)],
            Tone.SECOND,
        )
    fig.body(rect(-half * 0.9, 0, half * 0.9, thick + 0.14), Tone.SECOND)
    if fig.chance(0.5):
        fig.mark(rect(-0.26, thick + 0.01, 0.26, thick + 0.12), Tone.ACCENT)
    fig.body(rect(-half, 0, half, thick), Tone.MAIN)
    fig.body([(-half, 0), (half, 0), (half * 0.78, -deep), (-half * 0.78, -deep)], Tone.MAIN)


def lamp(fig: Figure) -> None:
    """A table lamp with its shade."""
    top, low, shade = fig.u(0.25, 0.4), fig.u(0.55, 0.72), fig.u(0.55, 0.75)
    tall = shade + fig.u(0.6, 0.95)
    foot = fig.u(0.3, 0.42)
    style = fig.n(0, 2)
    if style == 0:
        fig.body(lathe([(0.06, shade - 0.1), (0.06, tall * 0.98), (0.09, tall)]), Tone.SECOND)
    elif style == 1:
        fig.body(
            lathe([(0.07, shade - 0.1), (0.08, shade + 0.1), (foot * 0.85, (shade + tall) / 2 + 0.1), (0.15, tall)]),
            Tone.SECOND,
        )
    else:
        for y in span(shade, tall, 3):
            fig.body(ellipse(0, y, 0.17, (tall - shade) / 5.6), Tone.SECOND)
    fig.body(
        [*map(tuple, ellipse(0, tall, foot, 0.13, start=180, end=360)), (foot, tall + 0.08), (-foot, tall + 0.08)],
        Tone.SECOND,
    )
    fig.wire([(low * 0.45, shade), (low * 0.45, shade + fig.u(0.18, 0.3))], 0.025)
    fig.body([(-top, 0), (top, 0), (low, shade), (-low, shade)], Tone.MAIN)
    for k in span(-1, 1, fig.n(0, 4)):
        fig.crease([(k * top, 0), (k * low, shade)], 0.02)
    if fig.chance(0.5):
        at = 0.9
        fig.crease([(-(top + (low - top) * at), shade * at), (top + (low - top) * at, shade * at)], 0.04)


def clock(fig: Figure) -> None:
    """An alarm clock or a wall clock."""
    alarm = fig.chance(0.6)
    if alarm:
        for side in (-1, 1):
            fig.body(tube([(side * 0.45, 0.6), (side * 0.68, 1.0)], 0.12, 0.08), Tone.SECOND)
            bell = ellipse(side * 0.55, -0.78, 0.3, 0.24, start=180, end=360, tilt=0.0)
            turned = [(x, y + side * (x - side * 0.55) * 0.7) for x, y in bell]
            fig.body(turned, Tone.ACCENT)
        fig.wire([(0, -0.75), (0, -1.05)], 0.06)
        fig.wire([(-0.1, -1.05), (0.1, -1.05)], 0.08)
    fig.body(ellipse(0, 0, 0.85), Tone.MAIN)
    fig.body(ellipse(0, 0, 0.85 * fig.u(0.78, 0.88)), Tone.LIGHT)
    for x, y, _ in around(0, 0, 0.58, 12 if fig.chance(0.6) else 4):
        fig.crease([(x * 0.92, y * 0.92), (x * 1.08, y * 1.08)], 0.04)
    for long, wide in ((0.34, 0.07), (0.5, 0.05)):
        a = fig.u(0, 2 * math.pi)
        fig.wire([(0, 0), (long * math.cos(a), long * math.sin(a))], wide)
    fig.body(ellipse(0, 0, 0.06), Tone.DARK)


def hat(fig: Figure) -> None:
    """A hat with a brim and a band."""
    style = fig.n(0, 2)
    half, tall = fig.u(0.45, 0.55), fig.u(0.5, 0.65) if style else fig.u(0.8, 1.0)
    brim = half + fig.u(0.3, 0.5)
    sag = fig.u(0.1, 0.2)
    fig.body(ellipse(0, 0, brim, sag), Tone.MAIN)
    if style == 0:
        flare = fig.u(0.95, 1.15)
        crown = [
            (-half, 0),
            (-half * flare, -tall),
            *map(tuple, ellipse(0, -tall, half * flare, 0.07, start=180, end=360)),
            (half * flare, -tall),
            (half, 0),
        ]
    elif style == 1:
        crown = [*map(tuple, ellipse(0, 0, half, tall, start=180, end=360))]
    else:
        crown = [
            *map(
                tuple,
                spline(
                    [
                        (-half, 0),
                        (-half * 0.85, -tall),
                        (-half * 0.35, -tall * 1.12),
                        (0, -tall * 0.93),
                        (half * 0.35, -tall * 1.12),
                        (half * 0.85, -tall),
                        (half, 0),
                    ]
                ),
            )
        ]
    fig.body([*crown, *map(tuple, ellipse(0, 0, half, sag * 0.45, start=0, end=180))], Tone.MAIN)
    rise = fig.u(0.14, 0.22)
    upper = spline([(-half * 0.98, -rise), (0, -rise + sag * 0.45), (half * 0.98, -rise)])
    lower = ellipse(0, 0, half, sag * 0.45, start=0, end=180)
    fig.body([*map(tuple, upper), *map(tuple, lower)], Tone.ACCENT)


def glasses(fig: Figure) -> None:
    """Spectacles from the front."""
    rx, gap, rim = fig.u(0.38, 0.46), fig.u(0.14, 0.22), fig.u(0.07, 0.13)
    ry = rx * fig.u(0.7, 1.0)
    cx, style, dark = gap / 2 + rx, fig.n(0, 2), fig.chance(0.4)
    for side in (-1, 1):
        end = side * (cx + rx)
        fig.wire(
            spline(
                [
                    (end - side * 0.04, -ry * 0.35),
                    (end + side * 0.2, -ry * 0.55),
                    (end + side * fig.u(0.28, 0.42), -ry * fig.u(0.1, 0.8)),
                ]
            ),
            rim,
        )
    fig.wire(spline([(-gap / 2 - 0.05, -ry * 0.2), (0, -ry * fig.u(0.4, 0.6)), (gap / 2 + 0.05, -ry * 0.2)]), rim)
    for side in (-1, 1):
        for shrink, inner in ((0.0, False), (rim, True)):
            x, y, w = side * cx, ry - shrink, rx - shrink
            if style == 0:
                shape = ellipse(x, 0, w, y)
            elif style == 1:
                shape = rect(x - w, -y * 0.8, x + w, y * 0.8, 0.15)
            else:
                shape = blob(
                    [
                        (x - w, -y * 0.75),
                        (x, -y * 0.85),
                        (x + w, -y * 0.75),
                        (x + w * 0.75, y * 0.6),
                        (x, y * 0.9),
                        (x - w * 0.75, y * 0.6),
                    ]
                )
            if not inner:
                fig.body(shape, Tone.MAIN)
            elif dark:
                fig.body(shape, Tone.DARK)
            else:
                fig.body(shape, Tone.LIGHT)
        fig.crease([(side * cx - 0.12, ry * 0.2), (side * cx + 0.08, -ry * 0.3)], 0.03)


def bell(fig: Figure) -> None:
    """A bell with its clapper."""
    top, mouth, tall = fig.u(0.25, 0.36), fig.u(0.68, 0.82), fig.u(1.0, 1.25)
    fig.body(tube(ellipse(0, -0.12, fig.u(0.13, 0.18), start=150, end=390), 0.08), Tone.SECOND)
    fig.body(ellipse(0, tall + 0.06, 0.15), Tone.DARK)
    fig.body(
        lathe([(0.03, -0.03), (top, 0.06), (top * 1.3, tall * 0.4), (mouth * 0.75, tall * 0.8), (mouth, tall)]),
        Tone.MAIN,
    )
    fig.body(rect(-mouth - 0.04, tall - 0.1, mouth + 0.04, tall + 0.03, 0.05), Tone.MAIN)
    for k in (0.25, 0.72)[: fig.n(1, 2)]:
        r = top * 1.15 if k < 0.5 else mouth * 0.66
        fig.crease(spline([(-r, tall * k), (0, tall * k + 0.06), (r, tall * k)]), 0.04)
    if fig.chance(0.4):
        for side in (-1, 1):
            fig.body(blob([(0, -0.02), (side * 0.35, -0.25), (side * 0.5, -0.05), (side * 0.33, 0.13)]), Tone.ACCENT)


def umbrella(fig: Figure) -> None:
    """An open umbrella."""
    half, rise, long = fig.u(0.9, 1.05), fig.u(0.6, 0.85), fig.u(0.95, 1.2)
    panels = fig.n(3, 6)
    hook = fig.u(0.13, 0.2)
    side = 1 if fig.chance(0.5) else -1
    stick = fig.u(0.045, 0.07)
    fig.wire([(0, -rise - 0.16), (0, long - hook)], stick, Tone.SECOND)
    fig.wire(
        ellipse(side * hook, long - hook, hook, start=180 if side > 0 else 0, end=0 if side > 0 else 200),
        stick * 1.5,
        Tone.ACCENT,
    )
    dome = ellipse(0, 0, half, rise, start=180, end=360)
    width = 2 * half / panels
    hem = [
        p
        for i in range(panels)
        for p in map(tuple, ellipse(half - width * (i + 0.5), 0.0, width / 2, fig.u(0.1, 0.14), start=0, end=-180))
    ]
    fig.body([*map(tuple, dome), *hem], Tone.MAIN)
    edges = [half - width * i for i in range(panels + 1)]
    for i, (right, left) in enumerate(pairwise(edges)):
        outer, inner = (spline([(0, -rise), (x * 0.72, -rise * 0.55), (x, -0.03)]) for x in (right, left))
        if i % 2 and fig.chance(0.6):
            fig.mark([*map(tuple, outer), *map(tuple, inner[::-1])], Tone.ACCENT)
        elif i:
            fig.crease(outer, 0.025)
