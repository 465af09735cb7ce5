"""How one variable goes on: its value at the next visit, with an interval, beside the last value carried forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.prediction.boosting import Trees, fit_quantile
from models.prediction.encoding import Batch, Encoder, Scale
from models.prediction.survival import c_index

Floats = NDArray[np.float64]

COVERAGE = 0.9
"""Share of next values that the interval is made to hold, on patients whose trees had not seen them."""


LEAST = 40
"""Visits with a next value, outside each inner fold, below which nothing is told: a leaf alone takes 20."""


def chosen(encoder: Encoder, batch: Batch, duration: Floats, event: Floats) -> int:
    """Return the variable whose first values order the patients best: the C-index furthest from one half. One that is
    hardly ever measured again comes last.
    """
    first = batch.value[:, 0].cpu().numpy().astype(np.float64)
    known = batch.count[:, 0].cpu().numpy() > 0
    gain = [
        abs(c_index(duration[k], first[k, v], event[k]) - 0.5) if (k := known[:, v]).sum() > 10 else 0.0
        for v in range(len(encoder.variables))
    ]
    again = np.maximum((batch.count > 0).sum(dim=1).cpu().numpy() - 1, 0).sum(axis=0)  # (V,)
    return int(np.argmax(np.where(again < LEAST, -1.0, np.nan_to_num(gain))))


def visits(batch: Batch, variable: int) -> tuple[Floats, Floats, Floats]:
    """Return features (N, T, F), the variable's last value and its next one (N, T; NaN where there is none), all after
    each visit. Features: last values, their age, the variable's change and mean so far, time, visits, static values.
    """
    value = batch.value.cpu().numpy().astype(np.float64)
    measured = batch.count.cpu().numpy() > 0
    count, steps, width = value.shape
    last, age = np.full((count, width), np.nan), np.full((count, width), np.nan)
    past, total, seen = np.full(count, np.nan), np.zeros(count), np.zeros(count)
    static = np.where(batch.known.cpu().numpy() > 0, batch.static.cpu().numpy(), np.nan)
    rows, lasts = [], []
    time = np.nan_to_num(batch.time)
    for step in range(steps):
        own = measured[:, step, variable]
        past = np.where(own, last[:, variable], past)
        last = np.where(measured[:, step], value[:, step], last)
        age = np.where(measured[:, step], time[:, step, None], age)
        total, seen = total + np.where(own, value[:, step, variable], 0.0), seen + own
        now = time[:, step, None]
        mean = (total / np.maximum(seen, 1))[:, None]
        change = (last[:, variable] - past)[:, None]
        rows.append(np.hstack([last, now - age, change, last[:, [variable]] - mean, now, seen[:, None], static]))
        lasts.append(last[:, variable])
    ahead, following = np.full(count, np.nan), np.full((count, steps), np.nan)
    for step in range(steps - 1, -1, -1):
        following[:, step] = ahead
        ahead = np.where(measured[:, step, variable], value[:, step, variable], ahead)
    return np.stack(rows, axis=1), np.stack(lasts, axis=1), following


@dataclass(frozen=True)
class Course:
    """Trees for the change to the next value, as z-scores, and the interval around it."""

    variable: int
    scale: Scale
    trees: tuple[Trees, ...]
    below: float
    above: float

    def shift(self, features: Floats) -> Floats:
        """Return the mean change that the trees expect, (R, F) -> (R,)."""
        expected: Floats = np.mean([trees(features) for trees in self.trees], axis=0)
        return expected

    def after(self, batch: Batch) -> list[dict[str, Any] | None]:
        """Return for each patient what the result says of the next value; None where nothing can be said."""
        features, last, _ = visits(batch, self.variable)
        ends = np.maximum((~np.isnan(batch.time)).sum(axis=1) - 1, 0)
        every = np.arange(len(batch))
        known = last[every, ends]
        middle = np.nan_to_num(known) + self.shift(features[every, ends])
        raw = [self.scale.undo(middle + gap) for gap in (0.0, self.below, self.above)]
        held = [np.clip(part, self.scale.low, self.scale.high) for part in raw]
        before = self.scale.undo(known)
        return [
            None
            if np.isnan(known[row])
            else {
                "variable": self.scale.name,
                "last": float(before[row]),
                "next": float(held[0][row]),
                "interval": [float(held[1][row]), float(held[2][row])],
                "coverage": COVERAGE,
            }
            for row in every
        ]


def teachable(batch: Batch, variable: int, inner: NDArray[np.int64]) -> bool:
    """Return whether the variable has enough next values, whichever inner fold (N,) is left out."""
    _, last, following = visits(batch, variable)
    each = np.bincount(inner, weights=_usable(batch, last, following).sum(axis=1))
    return bool(each.sum() - each.max() >= LEAST)


def fit(batch: Batch, variable: int, inner: NDArray[np.int64], seed: int) -> list[str]:
    """Return the text of trees for a variable's next value, one set per inner fold (N,), fitted without that fold."""
    features, last, following = visits(batch, variable)
    usable = _usable(batch, last, following)
    texts = []
    for fold in range(inner.max() + 1):
        train = usable & (inner != fold)[:, None]
        texts.append(fit_quantile(features[train], following[train] - last[train], seed))
    return texts


def interval(batch: Batch, scale: Scale, variable: int, inner: NDArray[np.int64], texts: list[str]) -> Course:
    """Return the course with an interval from the residuals of patients that the trees had not seen."""
    features, last, following = visits(batch, variable)
    usable, trees = _usable(batch, last, following), tuple(Trees(text) for text in texts)
    residual = []
    for fold, one in enumerate(trees):
        held = usable & (inner == fold)[:, None]
        if held.any():
            residual.append(following[held] - last[held] - one(features[held]))
    tail = (1 - COVERAGE) / 2
    below, above = np.quantile(np.concatenate(residual), [tail, 1 - tail])
    return Course(variable, scale, trees, float(below), float(above))


def measured(course: Course, batch: Batch) -> dict[str, Any]:
    """Return how near the next values came, beside the last value carried forward, and what the intervals held."""
    features, last, following = visits(batch, course.variable)
    usable = _usable(batch, last, following)
    if not usable.any():
        return {"n": 0}
    expected = last[usable] + course.shift(features[usable])
    true, carried = following[usable], last[usable]
    undo = course.scale.undo
    inside = (true >= expected + course.below) & (true <= expected + course.above)
    errors = {
        "mae": np.abs(undo(expected) - undo(true)).mean(),
        "mae_carried_forward": np.abs(undo(carried) - undo(true)).mean(),
        "mae_scaled": np.abs(expected - true).mean(),
        "mae_scaled_carried_forward": np.abs(carried - true).mean(),
        "interval_held": inside.mean(),
    }
    return {"n": int(usable.sum()), **{name: round(float(value), 4) for name, value in errors.items()}}


def read(manifest: Mapping[str, Any], encoder: Encoder, texts: list[str]) -> Course:
    """Return the course of a model version, from `course` of its manifest and its trees."""
    own = manifest["course"]
    variable = [one.name for one in encoder.variables].index(own["variable"])
    trees = tuple(Trees(text) for text in texts)
    return Course(variable, encoder.variables[variable], trees, float(own["below"]), float(own["above"]))


def _usable(batch: Batch, last: Floats, following: Floats) -> NDArray[np.bool_]:
    """(N, T) the visits with a value so far and one to come."""
    found: NDArray[np.bool_] = ~np.isnan(last) & ~np.isnan(following) & ~np.isnan(batch.time)
    return found
