"""What a compressed frame claims in its own header, which is what its decoder allocates and dispatches by."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_NO_FRAME_HEADER = frozenset((0xC4, 0xC8, 0xCC))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_LS = 0xF7
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "


@dataclass(frozen=True)
class Claim:
    """Size and precision as the frame itself states them."""

    process: int
    """The second byte of the JPEG marker SOFn (0xC0 baseline, 0xC3 lossless, 0xF7 JPEG-LS); 0x51 for JPEG 2000."""

    rows: int
    columns: int
    components: int
    precision: int
    """Bits a sample; of the first component in JPEG 2000."""


def jpeg_claim(data: bytes) -> Claim | None:
    """The frame header of a JPEG or JPEG-LS frame (ITU-T T.81 B.2.2, T.87 C.2.2), None where there is not just one."""
    if data[:2] != b"\xff\xd8":
        return None
    at, found = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:
            return found
        if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER) or marker == _JPEG_LS:
            if found is not None or at + 10 > len(data):
                return None
            precision, rows, columns, components = struct.unpack_from(">BHHB", data, at + 4)
            found = Claim(marker, rows, columns, components, precision)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg2000_claim(data: bytes) -> Claim | None:
    """The SIZ marker of a JPEG 2000 codestream, bare or in a JP2 file (ITU-T T.800 A.5.1), or None."""
    start = _codestream_start(data)
    if start is None or data[start : start + 4] != b"\xff\x4f\xff\x51" or len(data) < start + 43:
        return None
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    components, precision = struct.unpack_from(">HB", data, start + 40)
    return Claim(0x51, height - top, width - left, components, (precision & 0x7F) + 1)


def _codestream_start(data: bytes) -> int | None:
    """Where the codestream begins: at once, or in the jp2c box of a JP2 file (ITU-T T.800 Annex I), or None.

    A box shorter than its own header is refused: at a length of 0 pydicom's reader of boxes never ends.
    """
    if not data.startswith(_JP2_SIGNATURE):
        return 0
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"jp2c":
            return at + 8
        if length < 8:
            return None
        at += length
    return None
