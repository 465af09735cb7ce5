"""A sheet of virtual patients as one PNG: a row for each, with the courses of the variables measured most often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.data.canonical import SequenceSet
from models.synthesis.sheet import png
from models.synthesis.wording import MARK

COLUMNS = 6
CELL, HIGH, MARGIN, LINE = (150, 64), 6, 8, 20
"""Pixels: width and height of a cell, room inside it, margin of the sheet, height of a line of text."""

LEFT = 90
_PAPER, _INK, _SOFT, _NO, _YES = (255, 255, 255), (40, 40, 40), (225, 228, 232), (37, 99, 168), (179, 38, 30)


def sheet(data: SequenceSet) -> bytes:
    """Return the PNG of the patients of a set, each drawn from the same time to the same time and least to largest."""
    often = np.bincount(data.variable, minlength=len(data.variables))
    shown = np.sort(np.argsort(-often, kind="stable")[:COLUMNS])
    width = LEFT + len(shown) * CELL[0] + MARGIN
    canvas = Image.new("RGB", (width, (len(data) * CELL[1]) + 2 * LINE + 2 * MARGIN), _PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    end = float(data.time.max(initial=0.0)) or 1.0
    for column, code in enumerate(shown):
        pen.text((LEFT + column * CELL[0] + HIGH, MARGIN), data.variables[code], fill=_INK, font=font)
    for row in range(len(data)):
        yes = data.label is not None and data.label[row] == 1
        top = MARGIN + LINE + row * CELL[1]
        pen.text((MARGIN, top + CELL[1] // 3), f"{data.outcome if yes else 'without'}"[:11], fill=_INK, font=font)
        for column, code in enumerate(shown):
            box = (LEFT + column * CELL[0], top)
            pen.rectangle((*box, box[0] + CELL[0] - HIGH, box[1] + CELL[1] - HIGH), outline=_SOFT)
            _course(pen, box, _points(data, row, int(code), end), _YES if yes else _NO)
    pen.text((MARGIN, canvas.height - LINE), MARK, fill=_INK, font=font)
    return png(canvas)


def _points(data: SequenceSet, row: int, code: int, end: float) -> NDArray[np.float64]:
    """Time and value of each measurement as shares of their ranges, (M, 2)."""
    own = data.variable == code
    low, high = float(data.value[own].min(initial=np.inf)), float(data.value[own].max(initial=-np.inf))
    mine = own & (data.subject == row)
    span = high - low if high > low else 1.0
    return np.column_stack([data.time[mine] / end, (data.value[mine] - low) / span])


def _course(
    pen: ImageDraw.ImageDraw, box: tuple[int, int], points: NDArray[np.float64], colour: tuple[int, int, int]
) -> None:
    inner = (CELL[0] - 3 * HIGH, CELL[1] - 3 * HIGH)
    places = [(box[0] + HIGH + float(x) * inner[0], box[1] + HIGH + (1 - float(y)) * inner[1]) for x, y in points]
    if len(places) > 1:
        pen.line(places, fill=colour, width=1)
    for x, y in places:
        pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)
