"""Telling a dead worker from a database that was away.

After an outage of the database, or a restart of the whole stack, every worker's heartbeat is old and none is to
blame. Keepers therefore note that they look; a gap in their looking starts the watch anew, and only a worker that
beat its last after the watch began was seen to fall silent.
"""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Insert, Table, bindparam, case, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from db.clock import now
from db.engine import Database
from db.rows import WatchRow

_WATCH = cast(Table, WatchRow.__table__)
_AGE = select(now() - _WATCH.c.seen_at)


def needed(db: Database, worker_dead_s: float) -> bool:
    """Whether it is time to note the watch again (a quarter of what counts as a gap)."""
    age = db.query(lambda connection: connection.execute(_AGE).scalar_one_or_none())
    return age is None or not 0 <= age < _gap(worker_dead_s) / 4


def renew(connection: Connection, worker_dead_s: float) -> float:
    """Note that a keeper looks now; since when keepers have looked without a gap."""
    statement = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
    return float(connection.execute(statement, {"gap": _gap(worker_dead_s)}).scalar_one())


def watched_for(seconds: Any) -> ColumnElement[bool]:
    """SQL: whether keepers have looked without a gap, by the clock as it is now, for so long (an expression)."""
    return exists().where(_WATCH.c.since <= now() - seconds)


def _gap(worker_dead_s: float) -> float:
    # Half: after a shorter outage the workers' next heartbeat still comes before they count as dead.
    return worker_dead_s / 2


def _noting(insert: Any) -> Insert:
    gap = bindparam("gap", type_=_WATCH.c.since.type)
    seen = _WATCH.c.seen_at.between(now() - gap, now())
    statement: Insert = (
        insert(_WATCH)
        .values(id=1, since=now(), seen_at=now())
        .on_conflict_do_update(
            index_elements=["id"], set_={"since": case((seen, _WATCH.c.since), else_=now()), "seen_at": now()}
        )
        .returning(_WATCH.c.since)
    )
    return statement


_POSTGRESQL = _noting(postgresql.insert)
_SQLITE = _noting(sqlite.insert)
