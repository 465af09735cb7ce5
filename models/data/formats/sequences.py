"""Patients as two tables, CSV or Parquet: observations in long form (id, time, variable, value) and subjects.

A row of the subjects holds the id, static values, the outcome and, if the data set is split, the part. Observations may
stand in any order. Ten million of them are read in one go: a column at a time, each as narrow as it may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.data import declared, splitting
from models.data.canonical import SequenceSet
from models.data.options import BinaryOutcome, SequencesOptions, SurvivalOutcome
from models.data.problems import Notes, Problems, refuse
from models.data.tables import Table, read_table

MOST_VARIABLES = 5000
"""Different names; more of them are ids or free text in the wrong column."""


@dataclass(frozen=True)
class _Observed:
    """Observations, each (M,), sorted by subject, time, variable and value."""

    subject: NDArray[np.int32]
    time: NDArray[np.float64]
    variable: NDArray[np.int16]
    value: NDArray[np.float32]
    names: tuple[str, ...]


def read(files: Sequence[Path], options: SequencesOptions, notes: Notes | None = None) -> SequenceSet:
    """Read both tables. Raises `DatasetInvalid`."""
    notes, problems = notes or Notes(), Problems()
    if len(files) != 2:
        raise refuse("The format sequences takes the observations and the subjects, two tables in this order.")
    subjects = read_table(files[1], 1)
    columns = _columns(subjects, options)
    ids = subjects.texts(options.id, problems)
    doubled = (ids.is_duplicated() & ids.is_not_null()).to_numpy()
    problems.rows("The subject has two rows.", subjects.rows[doubled].tolist(), file=1, column=options.id)
    outcome = _outcome(subjects, options.outcome, problems)
    static = [_static(subjects, name, problems) for name in columns]
    codes, names = declared.groups(subjects, options.groups, problems)
    problems.check()

    patients = ids.to_list() if options.patient is None else subjects.texts(options.patient, problems).to_list()
    problems.check()
    split = declared.parts(subjects, options.split, patients, problems)
    if options.patient is not None:
        declared.one_part_each(subjects, options.patient, splitting.codes(splitting.keys(patients)), split, problems)
    problems.check()
    observed = _observations(files[0], ids, options, notes)
    return SequenceSet(
        split=split,
        key=splitting.keys(ids.to_list()),
        groups=codes,
        group_names=names,
        subject=observed.subject,
        time=observed.time,
        variable=observed.variable,
        value=observed.value,
        variables=observed.names,
        static=np.column_stack(static).astype(np.float32) if static else np.empty((len(ids), 0), np.float32),
        statics=columns,
        fold=splitting.folds(patients),
        patient=None if options.patient is None else splitting.keys(patients),
        outcome=options.outcome.column if isinstance(options.outcome, BinaryOutcome) else options.outcome.event,
        unit=options.unit,
        **outcome,
    )


def _columns(subjects: Table, options: SequencesOptions) -> tuple[str, ...]:
    """The static columns; raises where a column is missing, or is there and has no use."""
    outcome = options.outcome
    results = (outcome.column,) if isinstance(outcome, BinaryOutcome) else (outcome.duration, outcome.event)
    single = [name for name in (options.patient, options.split) if name is not None]
    subjects.need([options.id, *results, *single, *options.groups, *(options.statics or ())])
    used = {options.id, *results, *single, *options.groups, *options.exclude}
    free = tuple(name for name in subjects.frame.columns if name not in used)
    if options.statics is None:
        return free
    _no_others(subjects, {*used, *options.statics})
    return options.statics


def _no_others(table: Table, known: set[str]) -> None:
    problems = Problems()
    for column in table.frame.columns:
        if column not in known:
            detail = "Nothing was said about this column; name it in the options or in options.exclude."
            problems.add(detail, file=table.file, column=column)
    problems.check()


def _static(subjects: Table, column: str, problems: Problems) -> NDArray[np.float64]:
    before = problems.count
    values = subjects.numbers(column, problems, missing=True)
    if problems.count > before:
        problems.add(
            "Write this column as numbers, or name it in options.groups or options.exclude.", file=1, column=column
        )
    if column.strip().lower() == "age":
        subjects.least(values, 0, column, problems)
    return values


def _outcome(subjects: Table, outcome: BinaryOutcome | SurvivalOutcome, problems: Problems) -> dict[str, Any]:
    """`label`, or `duration` and `event`."""
    if isinstance(outcome, BinaryOutcome):
        label = subjects.numbers(outcome.column, problems)
        subjects.only(label, (0, 1), outcome.column, problems)
        return {"label": label.astype(np.float32)}
    duration, event = (subjects.numbers(name, problems) for name in (outcome.duration, outcome.event))
    subjects.least(duration, 0, outcome.duration, problems)
    subjects.only(event, (0, 1), outcome.event, problems)
    return {"duration": duration.astype(np.float32), "event": np.nan_to_num(event).astype(np.uint8)}


def _observations(path: Path, ids: pl.Series, options: SequencesOptions, notes: Notes) -> _Observed:
    """The observations of the subjects `ids`, whose places they are given."""
    table, problems = read_table(path, 0), Problems()
    columns = (options.id, options.time, options.variable, options.value)
    table.need(columns)
    _no_others(table, {*columns, *options.exclude})
    if options.exclude:
        kept = ~table.texts(options.variable).is_in(list(options.exclude)).fill_null(False).to_numpy()
        table = Table(table.frame.filter(pl.Series(kept)), table.rows[kept], 0)
    places = pl.DataFrame({"id": ids, "place": np.arange(len(ids), dtype=np.int32)})
    named = pl.DataFrame({"id": table.texts(options.id, problems)})
    subject = named.join(places, on="id", how="left", maintain_order="left")["place"]
    strangers = (subject.is_null() & named["id"].is_not_null()).to_numpy()
    problems.rows(
        "The subject is not in the subjects' table.", table.rows[strangers].tolist(), file=0, column=options.id
    )
    time = table.numbers(options.time, problems)
    table.least(time, 0, options.time, problems)
    value = table.numbers(options.value, problems)
    variable, names = _variables(table, options.variable, problems)
    for code in (code for code, name in enumerate(names) if name.lower() == "age"):
        table.least(np.where(variable == code, value, 0), 0, options.value, problems)
    problems.check()
    silent = len(ids) - subject.n_unique()
    notes.warn("reading", "Subjects have no observation; they are kept.", silent)
    return _sorted(subject.to_numpy(), time, variable, value.astype(np.float32), names, notes)


def _variables(table: Table, column: str, problems: Problems) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """(M,) positions in the sorted names, and these."""
    text = table.texts(column, problems)
    names = sorted(text.drop_nulls().unique().to_list())
    if len(names) > MOST_VARIABLES:
        raise refuse(f"The column has more than {MOST_VARIABLES} different names.", file=0, column=column)
    if not names:
        raise refuse("There are no observations.", file=0, column=column)
    places = {name: place for place, name in enumerate(names)}
    codes = text.replace_strict(places, default=0, return_dtype=pl.Int16).fill_null(0)
    return codes.to_numpy(), tuple(names)


def _sorted(
    subject: NDArray[np.int32],
    time: NDArray[np.float64],
    variable: NDArray[np.int16],
    value: NDArray[np.float32],
    names: tuple[str, ...],
    notes: Notes,
) -> _Observed:
    """Sort, and tell where one time has two values of one variable."""
    order = np.lexsort((value, variable, time, subject))
    subject, time, variable, value = subject[order], time[order], variable[order], value[order]
    same = (np.diff(subject) == 0) & (np.diff(time) == 0) & (np.diff(variable) == 0)
    differing = int((same & (np.diff(value) != 0)).sum())
    notes.warn(
        "reading", "Observations give another value for the same subject, time and variable; all are kept.", differing
    )
    notes.warn("duplicates", "Observations are repeated word for word; all are kept.", int(same.sum()) - differing)
    return _Observed(subject, time, variable, value, names)
