"""The order of a job's lines, found by SQLite in a file of the scratch folder: however many lines there are, no more
than its cache is in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import polars as pl

_LINES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8192;
CREATE TABLE line (place INTEGER PRIMARY KEY, molecule INTEGER, score REAL);
"""
_ORDER = """
CREATE TABLE molecule (rank INTEGER PRIMARY KEY, molecule INTEGER, first INTEGER, copies INTEGER);
INSERT INTO molecule (molecule, first, copies)
    SELECT molecule, min(place) AS first, count(*) FROM line WHERE molecule IS NOT NULL
    GROUP BY molecule ORDER BY score {order}, first;
CREATE UNIQUE INDEX of_molecule ON molecule (molecule, rank, first);
CREATE TABLE ranked (position INTEGER PRIMARY KEY, place INTEGER, rank INTEGER, copy INTEGER);
INSERT INTO ranked (place, rank, copy)
    SELECT place, rank, place <> first FROM line LEFT JOIN molecule USING (molecule)
    ORDER BY rank IS NULL, rank, place;
CREATE UNIQUE INDEX of_place ON ranked (place, position, rank, copy);
"""
"""A row's number is its rank, or its position from 1: rows are inserted in that order. Beside `min`, SQLite takes the
other columns from the row that has the least."""


class Ranking:
    """Lines are known by their `place`, from 0, in the order in which they were read."""

    def __init__(self, path: Path, names: Sequence[str], highest: bool) -> None:
        """`path` is made; molecules are ranked by the mean of the columns `names`, ties by their first line."""
        path.unlink(missing_ok=True)
        self._base = sqlite3.connect(path, isolation_level=None)
        self._base.executescript(_LINES)
        self._names = list(names)
        self.columns = ("smiles", *self._names)
        """What `add` reads."""

        self._order, self._count = "DESC" if highest else "ASC", 0
        self.molecules = self.copies = 0

    def add(self, frame: pl.DataFrame) -> None:
        """The next lines."""
        score = frame.select(pl.mean_horizontal(self._names)).to_series()
        key = frame["smiles"].hash(seed=0).reinterpret(signed=True)
        known = pl.select(pl.when(score.is_not_null()).then(key)).to_series()
        places = range(self._count, self._count + len(frame))
        self._base.execute("BEGIN")
        self._base.executemany("INSERT INTO line VALUES (?, ?, ?)", zip(places, known, score, strict=True))
        self._base.execute("COMMIT")
        self._count += len(frame)

    def settle(self) -> None:
        """Rank what was added."""
        self._base.executescript(_ORDER.format(order=self._order))
        lines, self.molecules = self._base.execute("SELECT sum(copies), count(*) FROM molecule").fetchone()
        self.copies = (lines or 0) - self.molecules

    def of(self, start: int, count: int) -> pl.DataFrame:
        """Of lines from `start` on: `position` in the table from 0; `rank` from 1 and `copy` (whether the molecule
        stands in an earlier line already), both null for an error."""
        asked = "SELECT position - 1, rank, copy FROM ranked WHERE place >= ? AND place < ? ORDER BY place"
        rows = self._base.execute(asked, (start, start + count)).fetchall()
        schema = {"position": pl.Int64, "rank": pl.Int64, "copy": pl.Int8}
        return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("copy").cast(pl.Boolean))

    def best(self, most: int) -> pl.DataFrame:
        """`place` of the first line, `rank` and `copies` of the `most` best molecules."""
        rows = self._base.execute("SELECT first, rank, copies FROM molecule WHERE rank <= ?", (most,)).fetchall()
        return pl.DataFrame(rows, schema=dict.fromkeys(("place", "rank", "copies"), pl.Int64), orient="row")

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()
