"""One patient's course as SVG: the risk over time, what weighed most, and the survival curve. Text stays text.

Colours are two of Okabe and Ito's that everyone can tell apart, and a mark's direction says the same as its colour: up
and orange raises the risk, down and blue lowers it. No library, no script, nothing fetched. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.results import DISCLAIMER
from models.prediction.contract import Contract, Limits
from models.prediction.patients import Patient

MOST_PANELS = 6
"""Variables drawn, those first whose weights add up to most, signs aside."""

MOST_STATICS = 6

UP, DOWN, INK, SOFT, LINE = "#d55e00", "#0072b2", "#16202c", "#5a6675", "#dfe4ea"

_LEFT, _WIDE, _RIGHT = 120, 560, 60
_PANEL, _STRIP, _GAP = 46, 16, 16
_SILENCE = 1 / 12
"""Share of the time axis beyond which two measurements are not joined: the line would claim what nobody measured."""

_STYLE = (
    f"text{{font:11px system-ui,sans-serif;fill:{SOFT}}}.t{{font-size:14px;font-weight:600;fill:{INK}}}"
    f".n{{font-weight:600;fill:{INK}}}.e{{text-anchor:end}}.m{{text-anchor:middle}}"
    f".l{{fill:none;stroke:{INK};stroke-width:1.4}}.g{{stroke:{LINE};fill:none}}.d{{fill:{INK}}}"
)


def picture(
    contract: Contract, patient: Patient, item: Mapping[str, Any], values: NDArray[np.float64],
    times: NDArray[np.float64],
) -> str:  # fmt: skip
    """Return the SVG. `item` is the result's entry; `values` (T, V) are weights at bins that start at `times` (T,)."""
    end = _end(contract, patient, times)
    sheet = _Sheet(end)
    risk = item["risks"][0]
    by = "" if risk["horizon"] is None else f" within {risk['horizon']:g} {contract.unit}"
    sheet.title(f"{risk['outcome']}{by}: {risk['probability']:.1%}")
    if len(item["over_time"]) > 1:
        _risk(sheet, item["over_time"])
    weights = np.abs(values).sum(axis=0)
    heaviest = [int(column) for column in np.argsort(-weights, kind="stable") if weights[column] > 0][:MOST_PANELS]
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    for column in heaviest:
        _variable(sheet, contract.variables[column], patient, values[:, column] / most, times)
    sheet.axis(contract.unit)
    _statics(sheet, contract, patient, item["attributions"])
    if item["survival"] is not None:
        _survival(sheet, item["survival"], contract)
    sheet.legend(most)
    return sheet.svg()


class _Sheet:
    """The page as it fills from above; `y` is where the next thing goes, time runs from 0 to `end`."""

    def __init__(self, end: float) -> None:
        self.end = end
        self.y = 0.0
        self._drawn: list[str] = []

    def x(self, time: float, end: float | None = None) -> float:
        """Where a time stands on the axis."""
        return _LEFT + _WIDE * min(max(time / (end or self.end), 0.0), 1.0)

    def add(self, *drawn: str) -> None:
        """Put elements on the sheet."""
        self._drawn += drawn

    def text(self, x: float, y: float, words: str, style: str = "") -> None:
        """Put words at a place."""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>')

    def title(self, words: str) -> None:
        """Write the first line."""
        self.text(8, 22, words, "t")
        self.y = 40

    def frame(self, name: str, detail: str, low: str, high: str, height: float) -> None:
        """Draw an empty panel with its name on the left and its two ends on the right."""
        self.add(f'<rect x="{_LEFT}" y="{self.y:.1f}" width="{_WIDE}" height="{height:.1f}" class="g"/>')
        self.text(8, self.y + 14, name, "n")
        self.text(8, self.y + 29, detail)
        self.text(_LEFT + _WIDE + 6, self.y + 10, high)
        self.text(_LEFT + _WIDE + 6, self.y + height, low)

    def axis(self, unit: str, end: float | None = None) -> None:
        """Write times below the last panel."""
        last = end or self.end
        for time in np.linspace(0, last, 5):
            self.text(self.x(float(time), last), self.y, f"{time:.3g}", "m")
        self.text(_LEFT + _WIDE + 24, self.y, unit)
        self.y += 22

    def legend(self, most: float) -> None:
        """Say how to read the marks."""
        marks = "Marks below a course: up and orange raises the risk, down and blue lowers it"
        self.text(8, self.y, f"{marks}; full height is {most:.2g} logits.")
        rest = "What the networks' output rests on, not a cause."
        self.text(8, self.y + 16, f"Measurements far apart are not joined. {rest}")
        self.text(8, self.y + 32, DISCLAIMER, "n")
        self.y += 42

    def svg(self) -> str:
        """Return the whole."""
        width, height = _LEFT + _WIDE + _RIGHT + 20, self.y + 4
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
            f'height="{height:.0f}" role="img" aria-label="Course of one patient"><style>{_STYLE}</style>'
            f'<rect width="100%" height="100%" fill="#fff"/>{"".join(self._drawn)}</svg>'
        )


def _risk(sheet: _Sheet, over_time: Sequence[Mapping[str, float]]) -> None:
    """The risk as it stood after each bin."""
    top = min(1.0, max(0.1, 1.2 * max(one["probability"] for one in over_time)))
    sheet.frame("Risk", "as measured so far", "0 %", f"{top:.0%}", 80)
    points = [(sheet.x(one["time"]), sheet.y + 80 * (1 - one["probability"] / top)) for one in over_time]
    sheet.add(_line(points))
    sheet.y += 80 + _GAP


def _variable(
    sheet: _Sheet, limits: Limits, patient: Patient, weights: NDArray[np.float64], times: NDArray[np.float64]
) -> None:
    """A variable's measurements, joined where they are near, and below them a mark per bin. `weights` within -1..1."""
    measured = [(one.time, one.value) for one in patient.observations if one.name == limits.name]
    values = [value for _, value in measured] or [0.0]
    low, high = min(values), max(values)
    room = (high - low) or 1.0
    sheet.frame(limits.name, limits.unit or "", f"{low:.4g}", f"{high:.4g}" if high > low else "", _PANEL)
    scale = (_PANEL - 12) / room
    points = [(time, sheet.x(time), sheet.y + _PANEL - 6 - scale * (value - low)) for time, value in measured]
    run: list[tuple[float, float]] = []
    for (before, _, _), (time, x, y) in pairwise([(-np.inf, 0.0, 0.0), *points, (np.inf, 0.0, 0.0)]):
        if time - before > _SILENCE * sheet.end:
            if len(run) > 1:
                sheet.add(_line(run))
            run = []
        run.append((x, y))
    sheet.add(*(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.9" class="d"/>' for _, x, y in points))
    sheet.y += _PANEL + 2
    _strip(sheet, weights, times)
    sheet.y += _STRIP + _GAP


def _strip(sheet: _Sheet, weights: NDArray[np.float64], times: NDArray[np.float64]) -> None:
    """A mark for each bin that has a weight: up and orange, or down and blue, as tall as the weight is heavy."""
    middle = sheet.y + _STRIP / 2
    sheet.add(f'<path d="M{_LEFT} {middle:.1f}h{_WIDE}" class="g"/>')
    bins = np.append(times, sheet.end)
    for row in np.flatnonzero(weights):
        left, right = sheet.x(float(bins[row])), sheet.x(float(bins[row + 1]))
        tall = max(abs(float(weights[row])) * _STRIP / 2, 0.4)
        top, colour = (middle - tall, UP) if weights[row] > 0 else (middle, DOWN)
        wide = max(right - left - 0.6, 2.0)
        sheet.add(f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}"/>')


def _statics(sheet: _Sheet, contract: Contract, patient: Patient, attributions: Sequence[Mapping[str, Any]]) -> None:
    """The static values among the heaviest, in words."""
    shown = [one for one in attributions if one["time"] is None and one["feature"] in patient.static][:MOST_STATICS]
    if shown:
        words = [
            f"{one['feature']} {patient.static[one['feature']]:g}{_unit(contract.static[one['feature']])} "
            f"({'raises' if one['weight'] > 0 else 'lowers'} by {abs(one['weight']):.2f})"
            for one in shown
        ]
        sheet.text(8, sheet.y, f"Static: {', '.join(words)}")
        sheet.y += 22


def _survival(sheet: _Sheet, curve: Mapping[str, Sequence[float]], contract: Contract) -> None:
    """The probability of no event after the last measurement, on its own time axis."""
    times, shares = [0.0, *curve["times"]], [1.0, *curve["survival"]]
    end = max(times) or 1.0
    sheet.frame("Survival", "after the last visit", "0 %", "100 %", 100)
    sheet.add(
        _line([(sheet.x(time, end), sheet.y + 100 * (1 - share)) for time, share in zip(times, shares, strict=True)])
    )
    sheet.y += 100 + _GAP
    sheet.axis(contract.unit, end)


def _end(contract: Contract, patient: Patient, times: NDArray[np.float64]) -> float:
    """Where the time axis ends: at the contract's horizon, else at the last thing known."""
    if contract.horizon is not None:
        return contract.horizon
    known = [*times.tolist(), *(one.time for one in patient.observations[-1:])]
    return max(known, default=0.0) or 1.0


def _line(points: Sequence[tuple[float, float]]) -> str:
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="l"/>'


def _unit(limits: Limits) -> str:
    return f" {limits.unit}" if limits.unit else ""
