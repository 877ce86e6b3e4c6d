"""Things that hold a liquid: turned bodies with handles, spouts, lids and feet."""

from __future__ import annotations

from sbka_milvus.demo.shapes.curves import ellipse, lathe, rect, rounded, span, spline, tube
from sbka_milvus.demo.shapes.kit import Figure, Tone


def cup(fig: Figure) -> None:
    """A mug or teacup with a handle, seen a little from above."""
    top, foot, tall = fig.u(0.5, 0.65), fig.u(0.3, 0.6), fig.u(0.75, 1.15)
    foot = min(foot, top)
    lip = fig.u(0.10, 0.17)
    if fig.chance(0.4):
        wide = top + fig.u(0.35, 0.5)
        fig.body(ellipse(0, tall + 0.02, wide, wide * 0.22), Tone.SECOND)
        fig.mark(ellipse(0, tall + 0.02, wide * 0.6, wide * 0.12), Tone.LIGHT)
    if fig.chance(0.35):
        for x in (-0.18, 0.14):
            fig.wire(spline([(x, -0.22), (x + 0.1, -0.38), (x, -0.52), (x + 0.1, -0.7)]), 0.035, Tone.LIGHT)
    grip, reach = fig.u(0.22, 0.33), fig.u(0.28, 0.42)
    fig.body(
        tube(ellipse((top + foot) / 2 - 0.03, tall * 0.45, reach + 0.05, grip, start=-100, end=100), 0.11), Tone.MAIN
    )
    belly = fig.u(0.0, 0.14)
    side = spline([(top, 0), ((top + foot) / 2 + belly, tall * 0.6), (foot, tall)])
    base = ellipse(0, tall, foot, lip * 0.55, start=0, end=180)
    fig.body([*map(tuple, side), *map(tuple, base), *[(-x, y) for x, y in side[::-1]]])
    if fig.chance(0.5):
        at = fig.u(0.3, 0.6) * tall
        half = (top + foot) / 2 + belly * 0.6
        fig.crease(spline([(-half, at), (0, at + lip), (half, at)]), fig.u(0.03, 0.08))
    fig.body(ellipse(0, 0, top, lip), Tone.LIGHT)
    fig.mark(ellipse(0, 0.03, top * 0.84, lip * 0.7), Tone.DARK)


def jug(fig: Figure) -> None:
    """A tall pitcher with a lip and a long handle."""
    neck, belly, tall = fig.u(0.26, 0.36), fig.u(0.45, 0.6), fig.u(1.35, 1.7)
    foot = fig.u(0.3, 0.42)
    fig.body(
        tube(
            spline([(neck * 0.8, 0.12), (neck + 0.45, 0.0), (belly + 0.32, tall * 0.4), (belly * 0.9, tall * 0.62)]),
            0.11,
        ),
        Tone.SECOND,
    )
    right = spline([(neck, 0.0), (neck * 0.9, tall * 0.25), (belly, tall * 0.62), (foot, tall)])
    left = right[::-1] * [-1, 1]
    lip = spline([(-neck, 0.06), (-neck - fig.u(0.16, 0.3), -fig.u(0.1, 0.2)), (-neck * 0.2, 0.02), (neck, 0.0)])
    fig.body([*map(tuple, right), *map(tuple, left[:-5]), *map(tuple, lip)])
    fig.crease(spline([(-neck * 0.95, tall * 0.2), (0, tall * 0.25), (neck * 0.95, tall * 0.2)]), 0.03)
    for _ in range(fig.n(0, 2)):
        at = fig.u(0.5, 0.8) * tall
        fig.crease(spline([(-belly * 0.95, at), (0, at + 0.08), (belly * 0.95, at)]), fig.u(0.03, 0.09))


def vase(fig: Figure) -> None:
    """A turned vase with bands."""
    lip, neck, belly, foot = fig.u(0.25, 0.42), fig.u(0.14, 0.24), fig.u(0.45, 0.65), fig.u(0.22, 0.34)
    tall, at = fig.u(1.5, 1.9), fig.u(0.42, 0.62)
    if fig.chance(0.35):
        for side in (-1, 1):
            fig.body(
                tube(
                    spline(
                        [(side * neck * 0.9, 0.25), (side * (neck + 0.32), 0.2), (side * belly * 0.85, tall * at * 0.8)]
                    ),
                    0.09,
                ),
                Tone.SECOND,
            )
    fig.body(
        lathe(
            [
                (lip, 0),
                (neck, 0.2),
                (neck * 1.15, tall * at * 0.5),
                (belly, tall * at),
                (foot * 1.05, tall * 0.92),
                (foot, tall),
            ]
        )
    )
    fig.crease(spline([(-neck, 0.22), (0, 0.26), (neck, 0.22)]), 0.04)
    for shift in (-0.08, 0.1)[: fig.n(1, 2)]:
        y = tall * (at + shift)
        fig.crease(spline([(-belly * 0.96, y), (0, y + 0.1), (belly * 0.96, y)]), 0.04)
    if fig.chance(0.5):
        for x in span(-belly * 0.8, belly * 0.8, fig.n(4, 6)):
            fig.mark(ellipse(x, tall * at + 0.1, 0.06), Tone.ACCENT)
    fig.body(ellipse(0, 0, lip, 0.07), Tone.DARK)


def watering_can(fig: Figure) -> None:
    """A can with a long spout that ends in a rose."""
    half, tall = fig.u(0.42, 0.55), fig.u(0.75, 1.0)
    reach, rise = fig.u(0.6, 0.8), fig.u(0.05, 0.3)
    tip = (half + reach, -rise)
    fig.body(tube([(half * 0.8, tall * 0.75), tip], fig.u(0.17, 0.22), 0.1), Tone.SECOND)
    fig.body(
        tube([(tip[0] - 0.03, tip[1] + 0.04), (tip[0] + 0.12, tip[1] - 0.14)], 0.12, fig.u(0.34, 0.45)), Tone.SECOND
    )
    fig.body(
        tube(
            spline([(-half * 0.9, 0.12), (-half - 0.4, 0.1), (-half - 0.3, tall * 0.6), (-half * 0.95, tall * 0.75)]),
            0.08,
        ),
        Tone.ACCENT,
    )
    fig.body(
        tube(
            spline([(-half * 0.8, 0.05), (-half * 0.3, -fig.u(0.4, 0.55)), (half * 0.6, -0.3), (half * 0.9, 0.05)]),
            0.08,
        ),
        Tone.ACCENT,
    )
    slant = fig.u(0.0, 0.1)
    fig.body(rounded([(-half + slant, 0), (half - slant, 0), (half, tall), (-half, tall)], 0.06))
    for at in (0.14, 0.86):
        fig.crease([(-half, tall * at), (half, tall * at)], 0.035)
    fig.body(ellipse(0, 0, half - slant, 0.09), Tone.DARK)


def wineglass(fig: Figure) -> None:
    """A stemmed glass, with or without wine."""
    rim, bowl, deep, stem = fig.u(0.30, 0.48), fig.u(0.42, 0.52), fig.u(0.65, 0.95), fig.u(0.5, 0.85)
    foot = fig.u(0.36, 0.46)
    end = deep + stem
    fig.body(ellipse(0, end, foot, 0.09), Tone.SECOND)
    fig.body(lathe([(0.04, deep - 0.05), (0.035, deep + stem * 0.6), (0.06, end)]), Tone.SECOND)
    profile = [(rim, 0), (bowl, deep * 0.5), (bowl * 0.6, deep * 0.85), (0.03, deep)]
    fig.body(lathe(profile), Tone.LIGHT)
    if fig.chance(0.75):
        level = fig.u(0.25, 0.5)
        at = rim + (bowl - rim) * level / 0.5
        fig.mark(
            lathe(
                [(at * 0.93, deep * level), (bowl * 0.93, deep * 0.58), (bowl * 0.53, deep * 0.85), (0.02, deep * 0.97)]
            ),
            Tone.ACCENT,
        )
    fig.mark(ellipse(0, 0, rim, 0.07), Tone.SECOND)


def bottle(fig: Figure) -> None:
    """A bottle with a label and a cork."""
    neck, body, tall = fig.u(0.11, 0.15), fig.u(0.28, 0.40), fig.u(1.6, 2.0)
    shoulder, long = fig.u(0.1, 0.3), fig.u(0.35, 0.55)
    if fig.chance(0.7):
        fig.body(rect(-neck * 0.8, -0.17, neck * 0.8, 0.02, 0.03), Tone.SECOND)
    side = [
        (neck, 0.1),
        (neck, long),
        *spline([(neck, long), (body * 0.9, long + shoulder), (body, long + shoulder + 0.14)])[1:],
    ]
    fig.body(lathe([*map(tuple, side), (body, tall - 0.06), (body - 0.06, tall)], sharp=True))
    fig.body(rect(-neck * 1.25, 0, neck * 1.25, 0.12, 0.03), Tone.ACCENT)
    upper = fig.u(long + shoulder + 0.2, long + shoulder + 0.3)
    fig.mark(rect(-body, upper, body, min(upper + fig.u(0.4, 0.6), tall - 0.12)), Tone.LIGHT)
    if fig.chance(0.6):
        fig.crease([(-body * 0.6, upper + 0.13), (body * 0.6, upper + 0.13)], 0.04)
        fig.crease([(-body * 0.5, upper + 0.25), (body * 0.4, upper + 0.25)], 0.03)


def teapot(fig: Figure) -> None:
    """A round teapot with lid, spout and handle."""
    wide, tall = fig.u(0.62, 0.8), fig.u(0.85, 1.1)
    foot = wide * fig.u(0.5, 0.7)
    reach = wide + fig.u(0.42, 0.6)
    spout = [
        (wide * 0.6, tall * 0.72),
        (wide + 0.15, tall * 0.55),
        (reach - 0.12, tall * 0.15),
        (reach, fig.u(-0.02, 0.08)),
    ]
    fig.body(tube(spline(spout), fig.u(0.3, 0.38), 0.12), Tone.MAIN)
    grip = [
        (-wide * 0.7, tall * 0.15),
        (-wide - 0.3, tall * fig.u(0.0, 0.12)),
        (-wide - fig.u(0.32, 0.42), tall * 0.5),
        (-wide * 0.8, tall * 0.72),
    ]
    fig.body(tube(spline(grip), 0.11), Tone.SECOND)
    neck = wide * fig.u(0.42, 0.58)
    if fig.chance(0.4):
        fig.body(rect(-foot, tall - 0.03, foot, tall + 0.1, 0.03), Tone.SECOND)
    fig.body(lathe([(neck, 0.03), (wide * 0.9, tall * 0.25), (wide, tall * 0.55), (foot, tall)]))
    rise = fig.u(0.12, 0.24)
    fig.body(ellipse(0, -rise - 0.07, fig.u(0.07, 0.11)), Tone.ACCENT)
    fig.body(
        [
            *map(tuple, ellipse(0, 0.03, neck * 1.06, rise, start=180, end=360)),
            *map(tuple, ellipse(0, 0.03, neck * 1.06, 0.08, start=0, end=180)),
        ],
        Tone.SECOND,
    )
    pattern = fig.n(0, 3)
    if pattern == 1:
        for x in span(-wide * 0.75, wide * 0.75, 4):
            fig.mark(ellipse(x, tall * 0.55, 0.09), Tone.ACCENT)
    elif pattern == 2:
        for at in (0.4, 0.7):
            fig.crease(spline([(-wide * 0.96, tall * at), (0, tall * at + 0.12), (wide * 0.96, tall * at)]), 0.05)
