"""Panels of lines over time, as an SVG that can be read on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP = 920, 76, 120, 74
HEIGHT, GAP = 130, 52
STYLE = """\
    text { font-size: 12px; fill: #526170 } .bold { font-size: 15px; font-weight: 600; fill: #1b2733 }
    .grid { stroke: #d5dde4; stroke-width: 1 } .held { fill: #f3e3c3 } path { fill: none; stroke-width: 1.6 }
    .line0 { stroke: #2f7ea8 } .line1 { stroke: #b4562b } .line2 { stroke: #4d8a4d } .line3 { stroke: #7d62a8 }
    .name0 { fill: #2f7ea8 } .name1 { fill: #b4562b } .name2 { fill: #3d773d } .name3 { fill: #7d62a8 }
    @media (prefers-color-scheme: dark) {
      text { fill: #a3b3c2 } .bold { fill: #e8eef4 } .grid { stroke: #33414e } .held { fill: #3a3222 }
      .line0 { stroke: #5db3dd } .line1 { stroke: #e58a5c } .line2 { stroke: #7fc07f } .line3 { stroke: #b59be0 }
      .name0 { fill: #5db3dd } .name1 { fill: #e58a5c } .name2 { fill: #7fc07f } .name3 { fill: #b59be0 }
    }
"""

Points = Sequence[tuple[float, float | None]]
"""(minute, value); None leaves a gap."""


@dataclass(frozen=True)
class Panel:
    """Up to four lines on one axis.

    Attributes:
        title: with the unit.
        lines: name → points.
        log: whether each step of the axis is ten times the one before.
    """

    title: str
    lines: dict[str, Points]
    log: bool = False


def draw(title: str, description: str, panels: Sequence[Panel], *, minutes: float, held: Points) -> str:
    """The picture; ``held`` are the stretches to shade, (begin, end)."""
    height = TOP + len(panels) * (HEIGHT + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' aria-labelledby="title desc" font-family="ui-sans-serif, system-ui, Helvetica, Arial, sans-serif">',
        f'  <title id="title">{escape(title)}</title>',
        f'  <desc id="desc">{escape(description)}</desc>',
        f"  <style>\n{STYLE}  </style>",
        f'  <text class="bold" x="{LEFT}" y="24">{escape(title)}</text>',
    ]
    for place, panel in enumerate(panels):
        lines += _panel(panel, TOP + place * (HEIGHT + GAP), minutes, held, last=place == len(panels) - 1)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, top: float, minutes: float, held: Points, *, last: bool) -> Iterator[str]:
    def x(minute: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * minute / minutes

    ticks = _ticks([value for points in panel.lines.values() for _, value in points if value is not None], panel.log)
    low, high = (_scale(tick, panel.log) for tick in (ticks[0], ticks[-1]))

    def y(value: float) -> float:
        return top + HEIGHT * (1 - (_scale(max(value, ticks[0]), panel.log) - low) / (high - low))

    for begin, end in held:
        wide = x(begin if end is None else end) - x(begin)
        yield f'  <rect class="held" x="{x(begin):.1f}" y="{top}" width="{wide:.1f}" height="{HEIGHT}"/>'
    yield f'  <text class="bold" x="{LEFT}" y="{top - 10}">{escape(panel.title)}</text>'
    for tick in ticks:
        yield f'  <line class="grid" x1="{LEFT}" y1="{y(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{y(tick):.1f}"/>'
        yield f'  <text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,g}</text>'
    below: list[float] = []
    for number, (name, points) in enumerate(panel.lines.items()):
        known = [(minute, value) for minute, value in points if value is not None]
        path = "".join(f"{'L' if at else 'M'}{x(m):.1f} {y(v):.1f}" for at, (m, v) in enumerate(known))
        yield f'  <path class="line{number}" d="{path}"/>'
        beside = _free(y(known[-1][1]) + 4 if known else top, below)
        yield f'  <text class="name{number}" x="{WIDTH - RIGHT + 8}" y="{beside:.1f}">{escape(name)}</text>'
    step = _step(minutes, 6)
    for n in range(int(minutes / step + 1e-9) + 1):
        label = f"{n * step:g}" + (" min" if last and n == 0 else "")
        yield f'  <text x="{x(n * step):.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{label}</text>'


def _free(y: float, taken: list[float]) -> float:
    """The nearest place downwards where a name covers no other."""
    for other in sorted(taken):
        if abs(other - y) < 14:
            y = other + 14
    taken.append(y)
    return y


def _scale(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def _ticks(values: Sequence[float], log: bool) -> list[float]:
    """Round numbers from below the least to above the greatest value."""
    if log:
        above_0 = [value for value in values if value > 0] or [1.0]
        first, last = math.floor(math.log10(min(above_0))), math.ceil(math.log10(max(above_0)))
        return [10.0**power for power in range(first, max(last, first + 1) + 1)]
    step = _step(max([*values, 1.0]), 4)
    return [step * n for n in range(math.ceil(max([*values, 1.0]) / step) + 1)]


def _step(most: float, parts: int) -> float:
    """1, 2 or 5 times a power of ten, such that ``most`` has about so many."""
    power = 10.0 ** math.floor(math.log10(most / parts))
    return next(power * n for n in (1, 2, 5, 10) if power * n * parts >= most * 0.999)
