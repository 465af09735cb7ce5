"""A sheet of drawn images as one PNG: a row of each class after the other, enlarged, and marked as synthetic."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from models.synthesis.wording import MARK

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

COLUMNS = 8
MOST = 64
"""Images on a sheet; the first of each class, in equal numbers."""
TILE, GAP, LINE = 112, 4, 26
"""Pixels: side of an enlarged image, space between two, height of a line of text."""

_PAPER, _INK = 255, 40


def sheet(images: Images, labels: Labels, classes: Sequence[str]) -> bytes:
    """Return the PNG of images (N, H, W) of classes (N,)."""
    shown = [int(label) for label in np.unique(labels)]
    each = max(COLUMNS, MOST // max(1, len(shown)) // COLUMNS * COLUMNS)
    chosen = {label: images[labels == label][:each] for label in shown}
    rows = sum(-(-len(some) // COLUMNS) for some in chosen.values())
    width = COLUMNS * (TILE + GAP) + GAP
    canvas = Image.new("L", (width, rows * (TILE + GAP) + (len(shown) + 1) * LINE + GAP), _PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    top = GAP
    for label, some in chosen.items():
        pen.text((GAP, top), f"{classes[label]} (synthetic)", fill=_INK, font=font)
        top += LINE
        for place, image in enumerate(some):
            down, right = divmod(place, COLUMNS)
            tile = Image.fromarray(image).resize((TILE, TILE), Image.Resampling.BICUBIC)
            canvas.paste(tile, (GAP + right * (TILE + GAP), top + down * (TILE + GAP)))
        top += -(-len(some) // COLUMNS) * (TILE + GAP)
    pen.text((GAP, top), MARK, fill=_INK, font=ImageFont.load_default(13))
    return png(canvas)


def png(image: Image.Image) -> bytes:
    """Return a PNG whose own description says that it is synthetic."""
    said = PngImagePlugin.PngInfo()
    said.add_text("Description", MARK)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=said)
    return out.getvalue()
