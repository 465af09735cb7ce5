"""Bytes to what the network reads: display greys, cut and resized as the training images were. No torch.

MedMNIST v2 cut each chest radiograph to the square in its middle and resized it with Pillow's bicubic filter, which
averages when it shrinks; ultrasound frames were resized whole. `fit` in the contract names which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from imaging.reading import Image, display, read_image
from jobs.errors import ContractMismatch, InputError
from models.diagnosis.contract import check

Greys = NDArray[np.uint8]


@dataclass(frozen=True)
class Place:
    """Where a frame is: the position of its `file` in the item and its `frame` in that file, both from 0."""

    file: int
    frame: int


@dataclass(frozen=True, eq=False)
class Decoded:
    """One item on its way to the network: `frames` (F, rows, columns) uint8 and where each comes from."""

    frames: Greys
    places: tuple[Place, ...]
    files: tuple[Path, ...]
    explain: bool
    notes: tuple[str, ...]
    native: Greys | None
    """The displayed image (H, W) of an item of one frame that is to be explained; others are read again when drawn."""


def decode(files: Sequence[Path], contract: Mapping[str, Any], explain: bool) -> Decoded:
    """Read an item's files, in slice order for a series; raises `InputError`."""
    if not files:
        raise InputError("A diagnosis needs an image: send a DICOM or PNG file, not inline data.")
    frames: list[Greys] = []
    places: list[Place] = []
    notes: dict[str, None] = {}
    native: Greys | None = None
    for number, path in enumerate(files):
        image = read_image(path)
        notes.update(dict.fromkeys((*check(image.header, contract), *image.notes)))
        for frame in range(len(image.frames)):
            native = grey(image, frame)
            frames.append(fit(native, contract))
            places.append(Place(number, frame))
        if len(frames) > contract["max_frames"]:
            raise ContractMismatch(
                f"The series has more images than this model takes in one item; send at most {contract['max_frames']}."
            )
    kept = native if explain and len(frames) == 1 else None
    return Decoded(np.stack(frames), tuple(places), tuple(files), explain, tuple(notes), kept)


def native(decoded: Decoded, frame: int) -> Greys:
    """Return the displayed image (H, W) of the item's `frame` (from 0), at the resolution it was stored in."""
    if decoded.native is not None:
        return decoded.native
    place = decoded.places[frame]
    return grey(read_image(decoded.files[place.file]), place.frame)


def grey(image: Image, frame: int) -> Greys:
    """Return a frame as a viewer shows it, (H, W) uint8, black 0; colour as its luma (ITU-R BT.601).

    An 8-bit image without a window is shown over its full range, as viewers do and as the training images were;
    stretching it from its least to its greatest value would make a bright lung out of a dark one.
    """
    voi = None if image.is_colour else image.voi[min(frame, len(image.voi) - 1)]
    if voi is not None and voi.window is None and voi.lut is None and image.header.bits_stored == 8:
        values = image.frames[frame]
        if values.min() >= 0 and values.max() <= 255:
            plain = np.rint(values).astype(np.uint8)
            return 255 - plain if image.header.photometric_interpretation == "MONOCHROME1" else plain
    shown = display(image, frame)
    return np.asarray(Pillow.fromarray(shown).convert("L")) if image.is_colour else shown


def crop(height: int, width: int, contract: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Return the part of the image that the model sees: (x, y, width, height) in stored pixels."""
    if contract["fit"] == "stretch":
        return 0, 0, width, height
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side, side


def fit(shown: Greys, contract: Mapping[str, Any]) -> Greys:
    """Return an image (H, W) cut and resized to the model's (rows, columns)."""
    rows, columns = int(contract["rows"]), int(contract["columns"])
    if shown.shape == (rows, columns):
        return shown
    x, y, width, height = crop(*shown.shape, contract)
    part = Pillow.fromarray(np.ascontiguousarray(shown[y : y + height, x : x + width]))
    return np.asarray(part.resize((columns, rows), Pillow.Resampling.BICUBIC))
