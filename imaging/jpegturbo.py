"""Lossless JPEG and 12-bit JPEG through libjpeg-turbo 3 (of imagecodecs, BSD).

GDCM decodes these too, but two in a thousand damaged frames killed the whole process there; libjpeg-turbo reported
every one of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from imagecodecs import jpeg8_decode
from numpy.typing import NDArray

from jobs.errors import DecodeFailed


def decode_frame(frame: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    """One frame of `shape`, (H, W) or (H, W, 3), as uint8 or uint16; its size must have been checked.

    Colours are handed over as they are stored, because DICOM states their space and JPEG only guesses it.
    """
    colours: dict[str, Any] = {"colorspace": "rgb", "outcolorspace": "rgb"} if len(shape) == 3 else {}
    plain: NDArray[Any] = np.asarray(jpeg8_decode(frame, **colours))
    if plain.shape != shape:
        raise DecodeFailed("A JPEG frame gave another number of pixels than its header says.")
    return plain
