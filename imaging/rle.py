"""RLE Lossless (PS3.5 Annex G), with an output that cannot grow beyond what the header promised."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DecodeFailed


def decode_frame(data: bytes, pixels: int, samples: int, sample_bytes: int) -> NDArray[np.uint8]:
    """One frame as bytes of shape (pixels, samples, sample_bytes), least significant byte first."""
    if len(data) < 64:
        raise DecodeFailed("An RLE frame is shorter than its header (PS3.5 G.5).")
    count, *offsets = struct.unpack("<16L", data[:64])
    if count != samples * sample_bytes:
        raise DecodeFailed("An RLE frame has another number of segments than its samples need (PS3.5 G.2).")
    ends = [*offsets[1:count], len(data)]
    frame = np.zeros((pixels, samples, sample_bytes), np.uint8)
    for segment, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        # Segments go sample by sample, the most significant byte first (PS3.5 G.2).
        sample, byte = divmod(segment, sample_bytes)
        plain = unpack(data[start:end], pixels)
        frame[: len(plain), sample, sample_bytes - 1 - byte] = np.frombuffer(plain, np.uint8)
    return frame


def unpack(packed: bytes, most: int) -> bytes:
    """PackBits (PS3.5 G.3.2) of one segment: exactly `most` bytes, whatever follows them."""
    plain = bytearray()
    at, end = 0, len(packed)
    while at < end and len(plain) < most:
        control = packed[at]
        at += 1
        if control < 128:
            plain += packed[at : at + control + 1]
            at += control + 1
        elif control > 128:
            plain += packed[at : at + 1] * (257 - control)
            at += 1
    if len(plain) < most:
        raise DecodeFailed("An RLE segment ends before its pixels do.")
    return bytes(plain[:most])
