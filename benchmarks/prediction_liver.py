"""Death in PBC2: C-index at landmarks beside landmark Cox by lifelines, and the next bilirubin beside the last one."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from numpy.typing import NDArray

from models.data.canonical import TEST, TRAIN, SequenceSet
from models.prediction import course, hazards, survival
from models.prediction.ensemble import SurvivalEnsemble
from models.prediction.recipes import DiscreteTimeSurvival
from models.training.session import Session

Floats = NDArray[np.float64]

LANDMARKS = (0.0, 1.0, 3.0, 5.0)
PENALIZER = 0.1
SKEWED = ("serBilir", "serChol", "alkaline", "SGOT", "platelets", "prothrombin", "albumin")


def liver(data: SequenceSet, folds: list[int], seeds: int) -> None:
    """Print the C-index of each landmark, mean over folds, of Cox and both recipes; then bilirubin."""
    names = ("Cox", "linear-survival", "discrete-time-survival")
    found = {name: np.full((seeds, len(folds), len(LANDMARKS)), np.nan) for name in names}
    pairs: list[list[Floats]] = [[] for _ in LANDMARKS]
    courses, seconds = [], []
    for seed in range(seeds):
        for row, fold in enumerate(folds):
            own = replace(data, split=np.where(data.fold == fold, TEST, TRAIN).astype(np.uint8))
            began = time.monotonic()
            fitted = hazards.fit(Session.local(own, DiscreteTimeSurvival(), seed), DiscreteTimeSurvival())
            seconds.append(time.monotonic() - began)
            assert fitted.plain is not None
            assert fitted.ensemble.course is not None
            for column, landmark in enumerate(LANDMARKS):
                risks = [cox(own, landmark), *(risk(one, own, landmark) for one in (fitted.plain, fitted.ensemble))]
                held = np.isfinite(risks[0]) & (own.split == TEST)
                for name, one in zip(names, risks, strict=True):
                    found[name][seed, row, column] = c_index(own, one, held)
                pairs[column].append(np.stack([risks[0], risks[2], held.astype(float)]))
            batch = fitted.ensemble.encoder.encode_set(own, own.part(TEST))
            courses.append(course.measured(fitted.ensemble.course, batch))
    print(f"\nPBC2, death: C-index at landmarks of {LANDMARKS} years, mean of folds {folds}, mean of {seeds} seeds")
    for name, values in found.items():
        per_seed = values.mean(axis=1)
        spread = "" if name == "Cox" else "  seeds " + " | ".join(_four(one) for one in per_seed)
        print(f"{name:24}{_four(per_seed.mean(axis=0))}{spread}")
    for column, landmark in enumerate(LANDMARKS):
        print(
            f"recipe - Cox at {landmark:g} years, 95 % interval over patients: {_gap(data, pairs[column], len(folds))}"
        )
    print(f"training: {np.mean(seconds):.0f} s on average, {max(seconds):.0f} s at most")
    mean = {name: np.mean([one[name] for one in courses]) for name in courses[0]}
    print("next bilirubin: " + ", ".join(f"{name} {value:.4g}" for name, value in mean.items()))


def cox(data: SequenceSet, landmark: float) -> Floats:
    """Return the log partial hazard of each patient at risk at the landmark (NaN for the others), (N,)."""
    assert data.duration is not None
    assert data.event is not None
    last = np.full((len(data), len(data.variables)), np.nan)
    before = data.time <= landmark + 1e-9
    last[data.subject[before], data.variable[before]] = data.value[before]
    for name in SKEWED:
        column = data.variables.index(name)
        last[:, column] = np.log(last[:, column])
    x = np.hstack([last, data.static])
    seen = np.isin(np.arange(len(data)), data.subject[before]) & (data.duration > landmark)
    train = seen & (data.split != TEST)
    mean, spread = np.nanmean(x[train], axis=0), np.nanstd(x[train], axis=0) + 1e-9
    frame = pd.DataFrame((np.where(np.isnan(x), mean, x) - mean) / spread, columns=[*data.variables, *data.statics])
    fitted = frame[train].assign(duration=data.duration[train] - landmark, event=data.event[train])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = CoxPHFitter(penalizer=PENALIZER).fit(fitted, "duration", "event")
    return np.where(seen, model.predict_log_partial_hazard(frame).to_numpy(), np.nan)


def risk(ensemble: SurvivalEnsemble, data: SequenceSet, landmark: float) -> Floats:
    """Return the risk at the last horizon after each patient's last visit up to the landmark, (N,)."""
    assert data.duration is not None
    batch = ensemble.encoder.encode_set(data, np.arange(len(data)))
    visit, _ = survival.at_landmark(batch.time, data.duration.astype(np.float64), landmark)
    logits = ensemble.hazards(batch)[:, np.arange(len(data)), visit]
    return 1 - survival.curve(logits, ensemble.ends, ensemble.horizons[-1:]).mean(axis=0)[:, 0]


def c_index(data: SequenceSet, risk: Floats, held: NDArray[np.bool_]) -> float:
    """Return the concordance of the patients held out."""
    assert data.duration is not None
    assert data.event is not None
    return survival.c_index(data.duration[held].astype(np.float64), risk[held], data.event[held].astype(np.float64))


def _gap(data: SequenceSet, pairs: list[Floats], folds: int) -> str:
    """The first seed's difference of the folds' mean C-index, with patients drawn anew within each fold."""
    assert data.duration is not None
    assert data.event is not None
    random, gaps = np.random.default_rng(0), []
    parts = [(one, np.flatnonzero(one[2] > 0)) for one in pairs[:folds]]
    for resample in range(501):
        each = []
        for one, rows in parts:
            drawn = rows if resample == 0 else random.choice(rows, len(rows))
            duration, event = data.duration[drawn].astype(np.float64), data.event[drawn].astype(np.float64)
            values = [survival.c_index(duration, one[which][drawn], event) for which in (0, 1)]
            each.append(values[1] - values[0])
        gaps.append(np.mean(each))
    low, high = np.nanquantile(gaps[1:], [0.025, 0.975])
    return f"{gaps[0]:+.4f} ({low:+.4f} to {high:+.4f})"


def _four(values: Floats) -> str:
    return " ".join(f"{value:.4f}" for value in values)
