"""Where a frame lies in the patient: spacing, orientation and position, all in mm (PS3.3 C.7.6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from imaging.attributes import bad, numbers
from imaging.functional import FunctionalGroups


@dataclass(frozen=True)
class Geometry:
    """The plane of one frame, in the patient's coordinates (PS3.3 C.7.6.2.1.1)."""

    pixel_spacing: tuple[float, float] | None
    """mm between the centres of neighbouring rows, then columns."""

    spacing_source: str
    """"PixelSpacing", "ImagerPixelSpacing" (at the detector, so not corrected for magnification), or empty."""

    image_orientation_patient: tuple[float, ...] | None
    """Six direction cosines: of the row, then of the column."""

    image_position_patient: tuple[float, float, float] | None
    """x, y, z of the centre of the first pixel, in mm."""

    def normal(self) -> tuple[float, float, float] | None:
        """The unit vector across the plane, row x column, or None where there is no orientation."""
        if self.image_orientation_patient is None:
            return None
        cross = np.cross(self.image_orientation_patient[:3], self.image_orientation_patient[3:])
        length = float(np.linalg.norm(cross))
        if length < 1e-6:
            raise bad("ImageOrientationPatient", "does not span a plane")
        x, y, z = (cross / length).tolist()
        return x, y, z


def geometry(groups: FunctionalGroups, frame: int) -> Geometry:
    """The geometry of `frame` (from 0)."""
    spacing, source = _spacing(groups.scope(frame, "PixelMeasuresSequence"), groups.dataset)
    orientation = numbers(groups.scope(frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    position = numbers(groups.scope(frame, "PlanePositionSequence"), "ImagePositionPatient")
    return Geometry(
        pixel_spacing=spacing,
        spacing_source=source,
        image_orientation_patient=orientation if len(orientation) == 6 else None,
        image_position_patient=(position[0], position[1], position[2]) if len(position) == 3 else None,
    )


def _spacing(measures: Dataset, dataset: Dataset) -> tuple[tuple[float, float] | None, str]:
    for scope, keyword in ((measures, "PixelSpacing"), (dataset, "ImagerPixelSpacing")):
        values = numbers(scope, keyword)
        if len(values) == 2 and min(values) > 0:
            return (values[0], values[1]), keyword
    return None, ""
