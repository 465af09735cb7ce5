"""Mayo Clinic primary biliary cirrhosis with its visits (Murtaugh et al., Hepatology 1994), as in the R package JM.

One row a visit: id, years (of follow-up), status (alive, transplanted, dead), status2 (1: dead), drug, age (at entry),
sex, year (of the visit) and twelve markers. The outcome is death; a transplanted patient is censored then.
`years`, `status` and `status2` are the outcome and never inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.data import splitting
from models.data.canonical import SequenceSet
from models.data.options import Pbc2Options
from models.data.problems import Notes, Problems, refuse
from models.data.tables import Table, read_table

YES_NO: Mapping[str, float] = {"No": 0.0, "Yes": 1.0}
EDEMA: Mapping[str, float] = {"No edema": 0.0, "edema no diuretics": 0.5, "edema despite diuretics": 1.0}
"""As Fleming and Harrington (1991) code it."""

MARKERS: Mapping[str, Mapping[str, float] | None] = {
    "ascites": YES_NO,
    "hepatomegaly": YES_NO,
    "spiders": YES_NO,
    "edema": EDEMA,
    "serBilir": None,
    "serChol": None,
    "albumin": None,
    "alkaline": None,
    "SGOT": None,
    "platelets": None,
    "prothrombin": None,
    "histologic": None,
}
"""Marker -> what its words stand for; None where it is a number."""

SEX: Mapping[str, float] = {"male": 0.0, "female": 1.0}
DRUG: Mapping[str, float] = {"placebo": 0.0, "D-penicil": 1.0}


def read(files: Sequence[Path], options: Pbc2Options, notes: Notes | None = None) -> SequenceSet:
    """Read pbc2.csv. Raises `DatasetInvalid`."""
    notes, problems = notes or Notes(), Problems()
    if len(files) != 1:
        raise refuse("The format pbc2 takes one CSV file.")
    table = read_table(files[0], 0)
    table.need(["id", "years", "status2", "drug", "age", "sex", "year", *MARKERS])
    ids = table.texts("id", problems)
    visit = table.numbers("year", problems)
    table.least(visit, 0, "year", problems)
    years, event, age = (table.numbers(name, problems) for name in ("years", "status2", "age"))
    table.least(age, 0, "age", problems)
    table.only(event, (0, 1), "status2", problems)
    sex, drug = _coded(table, "sex", SEX, problems), _coded(table, "drug", DRUG, problems)
    markers = [_coded(table, name, words, problems) for name, words in MARKERS.items()]
    problems.check()

    names, first, subject = np.unique(ids.to_numpy().astype(str), return_index=True, return_inverse=True)
    for column, values in (("years", years), ("status2", event), ("age", age), ("sex", sex), ("drug", drug)):
        differs = values != values[first][subject]
        problems.rows("The patient's rows differ here.", table.rows[differs].tolist(), file=0, column=column)
    problems.check()
    if "status" in table.frame.columns:
        notes.facts["transplanted"] = int((table.texts("status").to_numpy()[first] == "transplanted").sum())
    observed = np.column_stack(markers)  # (visits, markers)
    notes.facts["visits"] = len(table)
    gaps = np.isnan(observed).mean(axis=0)
    notes.facts["missing_by_visit"] = {name: round(float(gap), 4) for name, gap in zip(MARKERS, gaps, strict=True)}
    notes.facts["coding"] = {"sex": SEX, "drug": DRUG, "edema": EDEMA, "yes/no": YES_NO}
    sets = {"static": np.column_stack([age, sex, drug])[first], "years": years[first], "event": event[first]}
    return _built(names, subject, visit, observed, sets)


def _built(
    names: NDArray[np.str_],
    subject: NDArray[np.intp],
    visit: NDArray[np.float64],
    observed: NDArray[np.float64],
    sets: Mapping[str, NDArray[np.float64]],
) -> SequenceSet:
    """The set, its observations sorted by patient, visit and marker."""
    rows, variable = np.nonzero(~np.isnan(observed))
    order = np.lexsort((variable, visit[rows], subject[rows]))
    rows, variable = rows[order], variable[order]
    sex, drug = sets["static"][:, 1], sets["static"][:, 2]
    return SequenceSet(
        split=splitting.parts(names.tolist()),
        key=splitting.keys(names.tolist()),
        groups={"Sex": sex.astype(np.int64), "Drug": drug.astype(np.int64)},
        group_names={"Sex": tuple(SEX), "Drug": tuple(DRUG)},
        subject=subject[rows].astype(np.int32),
        time=visit[rows],
        variable=variable.astype(np.int16),
        value=observed[rows, variable].astype(np.float32),
        variables=tuple(MARKERS),
        static=sets["static"].astype(np.float32),
        statics=("age", "sex", "drug"),
        fold=splitting.folds(names.tolist()),
        outcome="death",
        unit="years",
        duration=sets["years"].astype(np.float32),
        event=sets["event"].astype(np.uint8),
    )


def _coded(table: Table, column: str, words: Mapping[str, float] | None, problems: Problems) -> NDArray[np.float64]:
    """A column as numbers, its words by `words`; NaN where missing."""
    if words is None:
        return table.numbers(column, problems, missing=True)
    text = table.texts(column)
    unknown = (~text.is_in(list(words)) & text.is_not_null()).to_numpy()
    detail = "The cell is none of: " + ", ".join(words) + "."
    problems.rows(detail, table.rows[unknown].tolist(), file=table.file, column=column)
    coded = text.replace_strict(dict(words), default=None, return_dtype=pl.Float64)
    return coded.fill_null(np.nan).to_numpy().astype(np.float64)
