"""The size that a compressed frame claims in its own header, which is what its decoder allocates by."""

from __future__ import annotations

import struct

_NO_FRAME_HEADER = frozenset((0xC4, 0xC8, 0xCC))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))


def jpeg_size(data: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) of a JPEG or JPEG-LS frame (ITU-T T.81 B.2.2, T.87 C.2.2), None if it has none."""
    at = 2
    if data[:2] != b"\xff\xd8":
        return None
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER) or marker == 0xF7:
            if at + 10 > len(data):
                return None
            rows, columns, components = struct.unpack_from(">HHB", data, at + 5)
            return rows, columns, components
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg2000_size(data: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) of a JPEG 2000 codestream, bare or in a JP2 file (ITU-T T.800 A.5.1), or None."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 42:
        return None
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    components = struct.unpack_from(">H", data, start + 40)[0]
    return height - top, width - left, components
