"""The database's clock, the only one that leases, retries and records go by.

Hosts disagree about the time and may step; the database is one. On SQLite that clock is its host's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, ScalarSelect, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class now(FunctionElement[float]):
    """Seconds since 1970-01-01T00:00Z as a double, when the statement (SQLite) or the row (PostgreSQL) is reached."""

    name = "now_s"
    type = Float(53)
    inherit_cache = True


def now_once() -> ScalarSelect[float]:
    """The clock, read once by the statement: only by such a constant can an index be searched on PostgreSQL, which has
    to compare `now()` with every row."""
    return select(now()).scalar_subquery()


@compiles(now, "postgresql")
def _postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(now, "sqlite")
def _sqlite(element: now, compiler: Any, **kw: Any) -> str:
    # unixepoch('subsec') needs SQLite 3.42; julianday has milliseconds and is as old as SQLite 3.
    return "((julianday('now') - 2440587.5) * 86400.0)"
