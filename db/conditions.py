"""Figures by which an operator sees that a part is missing: Redis, keepers, a long job's progress, webhooks."""

from __future__ import annotations

from typing import NamedTuple, cast

from sqlalchemy import Table, func, select

from db.clock import now
from db.engine import Database
from db.literals import QUEUED, RUNNING
from db.rows import EventRow, JobRow, OutboxRow, WatchRow

_JOBS = cast(Table, JobRow.__table__)
_EVENTS = cast(Table, EventRow.__table__)
_OUTBOX = cast(Table, OutboxRow.__table__)
_WATCH = cast(Table, WatchRow.__table__)

UNSENT_S = 15.0
"""The API or a keeper announces a job within a few seconds; one that waits longer waits for Redis, or for a keeper."""


class Conditions(NamedTuple):
    """Where a value is None there is nothing that it could be the value of."""

    unsent: int
    """Jobs due for longer than `UNSENT_S` that were never announced to the workers."""

    keeper_silent_s: float | None
    """Since a keeper last noted that it looks."""

    webhooks_waiting: int
    long_silent_s: float | None
    """Of the long jobs that run, the longest time that one has said nothing."""


def conditions(db: Database) -> Conditions:
    """As they are now: one statement, each part over a partial index or a handful of rows."""
    unsent, keeper, webhooks, long = db.query(lambda connection: connection.execute(_CONDITIONS).one())
    return Conditions(unsent, _age(keeper), webhooks, _age(long))


def _age(seconds: float | None) -> float | None:
    return None if seconds is None else max(0.0, float(seconds))


_UNSENT = (
    select(func.count())
    .where(
        _JOBS.c.state == QUEUED,
        _JOBS.c.sent_at.is_(None),
        func.coalesce(_JOBS.c.run_at, _JOBS.c.created_at) < now() - UNSENT_S,
    )
    .scalar_subquery()
)
_SAID_AT = (
    select(_EVENTS.c.at)
    .where(_EVENTS.c.job_id == _JOBS.c.id)
    .order_by(_EVENTS.c.id.desc())
    .limit(1)
    .correlate(_JOBS)
    .scalar_subquery()
)
_LONG_SILENT = (
    select(func.max(now() - func.coalesce(_SAID_AT, _JOBS.c.started_at)))
    .where(_JOBS.c.state == RUNNING, _JOBS.c.pool == "long")
    .scalar_subquery()
)
_CONDITIONS = select(
    _UNSENT,
    select(now() - _WATCH.c.seen_at).scalar_subquery(),
    select(func.count()).where(_OUTBOX.c.next_at.is_not(None)).scalar_subquery(),
    _LONG_SILENT,
)
