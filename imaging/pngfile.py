"""The pixels of a PNG: grey of 1 to 16 bits as it is, everything else as RGB."""

from __future__ import annotations

import io
import logging
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from jobs.errors import DecodeFailed, LimitExceeded

# At DEBUG level Pillow logs each chunk of a file.
logging.getLogger("PIL").setLevel(logging.INFO)


def pixels(data: bytes) -> NDArray[Any]:
    """(1, H, W) float32 of a grey PNG, (1, H, W, 3) uint8 of a coloured one; the size must have been checked."""
    try:
        with Pillow.open(io.BytesIO(data), formats=("PNG",)) as picture:
            picture.load()
            return _array(picture)
    except (Pillow.DecompressionBombError, MemoryError):
        raise LimitExceeded("The PNG needs more memory than accepted.", limit="max_png_pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, UnidentifiedImageError, IndexError, TypeError):
        raise DecodeFailed("The PNG cannot be decoded; save it again and send it once more.") from None


def _array(picture: Pillow.Image) -> NDArray[Any]:
    if picture.mode in ("1", "L", "I", "I;16", "I;16B", "F"):
        grey = picture.convert("L") if picture.mode == "1" else picture
        return np.asarray(grey).astype(np.float32)[np.newaxis]
    if picture.mode == "LA":
        return np.asarray(picture.getchannel("L")).astype(np.float32)[np.newaxis]
    return np.asarray(picture.convert("RGB"))[np.newaxis]
