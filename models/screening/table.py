"""The table of a job: rows collected in files of the scratch folder, ranked at the end, written as Parquet and CSV.

What is in memory at once is a file of rows or a stretch of the ranking, and three numbers for each line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROWS = 8192
"""Rows of one file."""

STRETCH = 65_536
"""Rows of the ranking that are sorted at once."""

FIRST = ("rank", "input", "line", "name", "smiles")
"""Columns that stand first in the table."""


class Rows:
    """Rows in the order in which they were read, in numbered files of a folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is this attempt's own."""
        self._folder, self._held = folder, list[pl.DataFrame]()
        self.files: list[Path] = []
        self.count = 0

    def restore(self, contents: Sequence[bytes], count: int) -> None:
        """Take up the files of an earlier attempt, `count` rows in all."""
        for content in contents:
            self._next().write_bytes(content)
        self.count = count

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        self._held.append(frame)
        self.count += len(frame)
        if sum(map(len, self._held)) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            pl.concat(self._held).write_parquet(self._next(), compression="zstd")
            self._held = []

    def frames(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pl.DataFrame]]:
        """Each file's rows with the number of the first."""
        start = 0
        for path in self.files:
            frame = pl.read_parquet(path, columns=None if columns is None else list(columns))
            yield start, frame
            start += len(frame)

    def _next(self) -> Path:
        path = self._folder / f"rows-{len(self.files):05d}.parquet"
        self.files.append(path)
        return path


@dataclass(frozen=True)
class Ranking:
    """Of N rows: `rank` from 1, that of the molecule, 0 for an error; `copy`: the molecule stands earlier already;
    `position` in the table; `copies`: of each row's molecule.
    """

    rank: NDArray[np.int64]
    copy: NDArray[np.bool_]
    position: NDArray[np.int64]
    copies: NDArray[np.int64]


def rank(rows: Rows, names: Sequence[str], highest: bool) -> Ranking:
    """Rank every molecule by the mean of the columns `names`; ties stand in the order of their lines."""
    score, key = np.full(rows.count, np.nan), np.zeros(rows.count, dtype=np.uint64)
    for start, frame in rows.frames(["smiles", *names]):
        stretch = slice(start, start + len(frame))
        score[stretch] = frame.select(pl.mean_horizontal(names)).to_series().to_numpy()
        key[stretch] = frame["smiles"].hash(seed=0).to_numpy()
    good = np.flatnonzero(~np.isnan(score))
    _, first, place, counts = np.unique(key[good], return_index=True, return_inverse=True, return_counts=True)
    value = score[good[first]]
    order = np.lexsort((good[first], -value if highest else value))
    of_molecule = np.empty(len(first), dtype=np.int64)
    of_molecule[order] = np.arange(1, len(first) + 1)
    found, copies = np.zeros(rows.count, dtype=np.int64), np.zeros(rows.count, dtype=np.int64)
    found[good], copies[good] = of_molecule[place], counts[place]
    copy = np.zeros(rows.count, dtype=np.bool_)
    copy[good] = good != good[first][place]
    position = np.empty(rows.count, dtype=np.int64)
    position[np.lexsort((np.arange(rows.count), np.where(found > 0, found, np.iinfo(np.int64).max)))] = np.arange(
        rows.count
    )
    return Ranking(found, copy, position, copies)


def write(rows: Rows, ranking: Ranking, folder: Path) -> tuple[Path, Path]:
    """Write table.parquet and table.csv in the order of the ranking, errors last; return their paths."""
    stretches = []
    for low in range(0, rows.count, STRETCH):
        chosen = [_ranked(frame, start, ranking, low) for start, frame in rows.frames()]
        path = folder / f"ranked-{low // STRETCH:05d}.parquet"
        pl.concat(chosen).sort("position").drop("position").write_parquet(path, compression="zstd")
        stretches.append(path)
    parquet, csv = folder / "table.parquet", folder / "table.csv"
    pl.scan_parquet(stretches).sink_parquet(parquet, compression="zstd")
    pl.scan_parquet(stretches).sink_csv(csv)
    return parquet, csv


def _ranked(frame: pl.DataFrame, start: int, ranking: Ranking, low: int) -> pl.DataFrame:
    """The rows of a file that belong to the stretch of the ranking from `low` on."""
    own = slice(start, start + len(frame))
    numbers = ranking.rank[own]
    known = pl.Series(numbers > 0)
    found = frame.with_columns(
        pl.when(known).then(pl.Series(numbers)).alias("rank"),
        pl.when(known).then(pl.Series(ranking.copy[own])).alias("copy"),
        pl.Series("position", ranking.position[own]),
    ).filter(pl.col("position").is_between(low, low + STRETCH - 1))
    rest = [name for name in found.columns if name not in (*FIRST, "error", "given")]
    return found.select(*FIRST, *rest, "given", "error")


def top(rows: Rows, ranking: Ranking, most: int) -> pl.DataFrame:
    """The first line of each of the `most` best molecules, with `rank` and `copies`, in order."""
    wanted = (ranking.rank > 0) & (ranking.rank <= most) & ~ranking.copy
    chosen = []
    for start, frame in rows.frames():
        mask = wanted[start : start + len(frame)]
        if mask.any():
            own = slice(start, start + len(frame))
            numbers = pl.Series("rank", ranking.rank[own]), pl.Series("copies", ranking.copies[own])
            chosen.append(frame.with_columns(*numbers).filter(pl.Series(mask)))
    return pl.concat(chosen).sort("rank")
