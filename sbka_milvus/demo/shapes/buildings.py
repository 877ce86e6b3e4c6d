"""Buildings: walls, roofs, doors, windows, towers."""

from __future__ import annotations

import math

from sbka_milvus.demo.shapes.curves import around, blob, ellipse, rect, span, spline, turn
from sbka_milvus.demo.shapes.kit import Figure, Tone
from sbka_milvus.demo.shapes.parts import door, flag, window


def house(fig: Figure) -> None:
    """A house with a pitched roof."""
    half, wall, rise = fig.u(0.7, 1.0), fig.u(0.75, 1.0), fig.u(0.5, 0.8)
    eave = fig.u(0.1, 0.2)
    if fig.chance(0.75):
        x = fig.u(0.3, 0.55) * half * (1 if fig.chance(0.5) else -1)
        top = -wall - rise * fig.u(0.85, 1.1)
        fig.body(rect(x - 0.11, top, x + 0.11, -wall), Tone.ACCENT)
        fig.body(rect(x - 0.15, top - 0.06, x + 0.15, top + 0.03), Tone.ACCENT)
        if fig.chance(0.5):
            fig.wire(
                spline([(x, top - 0.1), (x + 0.12, top - 0.22), (x + 0.02, top - 0.34), (x + 0.16, top - 0.48)]),
                0.05,
                Tone.LIGHT,
            )
    fig.body(rect(-half, -wall, half, 0))
    if fig.chance(0.55):
        fig.body([(-half - eave, -wall), (0, -wall - rise), (half + eave, -wall)], Tone.SECOND)
        if fig.chance(0.5):
            fig.mark(ellipse(0, -wall - rise * 0.35, 0.13), Tone.LIGHT)
    else:
        fig.body(
            [(-half - eave, -wall), (-half * 0.65, -wall - rise), (half * 0.65, -wall - rise), (half + eave, -wall)],
            Tone.SECOND,
        )
        for k in (0.33, 0.66):
            fig.crease(
                [
                    (-half * (1 - 0.35 * k) - eave * 0.5, -wall - rise * k),
                    (half * (1 - 0.35 * k) + eave * 0.5, -wall - rise * k),
                ],
                0.02,
            )
    at = fig.u(-0.15, 0.15) * half
    door(fig, at, 0, fig.u(0.28, 0.36), wall * fig.u(0.55, 0.7), arched=fig.chance(0.3))
    for side in (-1, 1):
        window(fig, side * half * 0.64, -wall * 0.6, half * 0.38, fig.u(0.28, 0.4))


def castle(fig: Figure) -> None:
    """A castle with battlements and towers."""
    half, wall, tower = fig.u(0.6, 0.75), fig.u(0.7, 0.9), fig.u(0.2, 0.27)
    tall = wall + fig.u(0.35, 0.6)
    pointed = fig.chance(0.5)
    if fig.chance(0.6):
        fig.body(rect(-0.28, -tall - 0.1, 0.28, -wall * 0.5), Tone.SECOND)
        _battlements(fig, -0.28, 0.28, -tall - 0.1, 3)
        flag(fig, 0.0, -tall - 0.65, 0.5, 0.32)
        window(fig, 0, -tall + 0.2, 0.16, 0.26, arched=True)
    fig.body(rect(-half, -wall, half, 0), Tone.MAIN)
    _battlements(fig, -half, half, -wall, fig.n(4, 6))
    for side in (-1, 1):
        cx = side * half
        fig.body(rect(cx - tower, -tall, cx + tower, 0), Tone.MAIN)
        if pointed:
            fig.body([(cx - tower * 1.3, -tall), (cx, -tall - fig.u(0.5, 0.6)), (cx + tower * 1.3, -tall)], Tone.SECOND)
        else:
            _battlements(fig, cx - tower, cx + tower, -tall, 3)
        window(fig, cx, -tall * 0.7, tower * 0.7, 0.28, arched=True)
        for _ in range(fig.n(0, 2)):
            y = -fig.u(0.1, 0.5) * wall
            fig.crease([(cx - 0.1, y), (cx + 0.08, y)], 0.025)
    door(fig, 0, 0, fig.u(0.36, 0.46), wall * 0.62, arched=True)


def _battlements(fig: Figure, left: float, right: float, base: float, count: int) -> None:
    step = (right - left) / (2 * count - 1)
    outline: list[tuple[float, float]] = [(left, base + 0.06)]
    for i in range(count):
        x = left + 2 * i * step
        outline += [
            (x, base - 0.13),
            (x + step, base - 0.13),
            (x + step, base - 0.01),
            (min(x + 2 * step, right), base - 0.01),
        ]
    fig.body([*outline[:-2], (right, base - 0.13), (right, base + 0.06)], Tone.MAIN)


def windmill(fig: Figure) -> None:
    """A tower mill with four sails."""
    top, foot, tall = fig.u(0.25, 0.34), fig.u(0.42, 0.56), fig.u(1.2, 1.45)
    fig.body([(-top, -tall), (top, -tall), (foot, 0), (-foot, 0)], Tone.MAIN)
    door(fig, 0, 0, 0.26, 0.42, arched=fig.chance(0.5))
    for y in span(-tall * 0.85, -0.5, fig.n(1, 2)):
        window(fig, 0, y, 0.17, 0.2)
    if fig.chance(0.5):
        cap = ellipse(0, -tall, top * 1.15, fig.u(0.28, 0.4), start=180, end=360)
        fig.body(cap, Tone.SECOND)
    else:
        fig.body([(-top * 1.2, -tall), (0, -tall - fig.u(0.35, 0.5)), (top * 1.2, -tall)], Tone.SECOND)
    reach, wide, phase = fig.u(0.85, 1.05), fig.u(0.2, 0.3), fig.u(10, 80)
    hub = (0.0, -tall - 0.06)
    for _, _, angle in around(0, 0, 1, 4, phase):
        sail = rect(reach * 0.25, 0.02, reach, wide)
        fig.body(turn(sail, angle) + hub, Tone.LIGHT)
        for x in span(reach * 0.25, reach, 3):
            fig.crease(turn([(x, 0.02), (x, wide)], angle) + hub, 0.022)
        fig.crease(turn([(reach * 0.25, wide / 2), (reach, wide / 2)], angle) + hub, 0.022)
        fig.wire(turn([(0, 0), (reach * 1.03, 0)], angle) + hub, 0.05)
    fig.body(ellipse(*hub, 0.08), Tone.ACCENT)


def church(fig: Figure) -> None:
    """A church: nave, tower, spire and cross."""
    nave, wall, tower, tall = fig.u(1.0, 1.3), fig.u(0.6, 0.75), fig.u(0.5, 0.6), fig.u(1.05, 1.3)
    ridge = wall + fig.u(0.35, 0.5)
    fig.body(rect(tower * 0.8, -wall, tower + nave, 0), Tone.MAIN)
    fig.body(
        [(tower * 0.8, -wall), (tower * 0.8, -ridge), (tower + nave - 0.15, -ridge), (tower + nave + 0.1, -wall)],
        Tone.SECOND,
    )
    for x in span(tower + 0.05, tower + nave, fig.n(2, 4)):
        window(fig, x, -wall * 0.52, 0.17, 0.36, arched=True)
    fig.body(rect(0, -tall, tower, 0), Tone.MAIN)
    apex = -tall - fig.u(0.6, 0.95)
    fig.wire([(tower / 2, apex + 0.03), (tower / 2, apex - 0.28)], 0.045)
    fig.wire([(tower / 2 - 0.1, apex - 0.18), (tower / 2 + 0.1, apex - 0.18)], 0.045)
    fig.body([(-0.07, -tall), (tower / 2, apex), (tower + 0.07, -tall)], Tone.SECOND)
    if fig.chance(0.5):
        fig.mark(ellipse(tower / 2, -tall * 0.78, 0.13), Tone.LIGHT)
        fig.crease(
            [(tower / 2, -tall * 0.78 - 0.08), (tower / 2, -tall * 0.78), (tower / 2 + 0.06, -tall * 0.78)], 0.025
        )
    else:
        window(fig, tower / 2, -tall * 0.76, 0.18, 0.3, arched=True)
    door(fig, tower / 2, 0, 0.28, 0.46, arched=True)


def tent(fig: Figure) -> None:
    """A ridge tent with its flaps open."""
    half, rise, deep = fig.u(0.75, 0.95), fig.u(1.05, 1.3), fig.u(0.6, 0.95)
    lift = fig.u(0.08, 0.2)
    for x, top, end in ((0.0, -rise, -half - 0.3), (deep, -rise - lift * 0.3, half + deep + 0.25)):
        fig.wire([(x, top), (end, 0.08 if x == 0 else -lift)], 0.03)
    fig.body([(0, -rise), (deep, -rise - lift * 0.3), (half + deep, -lift), (half, 0)], Tone.SECOND)
    if fig.chance(0.5):
        fig.crease([(deep / 2, -rise - lift * 0.15), (half + deep / 2, -lift * 0.5)], 0.025)
    fig.body([(-half, 0), (0, -rise), (half, 0)], Tone.MAIN)
    gap = fig.u(0.28, 0.42)
    fig.body([(-gap, 0), (0, -rise * 0.86), (gap, 0)], Tone.DARK)
    for side in (-1, 1):
        fold = blob(
            [
                (0, -rise * 0.84),
                (side * gap * 0.6, -rise * 0.45),
                (side * (gap + 0.14), -rise * 0.3),
                (side * gap * 0.75, -rise * 0.28),
            ]
        )
        fig.body(fold, Tone.LIGHT)
    fig.wire([(0, -rise), (0, -rise - 0.12)], 0.045)


def lighthouse(fig: Figure) -> None:
    """A lighthouse on its rock."""
    top, foot, tall = fig.u(0.2, 0.26), fig.u(0.34, 0.46), fig.u(1.5, 1.9)
    deck = fig.u(0.1, 0.16)
    if fig.chance(0.4):
        for side in (-1, 1):
            for rise in (-0.22, 0.16):
                fig.wire(
                    [(side * (top + 0.2), -tall - 0.28 + rise * 0.5), (side * (top + 0.65), -tall - 0.28 + rise * 1.6)],
                    0.04,
                    Tone.LIGHT,
                )
    rock = [
        (-foot - 0.45, 0.28),
        (-foot - 0.25, 0.02),
        (-foot * 0.3, -0.1),
        (foot * 0.5, -0.07),
        (foot + 0.3, 0.04),
        (foot + 0.5, 0.28),
    ]
    fig.body([(-top, -tall), (top, -tall), (foot, 0), (-foot, 0)], Tone.MAIN)
    bands = fig.n(0, 4)
    for i in range(bands):
        upper, lower = (i + 0.5) / (bands + 0.0) * 0.9, (i + 1.0) / bands * 0.9
        y0, y1 = -tall * (1 - upper), -tall * (1 - lower)
        r0, r1 = top + (foot - top) * upper, top + (foot - top) * lower
        fig.mark([(-r0, y0), (r0, y0), (r1, y1), (-r1, y1)], Tone.SECOND)
    for y in span(-tall * 0.85, -0.55, fig.n(1, 3)):
        window(fig, 0, y, 0.13, 0.2, arched=fig.chance(0.3))
    lamp = fig.u(0.3, 0.4)
    inner = top * 0.72
    fig.body(rect(-inner, -tall - lamp, inner, -tall), Tone.LIGHT)
    for x in span(-inner, inner, 3):
        fig.crease([(x, -tall - lamp), (x, -tall)], 0.025)
    if fig.chance(0.5):
        fig.body(ellipse(0, -tall - lamp, inner * 1.25, fig.u(0.18, 0.28), start=180, end=360), Tone.ACCENT)
    else:
        fig.body(
            [(-inner * 1.35, -tall - lamp), (0, -tall - lamp - fig.u(0.25, 0.38)), (inner * 1.35, -tall - lamp)],
            Tone.ACCENT,
        )
    fig.body(rect(-top - deck, -tall - 0.05, top + deck, -tall + 0.05), Tone.DARK)
    for x in span(-top - deck, top + deck, 6):
        fig.wire([(x, -tall - 0.05), (x, -tall - 0.17)], 0.025)
    fig.wire([(-top - deck, -tall - 0.17), (top + deck, -tall - 0.17)], 0.03)
    door(fig, 0, 0, 0.24, 0.36, arched=True)
    if fig.chance(0.7):
        fig.body(blob([(x, y + 0.02 * math.sin(9 * x)) for x, y in rock]), Tone.DARK)
