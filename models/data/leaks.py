"""Inputs that give the outcome away: by their name, by their values, or by telling it all but alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import SequenceSet
from models.data.predictive import Values, alone, concordance
from models.data.problems import Notes

SUSPICIOUS = 0.95
"""AUC or concordance of one feature; the best single markers of real clinical outcomes reach about .85."""

SAME = 0.99
"""Share of cases in which an input equals the outcome."""

MOST_SUBJECTS = 20_000
"""Looked at for single features, in the order of their hashes; an AUC of .95 shows in far fewer."""

NAMES = re.compile(
    r"survival|surv(time|days|months|years)?|los|length_?of_?stay|death|dead|died|deceased|mortality|"
    r"(in_?hospital|hospital|in_?icu|icu)_?(death|mortality)|expire(d|_flag)?|outcome|status\d?|event|censor(ed|ing)?|"
    r"follow_?up(_?time|_?years|_?days)?|time_?to_?(event|death)|date_?of_?death|discharge(_?status|_?time|_?disposition)?|"
    r"label|target",
    re.IGNORECASE,
)
"""Names that outcomes go by in clinical tables."""


def find(cases: SequenceSet, names: frozenset[str], notes: Notes) -> None:
    """Warn of static columns and variables that are the outcome, or know it. `names`: the outcome's own columns."""
    suspects = [name for name in (*cases.statics, *cases.variables) if name in names or NAMES.fullmatch(_plain(name))]
    if suspects:
        detail = f"These inputs are named as outcomes are: {', '.join(suspects[:20])}. Exclude them if they are."
        notes.warn("outcome-input", detail, len(suspects))
    equal = [name for name, column in zip(cases.statics, cases.static.T, strict=True) if _is_outcome(column, cases)]
    if equal:
        notes.warn("outcome-input", f"These inputs hold the outcome itself: {', '.join(equal[:20])}.", len(equal))
    order = np.sort(np.argsort(cases.key)[:MOST_SUBJECTS])
    telling = _telling(cases if len(order) == len(cases) else cases.take(order))
    if telling:
        words = ", ".join(f"{name} ({score:.3f})" for name, score in telling[:20])
        detail = f"Single features tell the outcome all but alone (AUC or concordance above {SUSPICIOUS}): {words}."
        notes.warn("leak", detail, len(telling))
    notes.warn("leak", "Observations lie after the event or the end of follow-up.", _after_the_end(cases))


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def _is_outcome(column: NDArray[np.float32], cases: SequenceSet) -> bool:
    if cases.duration is not None and float((column == cases.duration).mean()) >= SAME:
        return True
    result = cases.label if cases.label is not None else cases.event
    assert result is not None
    # In each outcome by itself: a column of zeros equals nearly every rare outcome.
    same = column == result.astype(np.float32)
    return all(bool((result == one).any()) and float(same[result == one].mean()) >= SAME for one in (0, 1))


def _after_the_end(cases: SequenceSet) -> int:
    if cases.duration is None:
        return 0
    # The duration is float32: what differs by rounding alone is not later.
    return int((cases.time > cases.duration[cases.subject] * (1 + 1e-6)).sum())


def _telling(cases: SequenceSet) -> list[tuple[str, float]]:
    """Features above the line with their score, highest first."""
    found = [(name, _score(values, cases)) for name, values in features(cases)]
    return sorted((pair for pair in found if pair[1] > SUSPICIOUS), key=lambda pair: -pair[1])


def _score(values: Values, cases: SequenceSet) -> float:
    if cases.label is not None:
        return alone(values, cases.label == 1)
    assert cases.duration is not None
    assert cases.event is not None
    seen = cases.event == 1
    return max(alone(values, seen), concordance(values, cases.duration.astype(np.float64), seen))


def features(cases: SequenceSet) -> Iterator[tuple[str, Values]]:
    """Each static column, and the last value, mean and count of each variable: name and (N,) values, NaN if missing."""
    for name, column in zip(cases.statics, cases.static.T, strict=True):
        yield name, column.astype(np.float64)
    order = np.argsort(cases.variable, kind="stable")
    bounds = np.searchsorted(cases.variable[order], np.arange(len(cases.variables) + 1))
    for number, name in enumerate(cases.variables):
        own = order[bounds[number] : bounds[number + 1]]
        subject, value = cases.subject[own], cases.value[own].astype(np.float64)
        count = np.bincount(subject, minlength=len(cases)).astype(np.float64)
        last = np.full(len(cases), np.nan)
        last[subject] = value  # Rows are in order of time, and the last one written stays.
        mean = np.full(len(cases), np.nan)
        np.divide(np.bincount(subject, weights=value, minlength=len(cases)), count, out=mean, where=count > 0)
        yield f"last {name}", last
        yield f"mean {name}", mean
        yield f"count {name}", count
