"""Things on wheels."""

from __future__ import annotations

from sbka_milvus.demo.shapes.curves import around, blob, ellipse, rect, rounded, span, spline, tube
from sbka_milvus.demo.shapes.kit import Figure, Tone
from sbka_milvus.demo.shapes.parts import flag, spoked_wheel, wheel, window


def car(fig: Figure) -> None:
    """A car from the side."""
    long, deck, roof, ground = fig.u(2.2, 2.8), fig.u(0.40, 0.52), fig.u(0.40, 0.58), 0.18
    rear, front = fig.u(0.05, 0.40), long - fig.u(0.55, 0.85)
    slope = fig.u(0.18, 0.38)
    top, waist, sill = -(ground + deck + roof), -(ground + deck), -ground
    cabin = [(rear, waist), (rear + slope, top), (front - slope * 1.2, top), (front, waist)]
    hull = [(0, sill), (0, waist), *cabin, (long - 0.05, waist + fig.u(0.03, 0.14)), (long, sill)]
    fig.body(rounded(hull, fig.u(0.08, 0.22)))
    post = (rear + front) / 2 + fig.u(-0.08, 0.08)
    glass = top + 0.09
    fig.body(
        rounded([(rear + 0.14, waist), (rear + slope + 0.05, glass), (post - 0.04, glass), (post - 0.04, waist)], 0.06),
        Tone.LIGHT,
    )
    fig.body(
        rounded(
            [(post + 0.04, waist), (post + 0.04, glass), (front - slope * 1.2 - 0.04, glass), (front - 0.14, waist)],
            0.06,
        ),
        Tone.LIGHT,
    )
    fig.crease([(post, waist), (post, sill - 0.04)], 0.025)
    fig.crease([(post - 0.28, waist + 0.12), (post - 0.12, waist + 0.12)], 0.04)
    fig.mark(ellipse(long - 0.1, waist + 0.2, 0.07, 0.09), Tone.LIGHT)
    radius = fig.u(0.25, 0.33)
    for x in (fig.u(0.42, 0.55), long - fig.u(0.42, 0.55)):
        wheel(fig, x, -radius * 0.75, radius, fig.n(0, 6))


def truck(fig: Figure) -> None:
    """A lorry with a box or an open bed."""
    long, tall, radius, cab = fig.u(1.6, 2.1), fig.u(0.9, 1.25), fig.u(0.24, 0.30), fig.u(0.65, 0.8)
    base = -radius * 1.1
    fig.body(rect(-0.05, base - 0.14, long + cab, base), Tone.DARK)
    if fig.chance(0.6):
        fig.body(rect(0, base - 0.12 - tall, long, base - 0.12, 0.04), Tone.SECOND)
        if fig.chance(0.6):
            fig.mark(rect(long * 0.2, base - tall * 0.8, long * 0.8, base - tall * 0.45), Tone.ACCENT)
        for x in span(0, long, fig.n(2, 6))[:-1]:
            fig.crease([(x, base - 0.12 - tall), (x, base - 0.12)], 0.015)
    else:
        bed = tall * 0.6
        fig.body(
            [(-0.1, base - 0.12 - bed), (long, base - 0.12 - bed), (long - 0.06, base - 0.12), (0.08, base - 0.12)],
            Tone.SECOND,
        )
        for x in span(0.1, long - 0.05, 4):
            fig.crease([(x, base - 0.12 - bed), (x, base - 0.12)], 0.03)
    left, right, high = long + 0.07, long + cab, base - fig.u(0.85, 1.05)
    hood = fig.u(0.08, 0.3)
    fig.body(
        rounded(
            [
                (left, base),
                (left, high),
                (right - hood, high),
                (right - hood * 0.3, high + 0.42),
                (right, high + 0.5),
                (right, base),
            ],
            0.08,
        )
    )
    fig.body(
        rounded(
            [
                (left + 0.18, high + 0.44),
                (left + 0.18, high + 0.1),
                (right - hood - 0.06, high + 0.1),
                (right - hood * 0.5 - 0.04, high + 0.44),
            ],
            0.04,
        ),
        Tone.LIGHT,
    )
    fig.crease([(left + 0.12, high + 0.5), (left + 0.12, base)], 0.02)
    fig.mark(ellipse(right - 0.06, base - 0.2, 0.06, 0.08), Tone.LIGHT)
    places = [0.35, long + cab * 0.55] + ([0.35 + radius * 2.15] if fig.chance(0.6) else [])
    for x in places:
        wheel(fig, x, -radius, radius, fig.n(0, 5))


def locomotive(fig: Figure) -> None:
    """A steam engine with its chimney."""
    boiler, tall, cab = fig.u(1.3, 1.7), fig.u(0.5, 0.65), fig.u(0.6, 0.75)
    base, back = -0.35, -0.35
    mid = cab + boiler * fig.u(0.72, 0.85)
    if fig.chance(0.6):
        for i in range(fig.n(2, 4)):
            fig.body(
                ellipse(mid - 0.22 * i, base - tall - 0.75 - 0.2 * i, 0.13 + 0.06 * i, 0.11 + 0.04 * i), Tone.LIGHT
            )
    top = base - tall - fig.u(0.35, 0.5)
    wide = fig.u(0.08, 0.13)
    fig.body(
        [
            (mid - wide * 0.8, base - tall),
            (mid - wide * fig.u(0.9, 1.7), top),
            (mid + wide * fig.u(0.9, 1.7), top),
            (mid + wide * 0.8, base - tall),
        ],
        Tone.DARK,
    )
    dome = cab + boiler * fig.u(0.28, 0.45)
    fig.body(ellipse(dome, base - tall, 0.16, fig.u(0.16, 0.26), start=180, end=360), Tone.ACCENT)
    fig.body(rect(cab - 0.1, base - tall, cab + boiler, base, tall * 0.18), Tone.MAIN)
    for x in span(cab, cab + boiler, fig.n(2, 4)):
        fig.crease([(x, base - tall), (x, base)], 0.03)
    high = base - tall - fig.u(0.3, 0.45)
    fig.body(rect(0, high, cab, base), Tone.SECOND)
    window(fig, cab / 2, high + 0.32, cab * 0.55, 0.32)
    fig.body(rect(-0.12, high - 0.09, cab + 0.12, high, 0.03), Tone.DARK)
    fig.body(rect(-0.05, base, cab + boiler + 0.05, base + 0.12), Tone.DARK)
    nose = cab + boiler
    fig.body([(nose, base + 0.04), (nose + fig.u(0.28, 0.4), 0), (nose - 0.02, 0)], Tone.ACCENT)
    big = fig.u(0.27, 0.33)
    for x in span(0.02, cab + 0.45, 2):
        wheel(fig, x, -big - back * 0.0, big, fig.n(4, 8))
    for x in span(cab + 0.55, nose - 0.02, fig.n(2, 3)):
        wheel(fig, x, -0.19, 0.19, 4)


def pram(fig: Figure) -> None:
    """A baby carriage with a folding hood."""
    r, deep = fig.u(0.75, 0.9), fig.u(0.55, 0.75)
    radius, spokes = fig.u(0.26, 0.36), fig.n(6, 10)
    low = deep + radius * fig.u(0.9, 1.2)
    for x in (-r * 0.62, r * 0.62):
        spoked_wheel(fig, x, low, radius, spokes, tyre=0.16)
    fig.wire([(-r * 0.62, low), (r * 0.25, deep * 0.8)], 0.05)
    fig.wire([(r * 0.62, low), (-r * 0.25, deep * 0.8)], 0.05)
    fig.wire(spline([(r * 0.9, 0.05), (r * 1.35, -0.25), (r * 1.6, -fig.u(0.2, 0.45))]), 0.06)
    fig.body(ellipse(0, 0, r, deep, start=0, end=180), Tone.MAIN)
    fold = fig.u(175, 200)
    end = fig.u(285, 320)
    hood = ellipse(0, 0, r, r * fig.u(0.95, 1.05), start=fold, end=end)
    fig.body([(0.0, 0.0), *map(tuple, hood)], Tone.SECOND)
    ribs = fig.n(2, 4)
    for i in range(1, ribs):
        a = fold + (end - fold) * i / ribs
        tip = ellipse(0, 0, r, start=a, end=a + 1)[0]
        fig.crease([(0, 0), (float(tip[0]), float(tip[1]))], 0.03)
    fig.body(rect(-r * 1.03, -0.05, r * 1.03, 0.06, 0.03), Tone.ACCENT)


def bicycle(fig: Figure) -> None:
    """A bicycle from the side."""
    radius, base = fig.u(0.48, 0.56), fig.u(1.35, 1.55)
    thick = fig.u(0.045, 0.07)
    spokes, tyre = fig.n(8, 14), fig.u(0.09, 0.15)
    for x in (0.0, base):
        spoked_wheel(fig, x, 0, radius, spokes, tyre=tyre)
    crank, seat, head = (
        (base * fig.u(0.40, 0.45), 0.05),
        (base * 0.3, -fig.u(0.62, 0.75)),
        (base * fig.u(0.76, 0.80), -fig.u(0.66, 0.78)),
    )
    seat_low = (seat[0] + (crank[0] - seat[0]) * 0.12, seat[1] + (crank[1] - seat[1]) * 0.12)
    fig.wire([(0, 0), crank, seat], thick, Tone.MAIN)
    fig.wire([(0, 0), seat_low], thick * 0.8, Tone.MAIN)
    fig.wire([crank, (head[0] + 0.03, head[1] + 0.16)], thick, Tone.MAIN)
    if fig.chance(0.75):
        fig.wire([seat_low, head], thick, Tone.MAIN)
    else:
        fig.wire(spline([(crank[0] - 0.06, -0.2), (base * 0.58, -0.35), head]), thick, Tone.MAIN)
    fig.wire([(base, 0), (head[0] + 0.02, head[1] + 0.1), (head[0] - 0.03, head[1] - 0.12)], thick, Tone.SECOND)
    bar = (head[0] - 0.03, head[1] - 0.12)
    if fig.chance(0.5):
        fig.wire(
            spline([bar, (bar[0] + 0.22, bar[1]), (bar[0] + 0.26, bar[1] + 0.17), (bar[0] + 0.1, bar[1] + 0.22)]), thick
        )
    else:
        fig.wire(
            spline(
                [(bar[0] - 0.24, bar[1] + fig.u(-0.1, 0.06)), (bar[0] - 0.05, bar[1] - 0.07), (bar[0] + 0.12, bar[1])]
            ),
            thick * 1.2,
        )
    fig.wire([seat, (seat[0] - 0.02, seat[1] - 0.08)], thick)
    fig.body(
        blob(
            [
                (seat[0] - 0.2, seat[1] - 0.14),
                (seat[0] + 0.16, seat[1] - 0.1),
                (seat[0] + 0.05, seat[1] - 0.05),
                (seat[0] - 0.16, seat[1] - 0.03),
            ]
        ),
        Tone.DARK,
    )
    fig.body(ellipse(*crank, 0.12), Tone.ACCENT)
    for x, y, _ in around(crank[0], crank[1], 0.25, 2, fig.u(0, 180)):
        fig.wire([crank, (x, y)], thick * 0.7)
        fig.wire([(x - 0.08, y), (x + 0.08, y)], thick)
    if fig.chance(0.3):
        fig.body(tube(ellipse(0, 0, radius * 1.12, start=190, end=300), 0.05), Tone.ACCENT)
    if fig.chance(0.25):
        flag(fig, -0.02, -radius * 2.0, radius * 2.0, 0.3)
