"""Stored values -> modality values (PS3.3 C.11.1): Hounsfield units, optical density, and so on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imaging.attributes import bad, has, items, number
from imaging.functional import FunctionalGroups
from imaging.lookup import Lut, read_lut

ABSURD = 1e12
"""A slope or intercept beyond this leaves nothing of a 32-bit pixel in float32."""


@dataclass(frozen=True)
class Rescale:
    """value = stored x slope + intercept (PS3.3 C.11.1.1.2)."""

    slope: float
    intercept: float


def modality_values(stored: NDArray[Any], groups: FunctionalGroups, signed: bool) -> NDArray[np.float32]:
    """Modality values of all frames, (N, H, W) float32."""
    values = stored.astype(np.float32)
    scopes = range(len(stored)) if groups.enhanced else range(1)
    for frame in scopes:
        part = slice(frame, frame + 1) if groups.enhanced else slice(None)
        scope = groups.scope(frame, "PixelValueTransformationSequence")
        transform = _transform(scope, signed)
        if isinstance(transform, Lut):
            values[part] = transform.apply(stored[part])
        elif transform is not None:
            # In float64, because a float32 product of a large stored value loses the small steps.
            values[part] = stored[part] * transform.slope + transform.intercept
    return values


def _transform(scope: Dataset, signed: bool) -> Lut | Rescale | None:
    tables = items(scope, "ModalityLUTSequence")
    if tables:
        return read_lut(tables[0], signed)
    if not has(scope, "RescaleSlope") and not has(scope, "RescaleIntercept"):
        return None
    slope, intercept = number(scope, "RescaleSlope"), number(scope, "RescaleIntercept")
    rescale = Rescale(1.0 if slope is None else slope, 0.0 if intercept is None else intercept)
    if rescale.slope == 0:
        raise bad("RescaleSlope", "is 0, which makes all pixels equal")
    if abs(rescale.slope) > ABSURD:
        raise bad("RescaleSlope", "is absurdly large")
    if abs(rescale.intercept) > ABSURD:
        raise bad("RescaleIntercept", "is absurdly large")
    return None if rescale == Rescale(1.0, 0.0) else rescale
