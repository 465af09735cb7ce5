"""A long table of many patients, CSV or Parquet, to one source each. Imports polars: workers alone load this module.

A row is one measurement: `subject` (or `id`), `time`, `name` (or `variable`), `value`. A row without a time gives a
static value of its subject. Other columns are not read. Rows may stand in any order: a table is a set of rows, so each
patient's are put in order of time, and patients come in the order in which the table first names them.
10 million rows of 10,000 patients (a CSV of 400 MB) take 10 s and 1.7 GB at most on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException, PolarsError

from jobs.errors import InputError, JobError, LimitExceeded
from jobs.predicting import Source
from models.prediction.patients import Columns

MOST_ROWS = 10_000_000
MOST_NAMES = 10_000
"""Different names in one table; more means that another column was taken for `name`."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "subject": ("subject", "id"),
    "time": ("time",),
    "name": ("name", "variable"),
    "value": ("value",),
}

_SEPARATORS = (",", ";", "\t")
_FINE, _NO_TIME, _NO_NAME, _NO_VALUE = range(4)
_FAULTS = {
    _NO_TIME: "column time, is not a finite number",
    _NO_NAME: "column name, is empty",
    _NO_VALUE: "column value, is not a finite number",
}


def split(path: Path, *, parquet: bool) -> Iterator[Source | JobError]:
    """Yield each patient's source; raises `InputError` where the table as a whole cannot be read."""
    try:
        table = _read(path, parquet)
    except (PolarsError, PanicException, UnicodeDecodeError):
        # What polars says of it may quote a cell; and it panics, not only fails, on some broken Parquet files.
        form = "Parquet" if parquet else "CSV (UTF-8, as many fields in each line as in the first)"
        raise InputError(f"The file is neither JSON nor readable {form}.") from None
    if not len(table):
        raise InputError("The table has no rows.")
    if len(table) > MOST_ROWS:
        raise LimitExceeded(f"A table may have {MOST_ROWS:,} rows; cut it.", limit="rows", allowed=MOST_ROWS)
    names = table["name"].drop_nulls().unique(maintain_order=True)
    if len(names) > MOST_NAMES:
        raise InputError(f"The column name holds more than {MOST_NAMES:,} names; is it the right one?")
    grouped = (
        table.with_columns(
            pl.col("name").replace_strict(names, pl.Series(range(len(names)), dtype=pl.UInt32), default=0)
        )
        .group_by("subject", maintain_order=True)
        .agg(pl.all())
    )
    del table
    ends = grouped["row"].list.len().cast(pl.Int64).cum_sum().to_numpy()
    flat = {name: grouped[name].explode().to_numpy() for name in ("time", "name", "value", "row", "fault")}
    unnamed, known = grouped["subject"].is_null().to_list(), tuple(names.to_list())
    del grouped
    for first, end, none in zip((0, *ends[:-1]), ends, unnamed, strict=True):
        rows = {name: column[first:end] for name, column in flat.items()}
        yield _unnamed(rows) if none else _patient(rows, known)


def _read(path: Path, parquet: bool) -> pl.DataFrame:
    """Return subject, time, name, value, row (from 1) and fault (what is wrong with the row, 0 where nothing is)."""
    if parquet:
        scan = pl.scan_parquet(path, glob=False)
    else:
        scan = pl.scan_csv(path, glob=False, separator=_separator(path), infer_schema=False)
    schema = scan.collect_schema()
    found = {name: next((one for one in accepted if one in schema), None) for name, accepted in COLUMNS.items()}
    missing = [name for name, column in found.items() if column is None]
    if missing:
        raise InputError(
            f"The table has no column {' and no column '.join(missing)}; a table of patients has subject, time, name "
            "and value, a row for each measurement."
        )
    for name, column in found.items():
        dtype = schema[str(column)]
        if not (dtype == pl.String or dtype.is_integer() or (dtype.is_float() and name in ("time", "value"))):
            raise InputError(f"The column {name} holds neither text nor numbers of the kind expected.")
    chosen = scan.head(MOST_ROWS + 1).select(pl.col(str(column)).alias(name) for name, column in found.items())
    return chosen.with_row_index("row", offset=1).select(*_checked()).collect(engine="streaming")


def _separator(path: Path) -> str:
    """Return what stands between the names in the first line."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline(65536)
    return max(_SEPARATORS, key=first.count)


def _checked() -> tuple[pl.Expr, ...]:
    """The columns with numbers as numbers, and beside them what is wrong with a row."""
    text = {name: pl.col(name).cast(pl.String).str.strip_chars() for name in COLUMNS}
    given = {name: column.is_not_null() & (column != "") for name, column in text.items()}
    number = {name: text[name].cast(pl.Float64, strict=False) for name in ("time", "value")}
    finite = {name: column.is_finite().fill_null(False) for name, column in number.items()}
    fault = (
        pl.when(given["time"] & ~finite["time"])
        .then(pl.lit(_NO_TIME, pl.UInt8))
        .when(~given["name"])
        .then(pl.lit(_NO_NAME, pl.UInt8))
        .when(~finite["value"])
        .then(pl.lit(_NO_VALUE, pl.UInt8))
        .otherwise(pl.lit(_FINE, pl.UInt8))
    )
    subject = pl.when(given["subject"]).then(text["subject"])
    numbers = [number[name].alias(name) for name in ("time", "value")]
    return (subject.alias("subject"), text["name"].alias("name"), *numbers, pl.col("row"), fault.alias("fault"))


def _unnamed(rows: Mapping[str, NDArray[Any]]) -> JobError:
    return InputError(f"Row {rows['row'][0]}, column subject, is empty.", row=int(rows["row"][0]))


def _patient(rows: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> Source | JobError:
    """One subject's rows as a source, or what is wrong with the first row that cannot be read."""
    time, code, value, row = (rows[name] for name in ("time", "name", "value", "row"))
    faults = np.flatnonzero(rows["fault"])
    if len(faults):
        first = faults[0]
        return InputError(f"Row {row[first]}, {_FAULTS[int(rows['fault'][first])]}.", row=int(row[first]))
    fixed = np.isnan(time)  # a missing time is NaN here, and a NaN that was sent is a fault
    static: dict[str, float] = {}
    for position in np.flatnonzero(fixed):
        if static.setdefault(names[code[position]], float(value[position])) != value[position]:
            detail = f"Row {row[position]} gives a static value that differs from an earlier row's."
            return InputError(detail, row=int(row[position]))
    order = np.flatnonzero(~fixed)
    order = order[np.argsort(time[order], kind="stable")]
    measured = Columns(time[order], code[order], value[order], row[order], names)
    return Source(data={"static": static, "observations": measured})
