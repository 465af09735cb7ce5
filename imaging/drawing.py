"""Pictures out: PNG, and the heatmap overlay at native resolution."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

CAPTION = "Model evidence, not a cause. Research use only, not a medical device."
_STRONGEST = 0.55
"""Opacity of the hottest spot: the anatomy below it must stay visible."""

_BOX = (0, 229, 255)
_NARROWEST_CAPTION = 200
"""Pixels; below this the caption's strip is wider than the picture, because its words would not fit."""

_FONT_SIZE = 11


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A PNG of (H, W) greys of 8 or 16 bits, or of (H, W, 3) RGB of 8 bits."""
    if pixels.dtype not in (np.uint8, np.uint16) or (pixels.ndim, pixels.shape[2:]) not in ((2, ()), (3, (3,))):
        raise ValueError("png() takes (H, W) uint8 or uint16, or (H, W, 3) uint8")
    out = io.BytesIO()
    # Level 3 takes 40 % of the time of Pillow's default for a chest radiograph and makes a file 4 % larger.
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", compress_level=3)
    return out.getvalue()


def overlay(
    shown: NDArray[np.uint8],
    heatmap: NDArray[np.float32],
    boxes: Sequence[tuple[int, int, int, int]] = (),
    *,
    caption: str | None = None,
) -> NDArray[np.uint8]:
    """Lay a heatmap and boxes over a displayed frame, pixel for pixel.

    `shown` is (H, W) or (H, W, 3) uint8; `heatmap` (h, w) holds 0 to 1 and is stretched over it bilinearly; a box is
    (x, y, width, height) in pixels of `shown`. Returns (H, W, 3) RGB, with a strip below it where there is a caption.
    """
    rgb = shown if shown.ndim == 3 else np.repeat(shown[..., np.newaxis], 3, axis=2)
    heat = stretched(heatmap, rgb.shape[0], rgb.shape[1])[..., np.newaxis]
    # From yellow (weak) to red (strong); a cold spot leaves the picture as it is.
    colour = np.concatenate([np.full_like(heat, 255), 255 * (1 - heat), np.zeros_like(heat)], axis=2)
    opacity = _STRONGEST * heat
    mixed = np.rint(rgb * (1 - opacity) + colour * opacity).astype(np.uint8)
    picture = Pillow.fromarray(mixed)
    draw = ImageDraw.Draw(picture)
    for x, y, width, height in boxes:
        draw.rectangle((x, y, x + width - 1, y + height - 1), outline=_BOX)
    return np.asarray(picture if caption is None else _captioned(picture, caption))


def evidence_caption(input_rows: int, input_columns: int) -> str:
    """The caption of every overlay, with the resolution that the model itself looked at."""
    return f"{CAPTION} Model input: {input_rows} x {input_columns} pixels."


def stretched(heatmap: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """A heatmap over `rows` x `columns` pixels, bilinear, 0 to 1; what is not a number counts as 0."""
    clean = np.clip(np.nan_to_num(heatmap.astype(np.float32)), 0, 1)
    return np.asarray(Pillow.fromarray(clean).resize((columns, rows), Pillow.Resampling.BILINEAR))


def _captioned(picture: Pillow.Image, caption: str) -> Pillow.Image:
    """The picture with the caption in a black strip below, so that no pixel of it is covered."""
    font = ImageFont.load_default(_FONT_SIZE)
    width = max(picture.width, _NARROWEST_CAPTION)
    widest = font.getbbox("M")[2] * 0.62
    text = "\n".join(textwrap.wrap(caption, max(8, int(width / widest))))
    canvas = Pillow.new("RGB", (width, picture.height + (text.count("\n") + 1) * (_FONT_SIZE + 4) + 6))
    canvas.paste(picture, (0, 0))
    ImageDraw.Draw(canvas).multiline_text((3, picture.height + 2), text, fill=(255, 255, 255), font=font, spacing=3)
    return canvas
