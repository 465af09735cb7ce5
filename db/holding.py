"""What a worker says about the jobs it holds: lease, progress, events, checkpoints. Refused under an old fence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import BigInteger, Connection, Float, Insert, Table, Text, Update, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.batch import document, relation
from db.clock import now
from db.engine import Database
from db.literals import RUNNING, still
from db.moves import add_events
from db.records import Renewed
from db.rows import EventRow, JobRow, PreviewRow
from db.text import dumps

_JOBS = cast(Table, JobRow.__table__)
_EVENTS = cast(Table, EventRow.__table__)
_PREVIEWS = cast(Table, PreviewRow.__table__)

ARTIFACT = "artifact"
"""Type of the event by which a running job shows a file."""


@cache
def _renewing(dialect: str) -> Update:
    held = relation(dialect, "held", id=Text(), fence=BigInteger())
    locked = (
        select(_JOBS.c.id, held.c.fence)
        .join(held, _JOBS.c.id == held.c.id)
        .where(_JOBS.c.fence == held.c.fence, still(_JOBS, RUNNING))
        .order_by(_JOBS.c.id)
        .with_for_update(of=_JOBS)
        .cte("locked")
    )
    return (
        update(_JOBS)
        .where(
            _JOBS.c.id == locked.c.id,
            _JOBS.c.fence == locked.c.fence,
            still(_JOBS, RUNNING),
            _JOBS.c.worker_id == bindparam("holder", type_=_JOBS.c.worker_id.type),
        )
        .values(lease_until=now() + bindparam("lease_s", type_=Float(53)))
        .returning(_JOBS.c.id, _JOBS.c.cancel_requested_at)
    )


_ID, _FENCE = bindparam("job", type_=_JOBS.c.id.type), bindparam("under", type_=BigInteger())
_OURS = (_JOBS.c.id == _ID, _JOBS.c.fence == _FENCE, still(_JOBS, RUNNING))

_PROGRESSING = (
    update(_JOBS)
    .where(*_OURS)
    .values(
        fraction=bindparam("new_fraction", type_=Float(53)),
        stage=bindparam("new_stage", type_=_JOBS.c.stage.type),
        message=bindparam("new_message", type_=_JOBS.c.message.type),
    )
)
_CHECKPOINTING = update(_JOBS).where(*_OURS).values(crashes=0, failures=0)


def _appending() -> Any:
    kind, data = bindparam("new_type", type_=_EVENTS.c.type.type), bindparam("new_data", type_=Text())
    # The row lock puts a job's events in the order of their commits.
    source = select(_JOBS.c.id, kind, data, now()).where(*_OURS).with_for_update(of=_JOBS)
    return insert(_EVENTS).from_select(["job_id", "type", "data", "at"], source).returning(_EVENTS.c.id)


_APPENDING = _appending()
_HOLDING = select(_JOBS.c.id).where(*_OURS).with_for_update(of=_JOBS)


@cache
def _showing(dialect: str) -> Insert:
    """A preview; one that an earlier attempt showed under the name is this one's from here on."""
    into: Any = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(_PREVIEWS)
    new = {name: into.excluded[name] for name in ("fence", "media_type")}
    shown: Insert = into.on_conflict_do_update(index_elements=["job_id", "name"], set_=new)
    return shown


def renew(db: Database, worker_id: str, held: Mapping[str, int], lease_s: float) -> Renewed:
    """Renew every lease of a worker (`held`: job id -> fence) with one UPDATE."""
    if not held:
        return Renewed(set(), set())
    rows = document({"id": job_id, "fence": fence} for job_id, fence in sorted(held.items()))
    values = {"held": rows, "holder": worker_id, "lease_s": lease_s}
    found = db.transact(lambda connection: connection.execute(_renewing(db.dialect), values).all(), synced=False)
    cancelled = {row.id for row in found if row.cancel_requested_at is not None}
    return Renewed(lost=set(held) - {row.id for row in found}, cancelled=cancelled)


def progress(db: Database, job_id: str, fence: int, *, fraction: float, stage: str, message: str = "") -> bool:
    """Note how far a running job is (0 to 1, clipped) and tell its stream; False under an old fence."""
    fraction = min(1.0, max(0.0, fraction))
    data = {"fraction": fraction, "stage": stage, "message": message}

    def work(connection: Connection) -> bool:
        new = {"new_fraction": fraction, "new_stage": stage, "new_message": message}
        if connection.execute(_PROGRESSING, {"job": job_id, "under": fence, **new}).rowcount == 0:
            return False
        return _append(connection, job_id, fence, "progress", data)

    return db.transact(work)


def append_event(db: Database, job_id: str, fence: int, type: str, data: dict[str, Any]) -> bool:
    """Append a `metric` or `log` event to a running job's stream; False under an old fence."""
    return db.transact(lambda connection: _append(connection, job_id, fence, type, data))


def append_events(
    db: Database, job_id: str, fence: int, events: Sequence[tuple[str, dict[str, Any]]],
    progress: tuple[float, str, str] | None = None,
) -> bool:  # fmt: skip
    """Append many (type, data) to a running job's stream, in order, and note how far it is (fraction, stage, message):
    one transaction for all that a runner said in a while. False under an old fence, and then none of it is written.

    The file that an `artifact` event names lies in the storage under this fence already; it is a preview from here on.
    """
    ours = {"job": job_id, "under": fence}
    new: dict[str, Any] = {}
    if progress is not None:
        fraction, stage, message = progress
        new = {"fraction": min(1.0, max(0.0, fraction)), "stage": stage, "message": message}
        events = [*events, ("progress", new)]
    rows = [{"id": job_id, "type": kind, "data": dumps(data)} for kind, data in events]
    shown = [
        {"job_id": job_id, "name": data["name"], "fence": fence, "media_type": data["media_type"]}
        for kind, data in events
        if kind == ARTIFACT
    ]

    def work(connection: Connection) -> bool:
        if connection.execute(_HOLDING, ours).first() is None:
            return False
        if new:
            connection.execute(_PROGRESSING, {**ours, **{f"new_{name}": value for name, value in new.items()}})
        if shown:
            connection.execute(_showing(db.dialect), shown)
        add_events(connection, rows)
        return True

    return db.transact(work) if rows else True


def checkpointed(db: Database, job_id: str, fence: int) -> bool:
    """A newer checkpoint or chunk is safe: earlier crashes and failures are forgiven. False under an old fence."""
    values = {"job": job_id, "under": fence}
    return db.transact(lambda connection: connection.execute(_CHECKPOINTING, values).rowcount > 0)


def _append(connection: Connection, job_id: str, fence: int, type: str, data: dict[str, Any]) -> bool:
    values = {"job": job_id, "under": fence, "new_type": type, "new_data": dumps(data)}
    return connection.execute(_APPENDING, values).first() is not None
