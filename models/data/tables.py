"""CSV and Parquet files: every cell read as text first, then as what it should be, and what does not parse is named."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jobs.errors import DatasetInvalid
from models.data.problems import Problems, refuse

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Cells that mean: not known."""

_LATIN = "The text is not UTF-8 but perhaps Latin-1 (Windows-1252) or UTF-16; save the file again as UTF-8."
_PARQUET = b"PAR1"
_CHUNK = 1 << 22


class Table:
    """A file of rows and named columns. `file` is its position among the inputs, for the problems found in it."""

    def __init__(self, frame: pl.DataFrame, rows: NDArray[np.int64], file: int) -> None:
        """`rows`: (R,) where each row stands in the file, the header being row 1."""
        self.frame, self.rows, self.file = frame, rows, file

    def __len__(self) -> int:
        return len(self.rows)

    def need(self, columns: Iterable[str]) -> None:
        """Raise `DatasetInvalid` that names each of `columns` that is not there."""
        problems = Problems()
        for column in dict.fromkeys(columns):
            if column not in self.frame.columns:
                # What is there is not told: without a header it would be a patient's row.
                problems.add(f"There is no column {column} in the header.", file=self.file, column=column)
        problems.check()

    def texts(self, column: str, problems: Problems | None = None) -> pl.Series:
        """A column as text without blanks around it, null where missing, which is a problem if `problems` is given."""
        text = self.frame[column].cast(pl.String).str.strip_chars()
        text = text.set(text.is_in(MISSING), None)
        if problems is not None and text.null_count():
            self._note("The cell is empty.", text.is_null().to_numpy(), column, problems)
        return text

    def numbers(self, column: str, problems: Problems, missing: bool = False) -> NDArray[np.float64]:
        """A column as numbers (R,); NaN where missing, which is a problem unless `missing`. Infinity always is one."""
        series = self.frame[column]
        if series.dtype.is_numeric() or series.dtype == pl.Boolean:
            empty, found = series.is_null().to_numpy(), series.cast(pl.Float64)
        else:
            text = self.texts(column)
            empty, found = text.is_null().to_numpy(), text.cast(pl.Float64, strict=False)
        values = found.fill_null(np.nan).to_numpy().astype(np.float64)
        self._note("The cell is not a finite number.", ~np.isfinite(values) & ~empty, column, problems)
        if not missing:
            self._note("The cell is empty.", empty, column, problems)
        return values

    def only(self, values: NDArray[np.float64], allowed: Sequence[float], column: str, problems: Problems) -> None:
        """Note each number that is none of `allowed`; NaN has been dealt with."""
        words = " or ".join(f"{one:g}" for one in allowed)
        self._note(f"The cell is not {words}.", ~np.isin(values, allowed) & ~np.isnan(values), column, problems)

    def least(self, values: NDArray[np.float64], least: float, column: str, problems: Problems) -> None:
        """Note each number below `least`."""
        self._note(f"The cell is below {least:g}.", values < least, column, problems)

    def _note(self, detail: str, wrong: NDArray[np.bool_], column: str, problems: Problems) -> None:
        problems.rows(detail, self.rows[wrong].tolist(), file=self.file, column=column)


def read_table(path: Path, file: int) -> Table:
    """Read a CSV (UTF-8, with or without BOM) or Parquet file; raises `DatasetInvalid`."""
    with path.open("rb") as opened:
        start = opened.read(len(_PARQUET))
    if not start:
        raise refuse("The file is empty.", file=file)
    try:
        frame = pl.read_parquet(path) if start == _PARQUET else _csv(path, file)
        _check_types(frame, file)
    except DatasetInvalid:
        raise
    except (pl.exceptions.PolarsError, OSError, ValueError, pl.exceptions.PanicException):
        # Their texts may repeat cells.
        raise refuse("The file cannot be read as a table.", file=file, row=_broken_row(path)) from None
    # Blank lines come out as rows of nothing; they are passed over, and the others keep their place.
    rows = np.arange(2, frame.height + 2)
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy() if frame.height else rows > 0
    if blank.any():
        frame, rows = frame.filter(pl.Series(~blank)), rows[~blank]
    if not frame.height:
        raise refuse("The table has no rows.", file=file)
    return Table(frame, rows, file)


def _csv(path: Path, file: int) -> pl.DataFrame:
    _check_text(path, file)
    with path.open(encoding="utf-8-sig", newline="") as opened:
        header: list[str] = next(csv.reader(opened), [])
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise refuse("Two columns have the same name.", file=file, row=1, column=doubled[0])
    frame = pl.read_csv(path, infer_schema=False)
    return frame.rename({name: name.strip() for name in frame.columns})


def _check_types(frame: pl.DataFrame, file: int) -> None:
    """Refuse columns of lists, structs and bytes, which Parquet knows."""
    problems = Problems()
    for column, kind in frame.schema.items():
        if kind.is_nested() or kind in (pl.Binary, pl.Object):
            problems.add("The column holds neither numbers nor text.", file=file, column=column)
    problems.check()


def _check_text(path: Path, file: int) -> None:
    """Refuse what is not UTF-8, naming the row, before a parser sees it."""
    decoder, row = codecs.getincrementaldecoder("utf-8")(), 1
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                row += chunk[: error.start].count(b"\n")
                raise refuse(_LATIN, file=file, row=row) from None
            if b"\0" in chunk:
                raise refuse("The file holds null bytes and is no text.", file=file)
            row += chunk.count(b"\n")


def _broken_row(path: Path) -> int | None:
    """The first row of a CSV that has more cells than the header, if that is what is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            reader: Any = csv.reader(opened, strict=True)
            width = len(next(reader))
            return next((reader.line_num for cells in reader if len(cells) > width), None)
    except (csv.Error, UnicodeDecodeError, StopIteration, OSError):
        return None
