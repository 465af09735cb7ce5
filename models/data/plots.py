"""The data card's plots as SVG text and its sheet of pictures as PNG, drawn from numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from imaging.drawing import png

COLOURS = ("#2563a8", "#c2571a", "#3a7d44", "#8a5aa8", "#98a2b3", "#b8860b")
_WIDTH, _LEFT, _LINE = 640, 190, 20
_STYLE = "font:12px system-ui,sans-serif"


def stacked(title: str, rows: Mapping[str, Mapping[str, int]]) -> str:
    """Bars of counts, one row a part, one colour a class; beyond six classes the colours repeat."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    most = max((sum(row.values()) for row in rows.values()), default=0) or 1
    drawn, top = [], 34
    for part, row in rows.items():
        drawn.append(_text(_LEFT - 8, top + 14, part, "end"))
        left = float(_LEFT)
        for number, name in enumerate(names):
            width = (_WIDTH - _LEFT - 60) * row.get(name, 0) / most
            words = escape(f"{part}, {name}: {row.get(name, 0)}")
            colour = COLOURS[number % len(COLOURS)]
            drawn.append(_bar(left, top, width, colour, words))
            left += width
        drawn.append(_text(left + 6, top + 14, str(sum(row.values()))))
        top += _LINE + 6
    for number, name in enumerate(names[: len(COLOURS)]):
        drawn.append(_bar(_LEFT, top, 12, COLOURS[number], escape(name)) + _text(_LEFT + 18, top + 14, name))
        top += _LINE
    return _frame(title, top + 8, drawn)


def shares(title: str, rows: Mapping[str, float]) -> str:
    """A bar from 0 to 1 for each name, at most forty of them."""
    drawn, top = [], 34
    for name, share in list(rows.items())[:40]:
        drawn.append(_text(_LEFT - 8, top + 14, name, "end"))
        drawn.append(_bar(_LEFT, top, (_WIDTH - _LEFT - 60) * share, COLOURS[0], escape(f"{name}: {share:.3f}")))
        drawn.append(_text(_LEFT + (_WIDTH - _LEFT - 60) * share + 6, top + 14, f"{100 * share:.1f} %"))
        top += _LINE
    return _frame(title, top + 8, drawn)


def histogram(title: str, across: str, edges: Sequence[float], counts: Sequence[int]) -> str:
    """Bars of counts between edges; `edges` has one entry more than `counts`."""
    height, base, most = 160, 200, max(counts, default=0) or 1
    width = (_WIDTH - 80) / max(1, len(counts))
    drawn = []
    for number, count in enumerate(counts):
        tall = height * count / most
        words = f"{edges[number]:g} to {edges[number + 1]:g}: {count}"
        drawn.append(
            f'<rect x="{40 + number * width:.1f}" y="{base - tall:.1f}" width="{max(1.0, width - 1):.1f}"'
            f' height="{tall:.1f}" fill="{COLOURS[0]}"><title>{words}</title></rect>'
        )
    every = max(1, len(edges) // 8)
    ticks = range(0, len(edges), every)
    drawn += [_text(40 + tick * width, base + 16, f"{edges[tick]:.4g}", "middle") for tick in ticks]
    drawn.append(_text(_WIDTH / 2, base + 34, f"{across} (highest bar: {most})", "middle"))
    return _frame(title, base + 46, drawn)


def sheet(images: NDArray[np.uint8], rows: Sequence[Sequence[int]], side: int = 64) -> bytes:
    """A PNG with the images of `rows` (positions, one row a class). None is larger than `side`, so that words that were
    burned into a picture cannot be read."""
    columns, gap = max(map(len, rows)), 4
    canvas = np.full((len(rows) * (side + gap) + gap, columns * (side + gap) + gap), 255, dtype=np.uint8)
    for down, positions in enumerate(rows):
        for across, position in enumerate(positions):
            picture = Pillow.fromarray(images[position]).resize((side, side), Pillow.Resampling.BOX)
            y, x = gap + down * (side + gap), gap + across * (side + gap)
            canvas[y : y + side, x : x + side] = np.asarray(picture)
    return png(canvas)


def _bar(x: float, y: float, width: float, colour: str, words: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_LINE - 2}"'
    return f'<rect {place} fill="{colour}"><title>{words}</title></rect>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    short = words if len(words) <= 28 else words[:27] + "\u2026"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(short)}</text>'


def _frame(title: str, height: float, drawn: Sequence[str]) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}" style="{_STYLE}">'
    back = f'<rect width="100%" height="100%" fill="#fff"/><text x="10" y="20">{escape(title)}</text>'
    return head + back + "".join(drawn) + "</svg>"
