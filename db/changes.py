"""Whether anything was committed since one last asked: what lets a poller look often and read seldom."""

from __future__ import annotations

import sqlite3

from db.engine import Database


class Changes:
    """One asker's view. For SQLite one pragma of some microseconds; PostgreSQL has none, so there it is always yes."""

    def __init__(self, database: Database) -> None:
        """Opens nothing until first asked."""
        self._file = database.url.database if database.dialect == "sqlite" else None
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None
        self.pause_s = 0.010 if self._file is None else 0.002
        """Time between looks that costs a few percent of one core at most, and adds at most that much to a wait."""

    def any(self) -> bool:
        """Whether another connection has committed since the last call; the first call says yes. From one thread."""
        if self._file is None:
            return True
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, isolation_level=None)
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            self.close()
            return True  # whoever reads next meets the trouble, and names it
        before, self._version = self._version, version
        return bool(version != before)

    def close(self) -> None:
        """Forget the connection; the next call opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = None
