"""What is to be known of a data set in numbers: counts, balance, gaps, lengths. JSON-ready, of nobody in particular."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import PARTS, AnySet, ImageSet, MoleculeSet, SequenceSet
from models.data.soundness import is_classes, outcomes

OLDEST = 90
"""Ages from here on are one group: so few are older that an age could name a person (45 CFR 164.514(b)(2)(i)(C))."""


def balance(cases: AnySet) -> dict[str, dict[str, int]]:
    """Part -> class -> count; for molecules of the first target, for a regression nothing but "cases"."""
    outcome = next(iter(outcomes(cases).values()))
    found: dict[str, dict[str, int]] = {}
    for which, part in enumerate(PARTS):
        rows = cases.part(which)
        if not is_classes(outcome) or (isinstance(cases, MoleculeSet) and cases.numbers):
            found[part] = {"cases": len(rows)}
            continue
        values, counts = np.unique(outcome[rows][~np.isnan(outcome[rows])], return_counts=True)
        found[part] = {name_of(cases, value): int(count) for value, count in zip(values, counts, strict=True)}
    return found


def name_of(cases: AnySet, value: float) -> str:
    """What a value of the outcome is called."""
    if isinstance(cases, ImageSet):
        return cases.classes[int(value)]
    if isinstance(cases, SequenceSet):
        words = ("no", "yes") if cases.label is not None else ("censored", "event")
        return words[int(value)]
    return f"{value:g}"


def facts(cases: AnySet) -> dict[str, Any]:
    """The facts of a set by its form, and its subgroups."""
    form = {ImageSet: _images, SequenceSet: _sequences, MoleculeSet: _molecules}[type(cases)]
    found: dict[str, Any] = {"form": cases.form, **form(cases)}  # type: ignore[operator]
    if cases.groups:
        found["groups"] = {name: _sizes(codes, cases.group_names[name]) for name, codes in cases.groups.items()}
    return found


def _sizes(codes: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, int]:
    sizes = {name: int((codes == code).sum()) for code, name in enumerate(names)}
    unknown = int((codes < 0).sum())
    return {**sizes, "unknown": unknown} if unknown else sizes


def _images(cases: ImageSet) -> dict[str, Any]:
    return {
        "size": list(cases.images.shape[1:]),
        "patients": len(np.unique(cases.patient)),
        "fit": cases.fit,
        "modalities": list(cases.modalities),
        "positive": cases.positive,
        "brightness": _quantiles(cases.images.mean(axis=(1, 2))),
    }


def _molecules(cases: MoleculeSet) -> dict[str, Any]:
    measured = {
        name: float((~np.isnan(column)).mean()) for name, column in zip(cases.targets, cases.labels.T, strict=True)
    }
    return {
        "targets": {name: {"measured": round(share, 4)} for name, share in measured.items()},
        **(_numbers(cases) if cases.numbers else {}),
        "letters": _quantiles(np.array([len(text) for text in cases.smiles])),
    }


def _numbers(cases: MoleculeSet) -> dict[str, Any]:
    """Of targets that are measurements: unit, and 1 %, median and 99 % of the values."""
    units = cases.units or ("",) * len(cases.targets)
    columns = zip(cases.targets, units, cases.labels.T, strict=True)
    return {"values": {name: {"unit": unit, **_quantiles(y[~np.isnan(y)])} for name, unit, y in columns}}


def _sequences(cases: SequenceSet) -> dict[str, Any]:
    found: dict[str, Any] = {
        "observations": len(cases.value),
        "unit": cases.unit,
        "outcome": {"name": cases.outcome, "kind": "binary" if cases.label is not None else "survival"},
        "variables": _variables(cases),
        "static_missing": missing_statics(cases),
        "observations_per_subject": _quantiles(np.diff(cases.starts)),
        "last_time": _quantiles(last_times(cases)),
    }
    if cases.duration is not None:
        found["duration"] = _quantiles(cases.duration)
    return found


def missing_statics(cases: SequenceSet) -> dict[str, float]:
    """Static column -> share of subjects without it."""
    shares = np.isnan(cases.static).mean(axis=0)
    return {name: round(float(share), 4) for name, share in zip(cases.statics, shares, strict=True)}


def never_observed(cases: SequenceSet) -> dict[str, float]:
    """Variable -> share of subjects in whom it was never observed."""
    pairs = np.unique(cases.subject.astype(np.int64) * len(cases.variables) + cases.variable)
    seen = np.bincount(pairs % max(1, len(cases.variables)), minlength=len(cases.variables))
    return {name: round(1 - int(n) / len(cases), 4) for name, n in zip(cases.variables, seen, strict=True)}


def last_times(cases: SequenceSet) -> NDArray[np.float64]:
    """The time of the last observation of each subject that has one."""
    starts = cases.starts
    own = starts[1:] > starts[:-1]
    return cases.time[starts[1:][own] - 1]


def ages(cases: AnySet) -> NDArray[np.float64] | None:
    """Ages in years, 90 standing for all above, where a static column is called age."""
    if not isinstance(cases, SequenceSet):
        return None
    for name, column in zip(cases.statics, cases.static.T, strict=True):
        if name.lower() == "age":
            known: NDArray[np.float64] = column[~np.isnan(column)].astype(np.float64)
            return known.clip(max=OLDEST)
    return None


def _variables(cases: SequenceSet) -> dict[str, Mapping[str, float]]:
    never = never_observed(cases)
    order = np.argsort(cases.variable, kind="stable")
    bounds = np.searchsorted(cases.variable[order], np.arange(len(cases.variables) + 1))
    found: dict[str, Mapping[str, float]] = {}
    for number, name in enumerate(cases.variables):
        values = cases.value[order[bounds[number] : bounds[number + 1]]]
        found[name] = {"never_observed": never[name], "observations": len(values), **_quantiles(values)}
    return found


def _quantiles(values: NDArray[np.generic]) -> dict[str, float]:
    """1 %, median and 99 %: least and greatest could be one person's."""
    if not len(values):
        return {}
    low, middle, high = np.quantile(values.astype(np.float64), [0.01, 0.5, 0.99])
    return {"p1": float(f"{low:.5g}"), "median": float(f"{middle:.5g}"), "p99": float(f"{high:.5g}")}
