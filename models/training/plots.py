"""The curves of a training as one SVG: a panel for each figure, a line for each fit. Drawn from numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

COLOURS = ("#2563a8", "#c2571a", "#3a7d44", "#8a5aa8", "#b8860b", "#0f7f8c", "#a33b5d", "#5b6470")
WIDTH, HEIGHT = 640, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 26, 30
LEGEND = 12
"""Lines that are named beside their panel; the rest is in curves.json."""

Points = Sequence[Sequence[float]]


def drawn(curves: Mapping[str, Points]) -> str:
    """The whole picture; `curves` by "<fit>/<figure>"."""
    panels = grouped(curves)
    parts, top = [], 0.0
    for figure, lines in panels.items():
        height = HEIGHT + 14 * min(len(lines), LEGEND)
        parts.append(f'<g transform="translate(0 {top:.0f})">{_panel(figure, lines)}</g>')
        top += height
    size = f'viewBox="0 0 {WIDTH} {top or 40:.0f}" width="{WIDTH}" height="{top or 40:.0f}"'
    style = "font:11px system-ui,sans-serif;fill:#333"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Curves" style="{style}">'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'


def grouped(curves: Mapping[str, Points]) -> dict[str, dict[str, Points]]:
    """Figure -> fit -> points: "seed-0/loss" is the line "seed-0" of the panel "loss"."""
    found: dict[str, dict[str, Points]] = {}
    for name, points in curves.items():
        fit, _, figure = name.rpartition("/")
        if points:
            found.setdefault(figure, {})[fit] = points
    return found


def _panel(figure: str, lines: Mapping[str, Points]) -> str:
    steps = [point[0] for points in lines.values() for point in points]
    values = [point[1] for points in lines.values() for point in points]
    across, up = (
        _scale(0.0, max(steps), _LEFT, WIDTH - _RIGHT),
        _scale(min(values), max(values), HEIGHT - _BOTTOM, _TOP),
    )
    low, high = min(values), max(values)
    ticks = [low, (low + high) / 2, high] if high > low else [low]
    parts = [f'<text x="{_LEFT}" y="16" style="font-weight:600">{escape(figure)}</text>']
    for tick in ticks:
        y = up(tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="#e3e7ec"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 12}" text-anchor="end">step {max(steps):.0f}</text>')
    for number, points in enumerate(lines.values()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across(step):.1f},{up(value):.1f}" for step, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    parts += _legend(lines)
    return "".join(parts)


def _legend(lines: Mapping[str, Points]) -> Iterable[str]:
    for number, (fit, points) in enumerate(list(lines.items())[:LEGEND]):
        y = HEIGHT + 14 * number
        yield f'<rect x="{_LEFT}" y="{y - 8}" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield f'<text x="{_LEFT + 16}" y="{y + 1}">{escape(fit or "fit")}: {points[-1][1]:.4g}</text>'


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """The linear map from values to coordinates; everything in the middle where all values are equal."""
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)
