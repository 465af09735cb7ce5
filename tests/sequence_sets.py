"""Small made-up data sets of sequences, for tests of the prediction kind."""

from __future__ import annotations

import numpy as np

from models.data.canonical import SequenceSet

VARIABLES = ("HR", "Lactate", "Never")


def binary_set(count: int = 200, seed: int = 0, horizon: float = 48.0) -> SequenceSet:
    """Stays whose heart rate and lactate rise where the patient dies; "Never" is never measured."""
    random = np.random.default_rng(seed)
    label = (random.random(count) < 0.35).astype(np.float32)
    rows = []
    for subject in range(count):
        for time in np.sort(random.uniform(0, horizon, random.integers(3, 12))):
            which = int(random.integers(0, 2))
            shift = label[subject] * time / horizon
            value = random.normal(80 + 25 * shift, 10) if which == 0 else np.exp(random.normal(0.3 + shift, 0.4))
            rows.append((subject, time, which, value))
    return _built(rows, random, count, label=label, unit="hours", outcome="death")


def survival_set(count: int = 150, seed: int = 0) -> SequenceSet:
    """Patients whose lactate tells how soon they die; one visit a year, up to six."""
    random = np.random.default_rng(seed)
    level = random.normal(0, 1, count)
    death = random.exponential(6 * np.exp(-1.2 * level))
    censored = random.uniform(2, 10, count)
    duration = np.minimum(death, censored).astype(np.float32) + 0.05
    event = (death <= censored).astype(np.uint8)
    rows = []
    for subject in range(count):
        for visit in range(int(min(duration[subject], 6)) + 1):
            rows.append((subject, float(visit), 0, random.normal(80, 10)))
            rows.append((subject, float(visit), 1, float(np.exp(level[subject] + random.normal(0, 0.3)))))
    return _built(rows, random, count, duration=duration, event=event, unit="years", outcome="death")


def _built(
    rows: list[tuple[int, float, int, float]], random: np.random.Generator, count: int, **more: object
) -> SequenceSet:
    rows.sort(key=lambda row: row[:3])
    subject, time, variable, value = (np.array(column) for column in zip(*rows, strict=True))
    static = np.column_stack([random.uniform(20, 90, count), random.integers(0, 2, count)]).astype(np.float32)
    static[0, 0] = np.nan
    key = random.integers(0, 2**63, count, dtype=np.uint64)
    fold = (key % np.uint64(5)).astype(np.uint8)
    split = np.where(fold == 4, 2, np.where(fold == 3, 1, 0)).astype(np.uint8)
    return SequenceSet(
        split=split, key=key, fold=fold, groups={"Sex": static[:, 1].astype(np.int64)}, group_names={"Sex": ("F", "M")},
        subject=subject.astype(np.int32), time=time.astype(np.float64), variable=variable.astype(np.int16),
        value=value.astype(np.float32), variables=VARIABLES, static=static, statics=("Age", "Sex"), **more,
    )  # fmt: skip
