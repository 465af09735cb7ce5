"""Instances of one series -> their order in space, with the slices that are missing named (PS3.3 C.7.6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imaging.attributes import tag_name
from imaging.header import Header
from jobs.errors import BadSeries

_PARALLEL = 1e-3
"""Planes whose normals differ by less (radians) count as parallel: headers are rounded to about six digits."""

_SAME_PLACE_MM = 1e-3
_GAP = 1.5
"""A step of more than one and a half usual ones has lost a slice; scanners vary by a few per cent."""


@dataclass(frozen=True)
class Gap:
    """Slices that should lie between two neighbours and do not."""

    after: int
    before: int
    """Positions in the input of the neighbours."""

    missing: int
    message: str


@dataclass(frozen=True)
class Series:
    """Instances sorted along the normal of their planes."""

    series_instance_uid: str
    order: tuple[int, ...]
    """Positions in the input, from the lowest place along the normal to the highest."""

    places_mm: tuple[float, ...]
    """Along the normal, in that order."""

    spacing_mm: float | None
    """The usual step between neighbours (median), None for a single slice."""

    gaps: tuple[Gap, ...]


def order_series(headers: Sequence[Header]) -> Series:
    """Sort single-frame instances by ImagePositionPatient along the common normal.

    InstanceNumber and file names are not trusted. Raises `BadSeries` where the instances are not one stack.
    """
    if not headers:
        raise BadSeries("The series has no instances.")
    _check_common(headers)
    normals = [header.geometry.normal() for header in headers]
    places = []
    for position, header in enumerate(headers):
        if normals[position] is None:
            raise _bad("ImageOrientationPatient", "is missing", position)
        if header.image_position_patient is None:
            raise _bad("ImagePositionPatient", "is missing", position)
        if float(np.linalg.norm(np.subtract(normals[position] or (), normals[0] or ()))) > _PARALLEL:
            raise _bad("ImageOrientationPatient", "is not parallel to the first instance's", position)
        places.append(float(np.dot(header.image_position_patient, normals[0] or ())))
    order = sorted(range(len(headers)), key=places.__getitem__)
    return _stack(headers, order, [places[position] for position in order])


def _stack(headers: Sequence[Header], order: list[int], places: list[float]) -> Series:
    steps = np.diff(places)
    for index in np.flatnonzero(steps < _SAME_PLACE_MM).tolist():
        raise _bad("ImagePositionPatient", "is the same as another instance's", order[index + 1])
    usual = float(np.median(steps)) if len(steps) else None
    gaps = []
    for index, step in enumerate(steps.tolist()):
        if usual is not None and step > _GAP * usual:
            gaps.append(_gap(order[index], order[index + 1], places[index], places[index + 1], usual))
    return Series(headers[0].series_instance_uid, tuple(order), tuple(places), usual, tuple(gaps))


def _gap(after: int, before: int, low: float, high: float, usual: float) -> Gap:
    missing = max(1, round((high - low) / usual) - 1)
    place = f"between {low:.2f} and {high:.2f} mm (inputs {after} and {before})"
    return Gap(after, before, missing, f"{missing} missing {place}; the usual step is {usual:.2f} mm")


def _check_common(headers: Sequence[Header]) -> None:
    for attribute, keyword in (
        ("series_instance_uid", "SeriesInstanceUID"),
        ("frame_of_reference_uid", "FrameOfReferenceUID"),
        ("modality", "Modality"),
        ("rows", "Rows"),
        ("columns", "Columns"),
    ):
        for position, header in enumerate(headers):
            if getattr(header, attribute) != getattr(headers[0], attribute):
                raise _bad(keyword, "differs from the first instance's", position)
    if not headers[0].series_instance_uid:
        raise _bad("SeriesInstanceUID", "is missing", 0)
    for position, header in enumerate(headers):
        if header.number_of_frames != 1:
            raise _bad("NumberOfFrames", "is not 1, so the instance is a stack of its own", position)


def _bad(keyword: str, problem: str, position: int) -> BadSeries:
    return BadSeries(f"{tag_name(keyword)} {problem} (input {position}).", tag=tag_name(keyword), input=position)
