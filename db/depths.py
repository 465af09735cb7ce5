"""Figures over all jobs, for metrics, readiness and the keeper."""

from __future__ import annotations

from typing import NamedTuple, cast

from sqlalchemy import Table, func, select

from db.clock import now
from db.engine import Database
from db.rows import JobRow
from jobs.states import State

_JOBS = cast(Table, JobRow.__table__)


class Depth(NamedTuple):
    """Jobs of one pool, kind, priority and live state; `oldest_s` is the age of the oldest in seconds."""

    pool: str
    kind: str
    priority: int
    state: State
    jobs: int
    oldest_s: float


def queue_depths(db: Database) -> list[Depth]:
    """How many jobs wait and run. Ended jobs are not counted: there may be millions."""
    rows = db.query(lambda connection: connection.execute(_DEPTHS).all())
    return [Depth(row[0], row[1], row[2], State(row[3]), row[4], max(0.0, float(row[5]))) for row in rows]


def moment(db: Database) -> float:
    """What the database's clock says: seconds since 1970."""
    return float(db.query(lambda connection: connection.execute(select(now())).scalar_one()))


_GROUP = (_JOBS.c.pool, _JOBS.c.kind, _JOBS.c.priority, _JOBS.c.state)
_DEPTHS = (
    select(*_GROUP, func.count(), now() - func.min(func.coalesce(_JOBS.c.run_at, _JOBS.c.created_at)))
    # Two equalities and not IN: each has a partial index over its few rows.
    .where((_JOBS.c.state == State.QUEUED.value) | (_JOBS.c.state == State.RUNNING.value))
    .group_by(*_GROUP)
    .order_by(*_GROUP)
)
