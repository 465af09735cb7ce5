"""Whether a set that could be read can also be learned from: parts that hold cases, and more than one outcome."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import PARTS, TEST, TRAIN, VALIDATION, AnySet, ImageSet, SequenceSet
from models.data.problems import Notes, Problems


def check(cases: AnySet, notes: Notes) -> None:
    """Raise `DatasetInvalid` where nothing can be trained or chosen; warn where only the figures suffer."""
    problems = Problems()
    for which in (TRAIN, VALIDATION):
        if not len(cases.part(which)):
            detail = f"The {PARTS[which]} part is empty: name cases for it, or leave the split out to have one drawn."
            problems.add(detail)
    problems.check()
    if not len(cases.part(TEST)):
        notes.warn("reading", "There is no test part: no version of this set can have a figure on unseen cases.", 1)
    for name, outcome in outcomes(cases).items():
        _two_outcomes(cases, name, outcome, problems, notes)
    problems.check()


def outcomes(cases: AnySet) -> dict[str, NDArray[np.float64]]:
    """Target -> (N,) classes, or the values of a regression; NaN where not known. Survival: whether the event came."""
    if isinstance(cases, ImageSet):
        return {"label": cases.labels.astype(np.float64)}
    if isinstance(cases, SequenceSet):
        found = cases.label if cases.label is not None else cases.event
        assert found is not None
        return {cases.outcome: found.astype(np.float64)}
    return {name: column.astype(np.float64) for name, column in zip(cases.targets, cases.labels.T, strict=True)}


def is_classes(outcome: NDArray[np.float64]) -> bool:
    """Whether an outcome (N,) consists of a few whole numbers, as classes do, and not of measurements."""
    known = np.unique(outcome[~np.isnan(outcome)])
    return len(known) <= 1000 and bool((known == np.floor(known)).all())


def _two_outcomes(cases: AnySet, name: str, outcome: NDArray[np.float64], problems: Problems, notes: Notes) -> None:
    for which, part in enumerate(PARTS):
        rows = cases.part(which)
        found = np.unique(outcome[rows][~np.isnan(outcome[rows])])
        if len(found) > 1 or not len(rows):
            continue
        if which == TRAIN:
            detail = f"The training part has only one outcome of {name}: there is nothing to tell apart."
            problems.add(detail, column=name)
        else:
            notes.warn("reading", f"The {part} part has only one outcome of {name}: it allows no AUC.", len(rows))
    if isinstance(cases, ImageSet):
        absent = len(cases.classes) - len(np.unique(outcome[cases.part(TRAIN)]))
        if absent:
            problems.add(
                f"{absent} of the {len(cases.classes)} classes have no image in the training part.", column=name
            )
