"""A batch as a table: what trees read, and what the distance from the training patients is measured on. numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.prediction.encoding import Batch

Floats = NDArray[np.float64]

WHOLE = ("mean", "low", "high", "last", "count", "first", "since", "slope", "change")
LATE = ("mean", "low", "high", "last", "count")
WINDOWS = (1, 2, 4)
"""The whole course, the last half and the last quarter of the horizon before now."""


def table(batch: Batch, bins: int) -> Floats:
    """Return (N, F) features, NaN where nothing was measured. `bins` is T of a whole course: a window is as many bins
    as in training, counted back from now, also where the course is not over yet.
    """
    arrays = {name: getattr(batch, name).cpu().numpy().astype(np.float64) for name in ("value", "low", "high", "last")}
    count = batch.count.cpu().numpy().astype(np.float64)
    columns = [np.where(batch.known.cpu().numpy() > 0, batch.static.cpu().numpy(), np.nan)]
    for share in WINDOWS:
        late = slice(max(0, count.shape[1] - bins // share), None)
        found = _window({name: array[:, late] for name, array in arrays.items()}, count[:, late], share == 1)
        columns += [found[name] for name in (WHOLE if share == 1 else LATE)]
    return np.hstack(columns)


def names(variables: list[str], statics: list[str]) -> list[str]:
    """Return the names of the columns of `table`."""
    found = list(statics)
    for share in WINDOWS:
        found += [f"{variable}:{what}:1/{share}" for what in (WHOLE if share == 1 else LATE) for variable in variables]
    return found


def profile(batch: Batch) -> Floats:
    """Return (N, 2 V + S): each variable's mean z-score and share of bins measured, and the static values."""
    count = batch.count.cpu().numpy().astype(np.float64)
    total = (count * batch.value.cpu().numpy()).sum(axis=1)
    mean = total / np.maximum(count.sum(axis=1), 1)
    bins = np.maximum((~np.isnan(batch.time)).sum(axis=1), 1)[:, None]
    return np.hstack([mean, (count > 0).sum(axis=1) / bins, batch.static.cpu().numpy()])


def _window(arrays: dict[str, Floats], count: Floats, whole: bool) -> dict[str, Floats]:
    """Each feature of the window as (N, V)."""
    measured = count > 0
    none: NDArray[np.bool_] = np.logical_not(measured.any(axis=1))
    total = np.where(none, np.nan, count.sum(axis=1))
    steps = np.arange(count.shape[1], dtype=np.float64)[None, :, None]
    newest = np.where(measured, steps, -1).max(axis=1).astype(np.int64)
    mean = (count * arrays["value"]).sum(axis=1) / total
    found = {
        "mean": mean,
        "low": _empty(np.where(measured, arrays["low"], np.inf).min(axis=1), none),
        "high": _empty(np.where(measured, arrays["high"], -np.inf).max(axis=1), none),
        "last": _empty(_at(arrays["last"], np.maximum(newest, 0)), none),
        "count": count.sum(axis=1),
    }
    if not whole:
        return found
    oldest = measured.argmax(axis=1)
    first = _empty(_at(arrays["value"], oldest), none)
    middle = (count * steps).sum(axis=1) / total
    away = steps - middle[:, None]
    spread = (count * away**2).sum(axis=1)
    tilt = (count * away * (arrays["value"] - mean[:, None])).sum(axis=1)
    slope = np.divide(tilt, spread, out=np.zeros_like(tilt), where=spread > 1e-9)
    since = _empty((count.shape[1] - newest).astype(np.float64), none)
    return {**found, "first": first, "since": since, "slope": _empty(slope, none), "change": found["last"] - first}


def _at(array: Floats, step: NDArray[np.int64]) -> Floats:
    """(N, T, V) at step (N, V)."""
    chosen: Floats = np.take_along_axis(array, step[:, None, :], axis=1)[:, 0]
    return chosen


def _empty(value: Floats, none: NDArray[np.bool_]) -> Floats:
    return np.where(none, np.nan, value)
