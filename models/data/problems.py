"""What is wrong with a data set, by file, row and column, and what is odd about it. Never a cell's value or an id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from jobs.errors import DatasetInvalid

MOST = 50
"""Problems that are listed; beyond them only their number is told."""

Guard = Literal["duplicates", "leak", "outcome-input", "shortcut", "reading"]
"""What a warning is about; "reading": cells or files that were left out, and the like."""


@dataclass
class Problems:
    """Collects problems, so that a caller sees fifty at once and not one at a time."""

    listed: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def add(self, detail: str, *, file: int | None = None, row: int | None = None, column: str | None = None) -> None:
        """Note one problem; `file` is the position of the input from 0, `row` counts as an editor does (header 1)."""
        self.count += 1
        if len(self.listed) < MOST:
            where = {"file": file, "row": row, "column": column}
            self.listed.append(
                {**{name: value for name, value in where.items() if value is not None}, "detail": detail}
            )

    def rows(self, detail: str, rows: Sequence[int], *, file: int, column: str | None = None) -> None:
        """Note the same problem in many rows."""
        for row in rows[:MOST]:
            self.add(detail, file=file, row=row, column=column)
        self.count += max(0, len(rows) - MOST)

    def check(self) -> None:
        """Raise `DatasetInvalid` if anything was noted."""
        if self.count == 1:
            raise DatasetInvalid(self.listed[0]["detail"], problems=self.listed, problem_count=1)
        if self.count:
            more = "all are" if self.count <= MOST else f"the first {MOST} are"
            detail = f"The data set has {self.count} problems; {more} listed. Mend the files and send them again."
            raise DatasetInvalid(detail, problems=self.listed, problem_count=self.count)


def refuse(
    detail: str, *, file: int | None = None, row: int | None = None, column: str | None = None
) -> DatasetInvalid:
    """The error of a data set with this one problem."""
    problems = Problems()
    problems.add(detail, file=file, row=row, column=column)
    return DatasetInvalid(detail, problems=problems.listed, problem_count=1)


@dataclass
class Notes:
    """What a reader or a guard has to tell about a set that is used all the same."""

    warnings: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, NDArray[Any]] = field(default_factory=dict)
    """(N,) what else is known of each case's making, in the reader's order: for the guards, never for the set."""

    def warn(self, guard: Guard, detail: str, count: int) -> None:
        """Note `count` cases of something, in a sentence of its own; nothing where there are none."""
        if count:
            self.warnings.append({"guard": guard, "detail": detail, "count": int(count)})
