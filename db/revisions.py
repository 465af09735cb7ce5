"""Which schema the database has and which one this code was written for, found without loading Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, inspect, text

from db.engine import Database

_FOLDER = Path(__file__).parent / "migrations" / "versions"


class Standing(NamedTuple):
    """The database's revision (None: no schema yet) beside those that this code knows, the newest last."""

    at: str | None
    known: tuple[str, ...]

    @property
    def newest(self) -> str:
        """The revision that this code needs at least."""
        return self.known[-1]

    @property
    def behind(self) -> bool:
        """Whether migrations of this code are missing."""
        return self.at is None or self.at in self.known[:-1]

    @property
    def ahead(self) -> bool:
        """Whether a newer release has migrated it: fine while that release takes over, for migrations only add."""
        return self.at is not None and self.at not in self.known


def known() -> tuple[str, ...]:
    """The revisions of this code, oldest first: the numbers that its migrations' files begin with."""
    return tuple(sorted(path.name.partition("_")[0] for path in _FOLDER.glob("[0-9]*_*.py")))


def standing(database: Database) -> Standing:
    """Where the database stands; raises `DatabaseUnavailable`."""

    def look(connection: Connection) -> str | None:
        if not inspect(connection).has_table("alembic_version"):
            return None
        at: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return at

    return Standing(database.query(look), known())
