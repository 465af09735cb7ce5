"""Figures of a risk model on cases it never saw, with bootstrap intervals over patients. Built on models/cases.py."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cases import Cases
from models.data.canonical import SequenceSet

Floats = NDArray[np.float64]

BINARY = ("auc", "auprc", "min_se_pp", "brier")
SURVIVAL = ("c_index",)
NUMBER = ("rmse", "mae", "r2", "spearman")
RESAMPLES = 1000
AT_ONCE = 4_000_000
"""Numbers in one table of weights: 32 MB."""

LEAST = 30
"""Cases below which a subgroup is counted but not judged."""

ECE_BINS = 10

AGES = ("Age band", (45, 65, 80))
"""Name of the group of ages, and where in years each band but the first begins."""


def cases(data: SequenceSet, rows: NDArray[np.intp], columns: Mapping[str, Floats]) -> Cases:
    """Return the subjects at `rows` of the data set as cases with `y`, `p` or `duration`, `event`, `risk`."""
    groups = {name: codes[rows] for name, codes in data.groups.items()}
    patient = None if data.patient is None else data.patient[rows]
    numbers = {name: np.asarray(value, np.float64) for name, value in columns.items()}
    return Cases(data.key[rows], numbers, groups, patient=patient)


def packed(of: Cases) -> bytes:
    """Return cases.npz."""
    arrays: dict[str, Any] = {"key": of.key}
    arrays.update({name: value.astype(np.float32) for name, value in of.columns.items()})
    arrays.update({f"group.{name}": codes for name, codes in of.groups.items()})
    arrays.update({} if of.patient is None else {"patient": of.patient})
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def names(of: Cases) -> tuple[str, ...]:
    """Return the figures that this sort of outcome has here."""
    return {"binary": BINARY, "survival": SURVIVAL, "number": NUMBER}[of.sort]


def weights(of: Cases, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[Floats]:
    """Yield blocks (R, N) of counts of each case, `resamples` rows in all."""
    random = np.random.default_rng(seed)
    each = max(1, AT_ONCE // max(len(of), 1))
    for start in range(0, resamples, each):
        yield of.resamples(random, min(each, resamples - start))


def figures(of: Cases) -> dict[str, Any]:
    """Return `n` and each figure as {value, low, high} (95 %), with the calibration error of a binary outcome."""
    drawn = [{name: of.figure(name, rows) for name in names(of)} for rows in weights(of)]
    found: dict[str, Any] = {"n": len(of)}
    for name in names(of):
        found[name] = _interval(float(of.figure(name)[0]), np.concatenate([one[name] for one in drawn]))
    if of.binary:
        y, p = of.columns["y"], of.columns["p"]
        random = np.random.default_rng(0)
        again = [ece(y[i], p[i]) for i in (_drawn(of, random) for _ in range(200))]
        found["ece"] = _interval(ece(y, p), np.array(again))
    return found


def values(of: Cases) -> dict[str, float]:
    """Return each figure without its interval."""
    found = {name: round(float(of.figure(name)[0]), 4) for name in names(of)}
    return {**found, "ece": round(ece(of.columns["y"], of.columns["p"]), 4)} if of.binary else found


def paired(a: Cases, b: Cases, figure: str, resamples: int = RESAMPLES) -> dict[str, float]:
    """Return b - a in a figure over the same cases in the same order, with its 95 % interval."""
    gap = float(b.figure(figure)[0] - a.figure(figure)[0])
    drawn = [b.figure(figure, rows) - a.figure(figure, rows) for rows in weights(a, resamples=resamples)]
    return _interval(gap, np.concatenate(drawn))


def subgroups(of: Cases, names_of: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return the figures in each subgroup, such as "Sex=female"; one with fewer than 30 cases has `n` alone."""
    found: dict[str, Any] = {}
    for group, codes in sorted(of.groups.items()):
        for code in np.unique(codes[codes >= 0]).tolist():
            part = of.where(codes == code)
            judged = len(part) >= LEAST and (part.sort == "number" or len(np.unique(part.strata)) > 1)
            found[f"{group}={names_of[group][code]}"] = figures(part) if judged else {"n": len(part)}
    return found


def with_ages(data: SequenceSet) -> SequenceSet:
    """Return the set with bands of age as one more group, where it has a static value of that name in years."""
    column = next((code for code, name in enumerate(data.statics) if name.casefold() == "age"), None)
    if column is None or AGES[0] in data.groups:
        return data
    age = data.static[:, column]
    codes = np.where(np.isnan(age), -1, np.searchsorted(AGES[1], age, side="right")).astype(np.int64)
    names = (*(f"{low} to {high - 1}" for low, high in pairwise((0, *AGES[1]))), f"{AGES[1][-1]} and over")
    groups, called = {**data.groups, AGES[0]: codes}, {**data.group_names, AGES[0]: names}
    return replace(data, groups=groups, group_names=called)


def ece(y: Floats, p: Floats) -> float:
    """Return the expected calibration error of the risk: |observed - predicted| in ten bins of equal number."""
    return float(sum(abs(y[part].sum() - p[part].sum()) for part in tenths(p)) / len(p))


def tenths(p: Floats) -> list[NDArray[np.intp]]:
    """Return the positions of each tenth of the cases, by rising risk."""
    return np.array_split(np.argsort(p, kind="stable"), ECE_BINS)


def threshold(y: Floats, p: Floats) -> float:
    """Return the probability at which min(sensitivity, positive predictivity) is largest."""
    order = np.argsort(-p, kind="stable")
    found = np.cumsum(y[order])
    least = np.minimum(found / max(y.sum(), 1), found / np.arange(1, len(y) + 1))
    return float(p[order][int(least.argmax())])


def _drawn(of: Cases, random: np.random.Generator) -> NDArray[np.intp]:
    """Positions of cases drawn with replacement, whole patients at a time."""
    count = int(of.unit.max(initial=-1)) + 1
    chosen = random.integers(0, count, count)
    return (
        chosen if of.patient is None else np.repeat(np.arange(len(of)), np.bincount(chosen, minlength=count)[of.unit])
    )


def _interval(value: float, resampled: Floats) -> dict[str, float]:
    """{value, low, high}; a resample in which the figure has no value does not count."""
    kept = resampled[np.isfinite(resampled)]
    low, high = np.quantile(kept, [0.025, 0.975]) if len(kept) else (value, value)
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
