"""Parts that categories share: wheels, windows, doors, leaves, eyes. They are what a network can carry over."""

from __future__ import annotations

from sbka_milvus.demo.shapes.curves import around, ellipse, lens, rect
from sbka_milvus.demo.shapes.kit import Figure, Tone


def wheel(fig: Figure, cx: float, cy: float, radius: float, spokes: int = 0) -> None:
    """A solid wheel: tyre, rim, hub, and spokes if any."""
    rim = radius * fig.u(0.55, 0.75)
    fig.body(ellipse(cx, cy, radius), Tone.DARK)
    fig.body(ellipse(cx, cy, rim), Tone.LIGHT)
    for x, y, _ in around(cx, cy, rim, spokes, fig.u(0, 90)):
        fig.crease([(cx, cy), (x, y)], radius * 0.09)
    fig.mark(ellipse(cx, cy, radius * 0.17), Tone.DARK)


def spoked_wheel(fig: Figure, cx: float, cy: float, radius: float, spokes: int, *, tyre: float) -> None:
    """A wheel that one can look through."""
    fig.body(ellipse(cx, cy, radius), Tone.DARK)
    fig.hole(ellipse(cx, cy, radius * (1 - tyre)))
    for x, y, _ in around(cx, cy, radius * (1 - tyre), spokes, fig.u(0, 90)):
        fig.wire([(cx, cy), (x, y)], radius * 0.035, Tone.LIGHT)
    fig.body(ellipse(cx, cy, radius * 0.13), Tone.SECOND)


def window(fig: Figure, cx: float, cy: float, width: float, height: float, *, arched: bool = False) -> None:
    """A window with a cross of glazing bars; a round top if arched."""
    x0, x1, y0, y1 = cx - width / 2, cx + width / 2, cy - height / 2, cy + height / 2
    if arched:
        top = ellipse(cx, y0 + width / 2, width / 2, start=180, end=360)
        fig.mark([*map(tuple, top), (x1, y1), (x0, y1)], Tone.LIGHT)
    else:
        fig.mark(rect(x0, y0, x1, y1), Tone.LIGHT)
    fig.crease([(cx, y0), (cx, y1)], width * 0.08)
    fig.crease([(x0, cy), (x1, cy)], width * 0.08)


def door(fig: Figure, cx: float, base: float, width: float, height: float, *, arched: bool = False) -> None:
    """A door that stands on ``base``, with a knob."""
    x0, x1, top = cx - width / 2, cx + width / 2, base - height
    if arched:
        curve = ellipse(cx, top + width / 2, width / 2, start=180, end=360)
        fig.body([*map(tuple, curve), (x1, base), (x0, base)], Tone.ACCENT)
    else:
        fig.body(rect(x0, top, x1, base), Tone.ACCENT)
    fig.mark(ellipse(cx + width * 0.28, base - height * 0.45, width * 0.07), Tone.LIGHT)


def leaf(fig: Figure, x0: float, y0: float, x1: float, y1: float, *, width: float, tone: Tone = Tone.SECOND) -> None:
    """A leaf with its midrib."""
    fig.body(lens(x0, y0, x1, y1, width, belly=0.45), tone)
    fig.crease([(x0, y0), (x0 + 0.8 * (x1 - x0), y0 + 0.8 * (y1 - y0))], width * 0.08)


def eye(fig: Figure, cx: float, cy: float, radius: float) -> None:
    """An eye with its pupil."""
    fig.body(ellipse(cx, cy, radius), Tone.LIGHT)
    fig.mark(ellipse(cx + radius * fig.u(-0.25, 0.25), cy, radius * 0.5), Tone.DARK)


def flag(fig: Figure, x: float, top: float, height: float, length: float) -> None:
    """A pole with a pennant that flies to the right from its top."""
    fig.wire([(x, top + height), (x, top)], height * 0.06)
    fig.body([(x, top), (x + length, top + height * 0.22), (x, top + height * 0.45)], Tone.ACCENT)
