"""What a model says of molecules, as columns of the table and as the scores of an item: probabilities or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.screening.ensemble import Answer, Ensemble

Floats = NDArray[np.float64]

DIGITS = 6
"""Of numbers, whatever their size; of probabilities, decimals."""


def name(ensemble: Ensemble, target: str) -> str:
    """The column that a target is ranked by: `p TARGET`, or `value TARGET [UNIT]`."""
    if ensemble.outcome.name == "classes":
        return f"p {target}"
    unit = ensemble.unit(target)
    return f"value {target} [{unit}]" if unit else f"value {target}"


def filled(ensemble: Ensemble, answer: Answer) -> dict[str, pl.Series]:
    """The columns of each target: answer and spread, and of numbers the ends of the interval."""
    classes = ensemble.outcome.name == "classes"
    found: dict[str, pl.Series] = {}

    def add(name: str, values: Floats) -> None:
        found[name] = pl.Series(values.round(DIGITS) if classes else _short(values), dtype=pl.Float64)

    for column, target in enumerate(ensemble.targets):
        value = answer.value[:, column]
        add(name(ensemble, target), value)
        add(f"spread {target}", answer.spread[:, column])
        if not classes:
            half = np.nan if ensemble.half is None else ensemble.half[column]
            for end, sign in (("low", -1), ("high", 1)):
                add(f"{end} {target}", value + sign * half)
                found[f"{end} {target}"] = found[f"{end} {target}"].fill_nan(None)
    return found


def scores(ensemble: Ensemble, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row of the table as `models.screening.kind.Score` or `Estimate`, one a target."""
    found = []
    for target in ensemble.targets:
        value, spread = row[name(ensemble, target)], row[f"spread {target}"]
        if ensemble.outcome.name == "classes":
            found.append({"target": target, "probability": value, "spread": spread})
        else:
            ends = {end: row[f"{end} {target}"] for end in ("low", "high")}
            unit = ensemble.unit(target) or None
            found.append({"target": target, "value": value, "unit": unit, "spread": spread, **ends})
    return found


def words(ensemble: Ensemble, row: Mapping[str, Any], targets: tuple[str, ...]) -> str:
    """What a molecule is ranked by, in few letters."""
    value = np.mean([row[name(ensemble, target)] for target in targets])
    if ensemble.outcome.name == "classes":
        return f"{value:.3f}"
    return f"{value:.4g} {ensemble.unit(targets[0])}".strip()


def _short(values: Floats) -> Floats:
    """Rounded to DIGITS digits, wherever the point stands."""
    size = np.abs(values)
    places = np.where(np.isfinite(size) & (size > 0), np.floor(np.log10(np.where(size > 0, size, 1.0))), 0.0)
    power = 10.0 ** (DIGITS - 1 - places)
    return np.round(values * power) / power
