"""Webhooks to deliver: written by db/jobs.py with the change of state, delivered at least once by the keeper."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Table, and_, bindparam, or_, select, update

from db import tallies
from db.clock import now
from db.engine import Database
from db.rows import CallerRow, JobRow, OutboxRow

_OUTBOX = cast(Table, OutboxRow.__table__)
_JOBS = cast(Table, JobRow.__table__)
_CALLERS = cast(Table, CallerRow.__table__)


class Call(NamedTuple):
    """One webhook that is due. `secret` is the caller's, base64; `created_at` is when the job ended."""

    id: int
    job_id: str
    kind: str
    state: str
    url: str
    secret: str
    tries: int
    created_at: float


def due(db: Database, limit: int = 50, *, reserve_s: float = 60.0) -> list[Call]:
    """Take the calls that are due, put off by `reserve_s` so that no other keeper makes the same call meanwhile.

    A keeper that dies with a call in hand leaves it to be due again then.
    """

    def work(connection: Connection) -> list[Call]:
        rows = connection.execute(_DUE, {"most": limit}).all()
        if rows:
            reserve = update(_OUTBOX).where(_OUTBOX.c.id.in_([row.id for row in rows]))
            connection.execute(reserve.values(next_at=now() + reserve_s, tries=_OUTBOX.c.tries + 1))
        return [Call(*row) for row in rows]

    # Without a look first, an idle keeper would write (and on SQLite sync) every second.
    return db.transact(work) if db.query(lambda connection: connection.execute(_ANY).first()) else []


def delivered(db: Database, call_id: int) -> None:
    """The target answered 2xx."""
    _close(db, call_id, "delivered", {"delivered_at": now(), "next_at": None, "error": None})


def failed(db: Database, call_id: int, error: str, next_in_s: float | None) -> None:
    """The call failed; it is due again in `next_in_s` seconds, never for None. `error` carries no body and no URL."""
    outcome, next_at = ("given-up", None) if next_in_s is None else ("failed", now() + next_in_s)
    _close(db, call_id, outcome, {"next_at": next_at, "error": error})


def _close(db: Database, call_id: int, outcome: str, values: dict[str, Any]) -> None:
    statement = update(_OUTBOX).where(_OUTBOX.c.id == call_id, _OUTBOX.c.delivered_at.is_(None)).values(**values)

    def work(connection: Connection) -> None:
        if connection.execute(statement).rowcount:
            tallies.add(connection, [tallies.Tally(tallies.WEBHOOKS, "", outcome)])

    db.transact(work)


# A first call is due at once, even where the database's clock was set back since its job ended.
_IS_DUE = or_(_OUTBOX.c.next_at <= now(), and_(_OUTBOX.c.tries == 0, _OUTBOX.c.next_at.is_not(None)))
_ANY = select(_OUTBOX.c.id).where(_IS_DUE).limit(1)
_DUE = (
    select(
        _OUTBOX.c.id, _OUTBOX.c.job_id, _JOBS.c.kind, _OUTBOX.c.state, _OUTBOX.c.url, _CALLERS.c.webhook_secret,
        _OUTBOX.c.tries, _OUTBOX.c.created_at,
    )
    .join(_JOBS, _JOBS.c.id == _OUTBOX.c.job_id)
    .join(_CALLERS, _CALLERS.c.id == _JOBS.c.caller_id)
    .where(_IS_DUE)
    .order_by(_OUTBOX.c.next_at, _OUTBOX.c.id)
    .limit(bindparam("most"))
    .with_for_update(of=_OUTBOX, skip_locked=True)
)  # fmt: skip
