"""The cases of a version's test part, `cases.npz`, and the figures that they give. Numpy only.

Every figure takes weights (R, N), one row per resample and one column per case, and gives (R,): a bootstrap resample is
a row of counts, so that thousands of resamples cost a few matrix operations and each case is sorted once.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOWER_IS_BETTER = frozenset({"brier", "rmse", "mae"})

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "binary": ("y", "p"),
    "survival": ("duration", "event", "risk"),
    "number": ("measured", "predicted"),
}
"""Sort of outcome -> the columns of its cases, what was observed first and the model's answer last."""


class BadCases(ValueError):
    """The file is no cases.npz; the text says what is wrong with it."""


@dataclass(frozen=True)
class Cases:
    """Cases in the order of their keys: `key` (N,), and the COLUMNS of one sort of outcome, each (N,).

    `groups`: name of a subgroup variable -> its codes (N,). `threshold`: p from which a case is called positive.
    `patient` (N,): equal numbers are one patient's cases; None where each case is a patient.
    """

    key: NDArray[np.uint64]
    columns: Mapping[str, Floats]
    groups: Mapping[str, NDArray[np.int64]]
    threshold: float = 0.5
    patient: NDArray[np.uint64] | None = None

    @classmethod
    def read(cls, content: bytes, threshold: float = 0.5) -> Self:
        """From the bytes of cases.npz; raises `BadCases`."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BadCases("cases.npz cannot be read.") from error
        names = next((n for n in COLUMNS.values() if set(n) <= set(arrays)), None)
        if names is None or "key" not in arrays:
            known = ", nor ".join(f"key, {', '.join(n[:-1])} and {n[-1]}" for n in COLUMNS.values())
            raise BadCases(f"cases.npz has neither {known}.")
        patient = ["patient"] if "patient" in arrays else []
        used = ["key", *names, *patient, *(name for name in arrays if name.startswith("group."))]
        if any(arrays[name].ndim != 1 or len(arrays[name]) != len(arrays["key"]) for name in used):
            raise BadCases("The columns of cases.npz differ in length.")
        # By key and then by truth: cases whose bytes are equal share a key, and need an order all the same.
        order = np.lexsort([arrays[name] for name in reversed(names[:-1])] + [arrays["key"]])
        columns = {name: arrays[name][order].astype(np.float64) for name in names}
        if not all(np.isfinite(column).all() for column in columns.values()):
            raise BadCases("cases.npz has a value that is not finite.")
        groups = {n.removeprefix("group."): arrays[n][order].astype(np.int64) for n in used if n.startswith("group.")}
        whose = arrays["patient"][order].astype(np.uint64) if patient else None
        return cls(arrays["key"][order], columns, groups, threshold, whose)

    def __len__(self) -> int:
        return len(self.key)

    @property
    def sort(self) -> str:
        """What the outcome is: "binary", "survival" (a time) or "number" (a measurement)."""
        return next(sort for sort, names in COLUMNS.items() if set(names) <= set(self.columns))

    @property
    def binary(self) -> bool:
        """Whether the outcome is yes or no."""
        return self.sort == "binary"

    @property
    def truth(self) -> tuple[Floats, ...]:
        """What was observed, which every model of the same test part shares."""
        return tuple(self.columns[name] for name in COLUMNS[self.sort][:-1])

    @property
    def strata(self) -> NDArray[np.int64]:
        """The observed class of each case (N,): resamples keep how many there are of each. Numbers have no classes."""
        if self.sort == "number":
            return np.zeros(len(self), dtype=np.int64)
        return self.columns["y" if self.binary else "event"].astype(np.int64)

    def where(self, chosen: NDArray[np.bool_]) -> Cases:
        """The cases for which `chosen` (N,) is true."""
        columns = {name: column[chosen] for name, column in self.columns.items()}
        groups = {name: codes[chosen] for name, codes in self.groups.items()}
        patient = None if self.patient is None else self.patient[chosen]
        return Cases(self.key[chosen], columns, groups, self.threshold, patient)

    @cached_property
    def unit(self) -> NDArray[np.intp]:
        """What is drawn when cases are resampled, (N,): the number of each case's patient, or of the case."""
        return np.arange(len(self)) if self.patient is None else np.unique(self.patient, return_inverse=True)[1]

    def resamples(self, random: np.random.Generator, count: int) -> Floats:
        """How often each case is drawn (count, N): within each outcome, so that no resample loses one.

        A patient is drawn with all cases, among the patients with the same highest outcome.
        """
        stratum = np.zeros(int(self.unit.max(initial=-1)) + 1, dtype=np.int64)
        np.maximum.at(stratum, self.unit, self.strata)
        drawn = np.zeros((count, len(stratum)))
        for code in np.unique(stratum):
            members = np.flatnonzero(stratum == code)
            drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), size=count)
        return drawn if self.patient is None else drawn[:, self.unit]

    def figure(self, name: str, weights: Floats | None = None) -> Floats:
        """The figure of that name per row of `weights` (R, N), by default one row of ones; NaN where undefined."""
        rows = np.ones((1, len(self))) if weights is None else weights
        with np.errstate(invalid="ignore", divide="ignore"):
            return FIGURES[name](self, rows)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that this sort of outcome has."""
        return {"binary": BINARY, "survival": SURVIVAL, "number": NUMBER}[self.sort]

    @cached_property
    def ranked(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Order of falling p (N,), and where in it each distinct p begins: cases of equal p share a rank."""
        p = self.columns["p"]
        order = np.argsort(-p, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(p[order]) != 0])
        return order, starts

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of positives and of negatives at each distinct p, falling: two of (R, distinct)."""
        order, starts = self.ranked
        y, rows = self.columns["y"][order], weights[:, order]
        return np.add.reduceat(rows * y, starts, axis=1), np.add.reduceat(rows * (1 - y), starts, axis=1)


def write(
    key: NDArray[np.uint64], columns: Mapping[str, NDArray[Any]], groups: Mapping[str, NDArray[np.int64]]
) -> bytes:
    """cases.npz: equal arrays give equal bytes."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {"key": key, **columns}
    arrays |= {f"group.{name}": codes for name, codes in sorted(groups.items())}
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def _auc(cases: Cases, weights: Floats) -> Floats:
    """The chance that a positive outranks a negative, ties counted half (area under the ROC curve)."""
    positive, negative = cases.counts(weights)
    all_negative = negative.sum(axis=1, keepdims=True)
    below = all_negative - negative.cumsum(axis=1)
    in_order: Floats = (positive * (below + negative / 2)).sum(axis=1)
    pairs: Floats = positive.sum(axis=1) * all_negative[:, 0]
    return in_order / pairs


def _auprc(cases: Cases, weights: Floats) -> Floats:
    """Average precision: the precision at each threshold, weighted by the recall that it adds."""
    positive, negative = cases.counts(weights)
    found, called = positive.cumsum(axis=1), (positive + negative).cumsum(axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    total: Floats = (positive * precision).sum(axis=1) / found[:, -1]
    return total


def _least_of_se_and_pp(cases: Cases, weights: Floats) -> Floats:
    """min(sensitivity, positive predictivity) at the threshold where it is largest (PhysioNet 2012, event 1)."""
    positive, negative = cases.counts(weights)
    found, called = positive.cumsum(axis=1), (positive + negative).cumsum(axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    best: Floats = np.minimum(found / found[:, -1:], precision).max(axis=1)
    return best


def _mean(values: Floats, weights: Floats) -> Floats:
    mean: Floats = weights @ values / weights.sum(axis=1)
    return mean


def _accuracy(cases: Cases, weights: Floats) -> Floats:
    right = (cases.columns["p"] >= cases.threshold) == (cases.columns["y"] == 1)
    return _mean(right.astype(np.float64), weights)


def _brier(cases: Cases, weights: Floats) -> Floats:
    return _mean((cases.columns["p"] - cases.columns["y"]) ** 2, weights)


def _c_index(cases: Cases, weights: Floats) -> Floats:
    """Harrell's C: of the pairs whose order in time is known, the share in which who died first had the higher risk.

    O(N log N) for each row: cases are ranked by time, and of two ranks the highest bit that differs says which is
    later. For each bit the cases are sorted by the bits above it and by risk; sums over stretches of that order then
    count, for who is earlier, the later cases of lower and of equal risk.
    """
    time, died, risk = cases.columns["duration"], cases.columns["event"] == 1, cases.columns["risk"]
    # Who was last seen at the moment of a death died after it: a rank of its own (N,).
    moment = np.unique(np.stack([time, ~died], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    known, right = np.zeros(len(weights)), np.zeros(len(weights))
    for bit in range(int(moment.max(initial=0)).bit_length()):
        block = moment >> (bit + 1)
        order = np.lexsort((risk, block))
        later = (moment[order] >> bit & 1).astype(bool)
        first = np.flatnonzero(died[order] & ~later)
        apart = np.diff(block[order]) != 0
        block_start, block_end = (edges[first] for edges in _stretches(apart))
        tie_start, tie_end = (edges[first] for edges in _stretches(apart | (np.diff(risk[order]) != 0)))
        drawn = weights[:, order]
        before = np.concatenate([np.zeros((len(weights), 1)), (drawn * later).cumsum(axis=1)], axis=1)
        start, mine = before[:, block_start], drawn[:, first]
        known += (mine * (before[:, block_end] - start)).sum(axis=1)
        right += (mine * ((before[:, tie_start] + before[:, tie_end]) / 2 - start)).sum(axis=1)
    return right / known


def _stretches(apart: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the stretch of each of N places begins and ends, from whether neighbours belong apart (N - 1,)."""
    starts, ends = np.flatnonzero(np.r_[True, apart]), np.flatnonzero(np.r_[apart, True]) + 1
    return np.repeat(starts, ends - starts), np.repeat(ends, ends - starts)


def _errors(cases: Cases) -> Floats:
    wrong: Floats = cases.columns["predicted"] - cases.columns["measured"]
    return wrong


def _rmse(cases: Cases, weights: Floats) -> Floats:
    return np.sqrt(_mean(_errors(cases) ** 2, weights))


def _mae(cases: Cases, weights: Floats) -> Floats:
    return _mean(np.abs(_errors(cases)), weights)


def _r2(cases: Cases, weights: Floats) -> Floats:
    """Share of the variance that is explained: 0 for who always answers the mean of these very cases."""
    measured = cases.columns["measured"] - cases.columns["measured"].mean()
    variance = _mean(measured**2, weights) - _mean(measured, weights) ** 2
    return 1 - _mean(_errors(cases) ** 2, weights) / np.where(variance > 0, variance, np.nan)


def _spearman(cases: Cases, weights: Floats) -> Floats:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing theirs."""
    x, y = (_ranks(cases.columns[name], weights) for name in COLUMNS["number"])
    total = weights.sum(axis=1, keepdims=True)
    x, y = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in (x, y))
    apart = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
    together: Floats = (weights * x * y).sum(axis=1)
    return together / np.where(apart > 0, apart, np.nan)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """The rank of each case in each resample (R, N), its copies and equal values counted at their middle."""
    places, inverse = np.unique(values, return_inverse=True)
    each = np.zeros((len(weights), len(places)))
    np.add.at(each.T, inverse, weights.T)
    return (each.cumsum(axis=1) - each / 2)[:, inverse]


FIGURES: dict[str, Callable[[Cases, Floats], Floats]] = {
    "auc": _auc,
    "auprc": _auprc,
    "accuracy": _accuracy,
    "brier": _brier,
    "min_se_pp": _least_of_se_and_pp,
    "c_index": _c_index,
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
    "spearman": _spearman,
}

SURVIVAL = ("c_index",)
NUMBER = ("rmse", "mae", "r2", "spearman")
BINARY = tuple(name for name in FIGURES if name not in (*SURVIVAL, *NUMBER))


def threshold_of(manifest: Mapping[str, Any]) -> float:
    """The threshold at which the version calls a case positive: its first label's, else its own, else one half."""
    labels = manifest.get("labels") or [{}]
    first = labels[0] if isinstance(labels, list) and isinstance(labels[0], Mapping) else {}
    return float(first.get("threshold", manifest.get("threshold", 0.5)))
