"""Modality values -> what is shown: VOI LUT or window (PS3.3 C.11.2), inverted last for MONOCHROME1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imaging.attributes import items, numbers, text
from imaging.functional import FunctionalGroups
from imaging.lookup import Lut, read_lut
from jobs.errors import BadAttribute

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"


@dataclass(frozen=True)
class Window:
    """A window in modality values (PS3.3 C.11.2.1.2), with the function of VOILUTFunction."""

    center: float
    width: float
    function: str = LINEAR

    def usable(self) -> bool:
        """LINEAR needs a width of at least 1, the others one above 0."""
        return self.width >= 1 if self.function == LINEAR else self.width > 0

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """The shown brightness, 0 to 1, same shape."""
        x = values.astype(np.float64)
        if self.function == SIGMOID:
            # Beyond an exponent of 700 float64 overflows, and the brightness is 0 or 1 long before.
            sigmoid: NDArray[np.float64] = 1 / (1 + np.exp(np.clip(-4 * (x - self.center) / self.width, -700, 700)))
            return sigmoid
        if self.function == LINEAR_EXACT:
            return np.clip((x - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:
            # The formula would divide by 0; it says: black up to the centre - 0.5, white above.
            return (x > self.center - 0.5).astype(np.float64)
        return np.clip((x - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, eq=False)
class Voi:
    """How one frame wants to be shown."""

    lut: Lut | None = None
    window: Window | None = None
    note: str = ""
    """Why a stated window or table is not used; a reader of the result should see it."""

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Brightness 0 to 1 of one frame; without table and window, from its least to its greatest value."""
        if self.lut is not None:
            brightness: NDArray[np.float64] = self.lut.apply(values).astype(np.float64) / (2**self.lut.bits - 1)
            return brightness
        if self.window is not None:
            return self.window.apply(values)
        low, high = float(values.min()), float(values.max())
        return (values.astype(np.float64) - low) / (high - low) if high > low else np.zeros(values.shape)


def read_voi(groups: FunctionalGroups, frame: int, signed: bool) -> Voi:
    """The VOI of `frame` (from 0): the table where there is one, else the first window."""
    scope = groups.scope(frame, "FrameVOILUTSequence")
    try:
        tables = items(scope, "VOILUTSequence")
        if tables:
            return Voi(lut=read_lut(tables[0], signed))
        window = _window(scope)
    except BadAttribute as error:
        return Voi(note=f"{error.facts['tag']} cannot be used; shown from least to greatest value.")
    if window is not None and not window.usable():
        return Voi(note="(0028,1051) WindowWidth cannot be used; shown from least to greatest value.")
    return Voi(window=window)


def _window(scope: Dataset) -> Window | None:
    centers, widths = numbers(scope, "WindowCenter"), numbers(scope, "WindowWidth")
    if not centers or not widths:
        return None
    stated = text(scope, "VOILUTFunction").upper()
    return Window(centers[0], widths[0], stated if stated in (LINEAR_EXACT, SIGMOID) else LINEAR)


def shown(values: NDArray[np.float32], voi: Voi, *, inverted: bool) -> NDArray[np.uint8]:
    """One frame of modality values as 8-bit greys, black 0; `inverted` for MONOCHROME1, after the VOI."""
    brightness = np.clip(voi.apply(values), 0, 1)
    grey: NDArray[Any] = np.rint((1 - brightness if inverted else brightness) * 255)
    return grey.astype(np.uint8)
