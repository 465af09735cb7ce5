"""Colour pixels -> RGB of 8 bits: palettes (PS3.3 C.7.6.3.1.5 and C.7.9) and what is left of YBR."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imaging.attributes import array, bad, has
from imaging.lookup import descriptor, table

_CHANNELS = ("Red", "Green", "Blue")
_MOST_ENTRIES = 65536


def eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Whole numbers from 0 to 2^bits - 1, spread over 0 to 255."""
    if bits == 8 and values.dtype == np.uint8:
        same: NDArray[np.uint8] = values
        return same
    scaled = np.rint(np.clip(values.astype(np.float64), 0, None) * (255 / (2**bits - 1)))
    narrow: NDArray[np.uint8] = np.minimum(scaled, 255).astype(np.uint8)
    return narrow


def partial_to_rgb(ybr: NDArray[Any]) -> NDArray[np.uint8]:
    """YBR_PARTIAL (ITU-R BT.601: Y 16 to 235, Cb and Cr 16 to 240) of 8 bits -> RGB, same shape (..., 3)."""
    y, cb, cr = (ybr[..., i].astype(np.float64) - offset for i, offset in enumerate((16, 128, 128)))
    scaled = 255 / 219 * y
    red = scaled + 255 / 224 * 1.402 * cr
    green = scaled - 255 / 224 * (0.114 * 1.772 / 0.587 * cb + 0.299 * 1.402 / 0.587 * cr)
    blue = scaled + 255 / 224 * 1.772 * cb
    return np.clip(np.rint(np.stack([red, green, blue], axis=-1)), 0, 255).astype(np.uint8)


def palette_to_rgb(stored: NDArray[Any], dataset: Dataset, signed: bool) -> NDArray[np.uint8]:
    """PALETTE COLOR indices (N, H, W) -> RGB (N, H, W, 3)."""
    channels = []
    for channel in _CHANNELS:
        keyword = f"{channel}PaletteColorLookupTableDescriptor"
        count, first, bits = descriptor(dataset, keyword, signed)
        entries = _entries(dataset, channel, count)
        # Tables that state 16 bits but hold 8-bit entries in words are common; their range tells them apart.
        full = 8 if bits == 8 or entries.max(initial=0) <= 255 else bits
        index = np.clip(stored.astype(np.int64) - first, 0, len(entries) - 1)
        channels.append(eight_bits(entries, full)[index])
    return np.stack(channels, axis=-1)


def _entries(dataset: Dataset, channel: str, count: int) -> NDArray[np.float32]:
    segmented = f"Segmented{channel}PaletteColorLookupTableData"
    if has(dataset, segmented):
        words = array(dataset, segmented)
        if words is None:
            raise bad(segmented, "is empty")
        return _expand([int(word) for word in words.tolist()], segmented)
    return table(dataset, f"{channel}PaletteColorLookupTableData", count)


def _expand(words: list[int], keyword: str) -> NDArray[np.float32]:
    """A segmented table (PS3.3 C.7.9.2): discrete runs and straight lines, never longer than a table may be."""
    entries: list[float] = []
    at = 0
    while at + 2 <= len(words):
        kind, length = words[at], words[at + 1]
        if len(entries) + length > _MOST_ENTRIES or kind not in (0, 1) or (kind == 1 and not entries):
            raise bad(keyword, "has a segment that cannot be expanded")
        if kind == 0:
            entries.extend(words[at + 2 : at + 2 + length])
            at += 2 + length
            continue
        if at + 3 > len(words):
            break
        entries.extend(np.linspace(entries[-1], words[at + 2], length + 1)[1:].tolist())
        at += 3
    if not entries:
        raise bad(keyword, "has no entries")
    return np.rint(np.asarray(entries, np.float32))
