"""From an image to what a network reads, and back from its cells to the frame's own pixels. No torch.

The contract's `fit` says which part of a frame the training images were made from: "centre-square" (the chest
radiographs of MedMNIST v2) or "whole" (its ultrasound images). Both were resized with Pillow's bicubic filter, which
averages over areas where it shrinks, and so is what is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from imaging.reading import Image, display

Grey = NDArray[np.uint8]
"""A frame, (H, W) uint8, black 0; where it says "displayed" it may be RGB, (H, W, 3)."""
Heat = NDArray[np.float32]
"""A map over pixels, (H, W), 0 to 1; all zero where nothing spoke for the finding."""
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

BOX_LEVEL = 0.6
"""Share of a map's maximum above which a place is inside a box."""


class Area(NamedTuple):
    """The part of a frame that the network gets to see, in stored pixels."""

    left: int
    top: int
    width: int
    height: int


def displayed(image: Image, frame: int) -> Grey:
    """Return a frame (from 0) as a viewer shows it: (H, W), or (H, W, 3) RGB; uint8, black 0.

    An 8-bit image that states no window is shown over its full range, as viewers do and as the training images were:
    stretching it from its least to its greatest value would make a bright lung out of a dark one.
    """
    if not image.is_colour and image.header.bits_stored == 8:
        voi, values = image.voi[min(frame, len(image.voi) - 1)], image.frames[frame]
        if voi.window is None and voi.lut is None and values.min() >= 0 and values.max() <= 255:
            inverted = image.header.photometric_interpretation == "MONOCHROME1"
            plain: Grey = np.rint(255 - values if inverted else values).astype(np.uint8)
            return plain
    return display(image, frame)


def area(rows: int, columns: int, fit: str) -> Area:
    """Return the part of a frame of that size that the network sees under a contract's `fit`."""
    if fit == "whole":
        return Area(0, 0, columns, rows)
    side = min(rows, columns)
    return Area((columns - side) // 2, (rows - side) // 2, side, side)


def network_input(shown: Grey, contract: Mapping[str, Any]) -> Grey:
    """Return the network's view of a displayed frame: its area in grey (RGB by ITU-R BT.601 luma), resized."""
    rows, columns = contract["input"]["rows"], contract["input"]["columns"]
    left, top, width, height = area(shown.shape[0], shown.shape[1], contract["fit"])
    part = np.ascontiguousarray(shown[top : top + height, left : left + width])
    if part.shape == (rows, columns):
        return part
    image = Pillow.fromarray(part) if part.ndim == 2 else Pillow.fromarray(part).convert("L")
    return np.asarray(image.resize((columns, rows), Pillow.Resampling.BICUBIC))


def spread(raw: Heat, rows: int, columns: int) -> Heat:
    """Return one raw map (h, w), signed, enlarged to (rows, columns), cut at zero and divided by its maximum."""
    image = Pillow.fromarray(raw.astype(np.float32)).resize((columns, rows), Pillow.Resampling.BICUBIC)
    heat = np.clip(np.asarray(image, dtype=np.float32), 0, None)
    top = float(heat.max())
    return heat / top if top > 0 else heat


def placed(heat: Heat, rows: int, columns: int, fit: str, most: int = 512) -> Heat:
    """Return a map of the network's area as a map of the whole frame in its proportions; zero outside the area.

    The long side is at most `most`: drawing stretches the map over the frame, and it holds no finer detail.
    """
    shrink = min(1.0, most / max(rows, columns))
    height, width = max(1, round(rows * shrink)), max(1, round(columns * shrink))
    left, top, wide, high = area(height, width, fit)
    whole = np.zeros((height, width), np.float32)
    enlarged = Pillow.fromarray(heat).resize((wide, high), Pillow.Resampling.BILINEAR)
    whole[top : top + high, left : left + wide] = np.asarray(enlarged)
    return whole


def boxes(heat: Heat, most: int = 3) -> list[tuple[Box, float]]:
    """Return up to `most` boxes with their scores around a map's high places, strongest first.

    The score is the map's mean inside the region, 0 to 1. An all-zero map has no box.
    """
    # Imported here: scipy.ndimage costs start-up time, and only explanations need it.
    from scipy import ndimage

    if not heat.any():
        return []
    regions, _ = ndimage.label(heat >= BOX_LEVEL)
    found: list[tuple[Box, float]] = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        score = float(heat[regions == number].mean())
        box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        found.append((box, round(score, 3)))
    return sorted(found, key=lambda pair: -pair[1])[:most]


def stored_box(box: Box, contract: Mapping[str, Any], rows: int, columns: int) -> Box:
    """Return a box of the network's input as a box in the stored pixels of a frame of (rows, columns)."""
    seen = area(rows, columns, contract["fit"])
    across, down = seen.width / contract["input"]["columns"], seen.height / contract["input"]["rows"]
    left, top = seen.left + round(box[0] * across), seen.top + round(box[1] * down)
    right, bottom = seen.left + round((box[0] + box[2]) * across), seen.top + round((box[1] + box[3]) * down)
    return left, top, max(1, right - left), max(1, bottom - top)
