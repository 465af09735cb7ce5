"""Which messages the broker is owed: never sent, lost, or grown old. Sending changes no state; a job sent twice is
claimed once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from sqlalchemy import Float, Integer, Table, Text, Update, and_, bindparam, case, func, or_, select, update

from db.batch import ids, relation
from db.clock import now, now_once
from db.engine import Database
from db.literals import QUEUED, still
from db.rows import JobRow
from jobs.messages import Message

_JOBS = cast(Table, JobRow.__table__)
_LAST_BACKOFF = 5
"""A job that was sent often is sent again after at most 2**5 resend times (5 minutes at the default 10 s)."""


def _effective(row: Any) -> Message:
    return Message(row.id, row.kind, row.pool, min(9, row.priority + row.boost), row.queue)


_COLUMNS = (_JOBS.c.id, _JOBS.c.kind, _JOBS.c.pool, _JOBS.c.priority, _JOBS.c.boost, _JOBS.c.queue)
_DUE = and_(_JOBS.c.state == QUEUED, func.coalesce(_JOBS.c.run_at, 0.0) <= now_once())
_FRESH_S = bindparam("fresh_s", type_=Float(53))
_NOT_FRESH = or_(
    _JOBS.c.attempt > 0,
    _JOBS.c.run_at.is_not(None),
    _JOBS.c.created_at <= now_once() - _FRESH_S,
    _JOBS.c.created_at > now_once() + _FRESH_S,  # the database's clock was set back since
)

_UNSENT = (
    select(*_COLUMNS)
    .where(_DUE, _JOBS.c.sent_at.is_(None), _NOT_FRESH)
    .order_by((_JOBS.c.priority + _JOBS.c.boost).desc(), _JOBS.c.id)
    .limit(bindparam("most"))
)


def to_send(db: Database, limit: int = 1000, *, fresh_s: float = 0.0) -> list[Message]:
    """Committed, due and never sent since they were last queued; the most urgent first.

    New jobs younger than `fresh_s` are left to the API, which sends them itself and notes that a moment later.
    """
    asked = {"most": limit, "fresh_s": fresh_s}
    return [_effective(row) for row in db.query(lambda c: c.execute(_UNSENT, asked).all())]


def mark_sent(db: Database, job_ids: Iterable[str]) -> None:
    """The broker has these messages (a job that already runs is left alone)."""
    asked = {"sent": ids(job_ids)}
    db.transact(lambda connection: connection.execute(_marking(db.dialect), asked).rowcount, synced=False)


@cache
def _marking(dialect: str) -> Update:
    sent = relation(dialect, "sent", id=Text())
    waiting = (
        select(_JOBS.c.id)
        .join(sent, _JOBS.c.id == sent.c.id)
        .where(still(_JOBS, QUEUED))
        .order_by(_JOBS.c.id)
        .with_for_update(of=_JOBS)
        .cte("waiting")
    )
    return (
        update(_JOBS)
        .where(_JOBS.c.id == waiting.c.id, still(_JOBS, QUEUED))
        .values(sent_at=now(), send_count=_JOBS.c.send_count + 1)
    )


def _listed(jobs: Any) -> Any:
    risen = jobs.c.priority + jobs.c.boost
    return case((risen > 9, 9), else_=risen)


_PATIENCE = case(*((_JOBS.c.send_count == n, float(2 ** (n - 1))) for n in range(1, 6)), else_=float(2**_LAST_BACKOFF))
_LISTED = _listed(_JOBS)
"""The priority of the list in which a job's message stands."""

_POOL, _PRIORITY = bindparam("pool", type_=_JOBS.c.pool.type), bindparam("priority", type_=Integer())
_HEAD = _JOBS.alias("head")
_BY_ROW = (
    select(_HEAD.c.sent_at)
    .where(
        _HEAD.c.id == bindparam("head", type_=_JOBS.c.id.type),
        still(_HEAD, QUEUED),
        _HEAD.c.send_count == 1,
        _listed(_HEAD) == _PRIORITY,
    )
    .scalar_subquery()
)
"""When the message at the head was sent, by the database's clock: known where its job's only message it is."""

_STAMP = func.coalesce(_BY_ROW, bindparam("before", type_=Float(53)))
_BEFORE = case((now_once() > _STAMP, _STAMP), else_=now_once())
_QUEUE = bindparam("queue", type_=_JOBS.c.queue.type)
_RESEND_S = bindparam("resend_s", type_=Float(53))
_LOST = (
    select(*_COLUMNS)
    .where(
        _DUE,
        _JOBS.c.pool == _POOL,
        func.coalesce(_QUEUE, _JOBS.c.queue) == _JOBS.c.queue,
        # Sent in the future: the database's clock was set back, and nothing can be said of the message.
        or_(_JOBS.c.sent_at < _BEFORE - _RESEND_S * _PATIENCE, _JOBS.c.sent_at > now_once() + _RESEND_S),
        func.coalesce(_PRIORITY, _LISTED) == _LISTED,
    )
    .order_by((_JOBS.c.priority + _JOBS.c.boost).desc(), _JOBS.c.id)
    .limit(bindparam("most"))
)


def lost(
    db: Database,
    pool: str,
    *,
    before: float | None = None,
    head: str | None = None,
    resend_s: float = 10.0,
    limit: int = 20_000,
    priority: int | None = None,
    queue: str | None = None,
) -> list[Message]:
    """Queued jobs whose message must be gone: sent more than `resend_s` before the oldest that still waits in the list
    of `queue` (None: any) and `priority` (None: any list; before now). The wait doubles with each sending, 32-fold at
    most.

    `head` is the job of that oldest message, and its row says when it was sent. Only where it was sent more than once
    `before` counts, the message's own stamp (None: the list is empty): a sender's clock may be wrong, so a stamp of the
    future is taken for now.
    """
    asked = {
        "pool": pool, "queue": queue, "priority": priority, "before": before, "head": head, "resend_s": resend_s,
        "most": limit,
    }  # fmt: skip
    return [_effective(row) for row in db.query(lambda c: c.execute(_LOST, asked).all())]


_IN = and_(_JOBS.c.state == QUEUED, _JOBS.c.pool == bindparam("of_pool"), _JOBS.c.queue == bindparam("old"))
_VERSIONS = select(_JOBS.c.kind, _JOBS.c.model_name, _JOBS.c.model_version).where(_IN).distinct()


def versions_in(db: Database, pool: str, queue: str) -> list[tuple[str, str | None, int | None]]:
    """Kind, model and version number of the jobs that wait in a queue, each once."""
    rows = db.query(lambda connection: connection.execute(_VERSIONS, {"of_pool": pool, "old": queue}).all())
    return [tuple(row) for row in rows]


def change_queue(
    db: Database, pool: str, old: str, version: tuple[str, str | None, int | None], new: str, limit: int = 5000
) -> int:
    """Let at most `limit` waiting jobs of a version wait in another queue; how many. Their messages are owed anew."""
    kind, model, number = version
    some = select(_JOBS.c.id).where(
        _IN, _JOBS.c.kind == kind, _JOBS.c.model_name == model, _JOBS.c.model_version == number
    )
    moving = (
        update(_JOBS)
        .where(_JOBS.c.id.in_(some.limit(limit).with_for_update(skip_locked=True)), still(_JOBS, QUEUED))
        .values(queue=new, sent_at=None)
    )
    asked = {"of_pool": pool, "old": old}
    return db.transact(lambda connection: connection.execute(moving, asked).rowcount)


_AGE_S = bindparam("age_s", type_=Float(53))
_OLD = and_(
    _DUE,
    _JOBS.c.sent_at.is_not(None),
    _JOBS.c.priority + _JOBS.c.boost < 9,
    _JOBS.c.created_at < now_once() - _AGE_S,  # nothing waits for longer than it is there; an index can search it
    func.coalesce(_JOBS.c.run_at, _JOBS.c.created_at) < now_once() - _AGE_S * (_JOBS.c.boost + 1),
)


def boost(db: Database, age_boost_s: float, limit: int = 5000) -> list[Message]:
    """Raise jobs by one priority for each `age_boost_s` that they have been due, and return their new messages."""
    return db.transact(
        lambda c: [_effective(row) for row in c.execute(_BOOSTING, {"age_s": age_boost_s, "most": limit}).all()]
    )


_OLDEST = (
    select(_JOBS.c.id)
    .where(_OLD)  # in no order: by id the server may walk every job that ever was to find the first that waits
    .limit(bindparam("most", type_=Integer()))
    .with_for_update(skip_locked=True)
)
_BOOSTING = (
    update(_JOBS)
    .where(_JOBS.c.id.in_(_OLDEST), still(_JOBS, QUEUED))
    .values(boost=_JOBS.c.boost + 1, sent_at=now())
    .returning(*_COLUMNS)
)
