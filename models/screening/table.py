"""The table of a job: rows collected in files of the scratch folder, ranked at the end, written as Parquet and CSV.

What is in memory at once is a block of rows, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from models.screening.ranking import Ranking

ROWS = 8192
"""Rows of one file."""

BLOCK = 16_384
"""Rows that are put in order at once."""

FIRST = ("rank", "input", "line", "name", "smiles")
"""Columns that stand first in the table."""


class Rows:
    """Rows in the order in which they were read, in numbered files of a folder, which never change."""

    def __init__(self, folder: Path) -> None:
        """`folder` is this attempt's own."""
        self._folder, self._held = folder, list[pl.DataFrame]()
        self.files: list[Path] = []
        self.count = 0

    def restore(self, files: Sequence[Path], count: int) -> None:
        """Take up the files of an earlier attempt, which lie in the folder, `count` rows in all."""
        self.files, self.count = list(files), count

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        self._held.append(frame)
        self.count += len(frame)
        if sum(map(len, self._held)) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            self.files.append(self._folder / f"rows-{len(self.files):05d}.parquet")
            pl.concat(self._held).write_parquet(self.files[-1], compression="zstd")
            self._held = []

    def frames(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pl.DataFrame]]:
        """All rows in blocks, each with the place of its first."""
        start, held = 0, list[pl.DataFrame]()
        for path in self.files:
            held.append(pl.read_parquet(path, columns=None if columns is None else list(columns), memory_map=False))
            if sum(map(len, held)) >= BLOCK or path is self.files[-1]:
                block = pl.concat(held)
                held = []
                yield start, block
                start += len(block)


def rank(rows: Rows, names: Sequence[str], highest: bool, folder: Path) -> Ranking:
    """Rank every molecule by the mean of the columns `names`; ties stand in the order of their lines."""
    ranking = Ranking(folder / "ranking.sqlite", names, highest)
    for _, frame in rows.frames(ranking.columns):
        ranking.add(frame)
    ranking.settle()
    return ranking


def write(rows: Rows, ranking: Ranking, folder: Path) -> tuple[Path, Path]:
    """Write table.parquet and table.csv in the order of the ranking, errors last; return their paths.

    Each block of rows is cut by the block of the table that a row belongs to; then those are put in order.
    """
    blocks: dict[int, list[Path]] = {}
    for start, frame in rows.frames():
        placed = frame.hstack(ranking.of(start, len(frame)))
        cut = placed.with_columns(block=pl.col("position") // BLOCK).partition_by(
            "block", include_key=False, as_dict=True
        )
        for (number,), piece in cut.items():
            blocks.setdefault(number, []).append(folder / f"piece-{number:05d}-{start:08d}.parquet")
            piece.write_parquet(blocks[number][-1], compression="zstd")
    parquet, csv, ordered = folder / "table.parquet", folder / "table.csv", list[Path]()
    with csv.open("wb") as out:
        for number in sorted(blocks):
            frame = _ordered([pl.read_parquet(path, memory_map=False) for path in blocks[number]])
            frame.write_csv(out, include_header=number == 0)
            ordered.append(folder / f"ranked-{number:05d}.parquet")
            frame.write_parquet(ordered[-1], compression="zstd")
            for path in blocks[number]:
                path.unlink()
    pl.scan_parquet(ordered).sink_parquet(parquet, compression="zstd")
    return parquet, csv


def _ordered(pieces: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """A block of the table."""
    found = pl.concat(pieces).sort("position").drop("position")
    rest = [name for name in found.columns if name not in (*FIRST, "copy", "error", "given")]
    return found.select(*FIRST, *rest, "copy", "given", "error")


def top(rows: Rows, ranking: Ranking, most: int) -> pl.DataFrame:
    """The first line of each of the `most` best molecules, with `rank` and `copies`, in order."""
    wanted, chosen = ranking.best(most), list[pl.DataFrame]()
    for start, frame in rows.frames():
        numbered = frame.with_columns(place=pl.int_range(start, start + len(frame), dtype=pl.Int64))
        chosen.append(numbered.join(wanted, on="place", how="inner"))
    return pl.concat(chosen).sort("rank").drop("place")
