"""Bytes -> `Image`: checked pixels with their geometry and the way they want to be shown.

The main path, hop by hop: `parsing.load` -> `parsing.parse` -> `header.describe` (nothing large is allocated before
it) -> `decoding.decode` -> `modality.modality_values` or `colour` -> `Image`; later `display` -> `voi.shown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import convert_color_space

from imaging import colour, parsing, pngfile
from imaging.attributes import bad, items
from imaging.decoding import decode
from imaging.functional import FunctionalGroups
from imaging.geometry import Geometry, geometry
from imaging.header import Header, describe, png_header
from imaging.limits import DEFAULT_LIMITS, Limits
from imaging.modality import modality_values
from imaging.terms import COLOUR
from imaging.voi import Voi, Window, read_voi, shown
from jobs.errors import BrokenHeader, DecodeFailed, InputError, LimitExceeded


@dataclass(frozen=True, eq=False)
class Image:
    """One image object, all frames decoded."""

    header: Header

    frames: NDArray[Any]
    """(N, H, W) float32 modality values, before VOI and not inverted; or (N, H, W, 3) uint8 RGB."""

    voi: tuple[Voi, ...]
    """For each frame, or one for all; empty for colour."""

    geometries: tuple[Geometry, ...]
    """For each frame of an enhanced object, else one for all."""

    @property
    def is_colour(self) -> bool:
        """Whether frames are RGB."""
        return self.frames.ndim == 4

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not as it should be and yet did not stop the reading; each sentence names its tag."""
        return tuple(dict.fromkeys(voi.note for voi in self.voi if voi.note))

    def geometry(self, frame: int = 0) -> Geometry:
        """The geometry of `frame` (from 0)."""
        return self.geometries[min(frame, len(self.geometries) - 1)]

    def display(self, frame: int = 0) -> NDArray[np.uint8]:
        """What a viewer shows of `frame` (from 0): (H, W), black 0, or (H, W, 3) RGB."""
        return display(self, frame)


def display(image: Image, frame: int = 0) -> NDArray[np.uint8]:
    """What a viewer shows of `frame` (from 0): VOI LUT or window, then MONOCHROME1 inverted; RGB as it is."""
    values = image.frames[frame]
    if image.is_colour:
        rgb: NDArray[np.uint8] = values
        return rgb
    inverted = image.header.photometric_interpretation == "MONOCHROME1"
    return shown(values, image.voi[min(frame, len(image.voi) - 1)], inverted=inverted)


def read_image(source: Path | bytes, limits: Limits = DEFAULT_LIMITS) -> Image:
    """Read a DICOM or PNG image, told apart by content; raises only `jobs.errors.InputError`s.

    `source` is the bytes, or the path of a readable file (OSError if it is not).
    """
    data = parsing.load(source, limits)
    try:
        return _png(data, limits) if parsing.is_png(data) else _dicom(data, limits)
    except InputError:
        raise
    except MemoryError:
        raise LimitExceeded("The image needs more memory than there is.", limit="memory") from None
    except RecursionError:
        raise LimitExceeded("Sequences are nested too deeply.", limit="max_depth", allowed=limits.max_depth) from None
    except Exception:
        # Nothing is known to come here; a stranger's file must still never end a batch, and values must not leak.
        raise BrokenHeader from None


def _png(data: bytes, limits: Limits) -> Image:
    header = png_header(data, limits)
    frames = pngfile.pixels(data)
    if frames.ndim == 4:
        return Image(header, frames, (), (header.geometry,))
    full = 2.0 ** (8 if header.bits_stored < 8 else header.bits_stored)
    return Image(header, frames, (Voi(window=Window(full / 2, full)),), (header.geometry,))


def _dicom(data: bytes, limits: Limits) -> Image:
    parsed = parsing.parse(data, limits)
    header = describe(parsed, limits)
    stored, photometric = decode(parsed, header)
    groups = FunctionalGroups(parsed.dataset)
    if 0 < len(groups.per_frame) < header.number_of_frames:
        raise bad("PerFrameFunctionalGroupsSequence", "has fewer items than NumberOfFrames")
    count = header.number_of_frames if groups.enhanced else 1
    geometries = tuple(geometry(groups, frame) for frame in range(count))
    signed = bool(header.pixel_representation)
    if header.photometric_interpretation == "PALETTE COLOR":
        return Image(header, colour.palette_to_rgb(stored, parsed.dataset, signed), (), geometries)
    if header.photometric_interpretation in COLOUR:
        return Image(header, _rgb(stored, photometric, header), (), geometries)
    values = _finite(modality_values(stored, groups, signed), parsed)
    voi = tuple(read_voi(groups, frame, _signed_voi(parsed.dataset, values, signed)) for frame in range(count))
    return Image(header, values, voi, geometries)


def _rgb(stored: NDArray[Any], photometric: str, header: Header) -> NDArray[np.uint8]:
    if photometric == "YBR_PARTIAL_422":
        return colour.partial_to_rgb(stored)
    if photometric in ("YBR_FULL", "YBR_FULL_422") and stored.dtype == np.uint8:
        return np.stack([convert_color_space(frame, "YBR_FULL", "RGB") for frame in stored])
    if photometric.startswith("YBR"):
        raise DecodeFailed(
            "The colours are still in a YBR space after decoding.", tag="(0028,0004) PhotometricInterpretation"
        )
    return np.ascontiguousarray(colour.eight_bits(stored, header.bits_stored))


def _finite(values: NDArray[np.float32], parsed: parsing.Parsed) -> NDArray[np.float32]:
    # Only float pixels can hold NaN or infinity, rescaling has been checked; summing is the cheapest complete test.
    if parsed.pixel_keyword != "PixelData" and not np.isfinite(values).all():
        raise bad(parsed.pixel_keyword, "holds values that are not finite numbers")
    return values


def _signed_voi(dataset: Dataset, values: NDArray[np.float32], signed: bool) -> bool:
    """The first mapped value of a VOI LUT is signed where the modality values can be negative (C.11.2.1.1)."""
    return signed or (not items(dataset, "ModalityLUTSequence") and bool(values.min() < 0))
