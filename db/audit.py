"""The audit trail: who did what to which object, when."""

from __future__ import annotations

from typing import NamedTuple, cast

from sqlalchemy import Connection, Table, insert, select

from db.clock import now
from db.engine import Database
from db.rows import AuditRow, CallerRow

_AUDIT = cast(Table, AuditRow.__table__)
_CALLERS = cast(Table, CallerRow.__table__)


class Act(NamedTuple):
    """One row of the trail."""

    id: int
    caller: str | None
    action: str
    object: str | None
    at: float


def record(
    db: Database | Connection, caller_id: int | None, action: str, object: str | None = None, *, synced: bool = True
) -> None:
    """Note an act, in a transaction of its own or in the one of the connection given. No patient data.

    `synced=False` is for reads: SQLite's disk is not waited for, so a power cut may take the last of them.
    """
    statement = insert(_AUDIT).values(caller_id=caller_id, action=action, object=object, at=now())
    if isinstance(db, Database):
        db.transact(lambda connection: connection.execute(statement) and None, synced=synced)
    else:
        db.execute(statement)


def listing(db: Database, *, object: str | None = None, before: int | None = None, limit: int = 100) -> list[Act]:
    """The newest acts (on one object), those numbered below `before`."""
    statement = select(_AUDIT.c.id, _CALLERS.c.name, _AUDIT.c.action, _AUDIT.c.object, _AUDIT.c.at)
    statement = statement.join_from(_AUDIT, _CALLERS, _CALLERS.c.id == _AUDIT.c.caller_id, isouter=True)
    if object is not None:
        statement = statement.where(_AUDIT.c.object == object)
    if before is not None:
        statement = statement.where(_AUDIT.c.id < before)
    statement = statement.order_by(_AUDIT.c.id.desc()).limit(limit)
    return [Act(*row) for row in db.query(lambda connection: connection.execute(statement).all())]
