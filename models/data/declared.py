"""Parts and subgroups that a table states by itself, and patients who must not stand in two parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.data import splitting
from models.data.canonical import TEST, TRAIN, VALIDATION
from models.data.problems import Problems
from models.data.tables import Table

WORDS: Mapping[str, int] = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid"), VALIDATION),
    "test": TEST,
}
"""What a cell of a split column may say, in any case."""

MOST_GROUPS = 200
"""Values of one subgroup column; a column with more is an id or a free text."""


def parts(table: Table, column: str | None, patients: Sequence[str | bytes], problems: Problems) -> NDArray[np.uint8]:
    """(R,) the part of each row: by its cell in `column`, or by the hash of its patient where there is no column."""
    if column is None:
        return splitting.parts(patients)
    words = table.texts(column, problems).str.to_lowercase()
    unknown = (~words.is_in(list(WORDS)) & words.is_not_null()).to_numpy()
    problems.rows(
        "The cell is not train, validation or test.", table.rows[unknown].tolist(), file=table.file, column=column
    )
    return words.replace_strict(dict(WORDS), default=TRAIN, return_dtype=pl.UInt8).fill_null(TRAIN).to_numpy()


def one_part_each(
    table: Table, column: str, patient: NDArray[np.int64], split: NDArray[np.uint8], problems: Problems
) -> None:
    """Note the rows whose patient, in `column`, stands in another part as well. Codes (R,) and parts (R,)."""
    first = np.full(int(patient.max(initial=-1)) + 1, 255, dtype=np.uint8)
    order = np.arange(len(patient))[::-1]
    first[patient[order]] = split[order]
    wrong = first[patient] != split
    problems.rows(
        "The patient of this row is in another part too.", table.rows[wrong].tolist(), file=table.file, column=column
    )


def groups(
    table: Table, columns: Sequence[str], problems: Problems
) -> tuple[dict[str, NDArray[np.int64]], dict[str, tuple[str, ...]]]:
    """Codes (R,) by column, -1 where the cell is empty, and the values that they stand for."""
    codes: dict[str, NDArray[np.int64]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for column in columns:
        text = table.texts(column)
        values = sorted(text.drop_nulls().unique().to_list())
        if len(values) > MOST_GROUPS:
            detail = f"The column has more than {MOST_GROUPS} different values and cannot be a subgroup."
            problems.add(detail, file=table.file, column=column)
            continue
        if len(values) > 2 and (text.drop_nulls().is_unique().sum() or 0) > len(values) / 2:
            problems.add(
                "Most values of the column stand there once: an id is no subgroup.", file=table.file, column=column
            )
            continue
        places = {value: place for place, value in enumerate(values)}
        coded = (
            text.replace_strict(places, default=-1, return_dtype=pl.Int64) if places else pl.Series([-1] * len(text))
        )
        codes[column], names[column] = coded.fill_null(-1).to_numpy(), tuple(values)
    return codes, names
