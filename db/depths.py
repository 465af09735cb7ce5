"""Figures over all jobs, for metrics, readiness and the keeper."""

from __future__ import annotations

from typing import NamedTuple, cast

from sqlalchemy import Table, bindparam, func, select

from db import workers
from db.clock import now
from db.engine import Database
from db.literals import QUEUED, RUNNING
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


def waiting(db: Database, pool: str) -> list[str]:
    """The queues of a pool in which jobs wait."""
    return list(db.query(lambda connection: connection.execute(_WAITING, {"pool": pool}).scalars().all()))


class Unserved(NamedTuple):
    """Jobs of one queue that no live worker takes jobs from, and the age of the oldest in seconds."""

    pool: str
    queue: str
    jobs: int
    oldest_s: float


def unserved(db: Database, dead_s: float) -> list[Unserved]:
    """What waits where nobody serves. A worker counts for `dead_s` seconds after its last sign of life."""
    found = db.query(lambda connection: connection.execute(_BY_QUEUE).all())
    if not found:
        return []
    answered = {(worker.pool, queue) for worker in workers.live(db, dead_s) for queue in workers.queues(worker)}
    rows = [Unserved(row[0], row[1], row[2], max(0.0, float(row[3]))) for row in found]
    return [row for row in rows if (row.pool, row.queue) not in answered]


def moment(db: Database) -> float:
    """What the database's clock says: seconds since 1970."""
    return float(db.query(lambda connection: connection.execute(select(now())).scalar_one()))


_IS_WAITING = _JOBS.c.state == QUEUED
_WAITING = (
    select(_JOBS.c.queue).where(_IS_WAITING, _JOBS.c.pool == bindparam("pool")).distinct().order_by(_JOBS.c.queue)
)
_DUE_AT = func.coalesce(_JOBS.c.run_at, _JOBS.c.created_at)
_BY_QUEUE = (
    select(_JOBS.c.pool, _JOBS.c.queue, func.count(), now() - func.min(_DUE_AT))
    .where(_IS_WAITING)
    .group_by(_JOBS.c.pool, _JOBS.c.queue)
    .order_by(_JOBS.c.pool, _JOBS.c.queue)
)
_GROUP = (_JOBS.c.pool, _JOBS.c.kind, _JOBS.c.priority, _JOBS.c.state)
_DEPTHS = (
    select(*_GROUP, func.count(), now() - func.min(func.coalesce(_JOBS.c.run_at, _JOBS.c.created_at)))
    # Two equalities and not IN: each has a partial index over its few rows.
    .where((_JOBS.c.state == QUEUED) | (_JOBS.c.state == RUNNING))
    .group_by(*_GROUP)
    .order_by(*_GROUP)
)
