"""Worker processes: who lives, what each runs, and what it is told to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, insert, select, update

from db import tallies
from db.clock import now
from db.engine import Database
from db.literals import RUNNING
from db.rows import JobRow, WorkerRow

_JOBS = cast(Table, JobRow.__table__)
_WORKERS = cast(Table, WorkerRow.__table__)


@dataclass(frozen=True)
class Worker:
    """One start of one worker process. `id` is new with every start: a restarted process is another worker."""

    id: str
    host: str
    pid: int
    pool: str
    device: str
    facts: dict[str, Any] = field(default_factory=dict)
    """What does not change: versions, threads, names."""

    memory: dict[str, Any] = field(default_factory=dict)
    """Bytes by name."""

    running: Sequence[str] = ()
    """Ids of the jobs that it runs."""

    state: str = "starting"
    control: str = "run"
    started_at: float | None = None
    heartbeat_at: float | None = None


def register(db: Database, worker: Worker) -> None:
    """A worker process started; the times are the database's."""
    values = {
        "id": worker.id, "host": worker.host, "pid": worker.pid, "pool": worker.pool, "device": worker.device,
        "facts": worker.facts, "memory": worker.memory, "running": list(worker.running), "state": worker.state,
    }  # fmt: skip
    statement = insert(_WORKERS).values(started_at=now(), heartbeat_at=now(), **values)
    present = select(_WORKERS.c.id).where(_WORKERS.c.id == worker.id)

    def again(connection: Connection) -> None:
        if connection.execute(present).first() is None:
            connection.execute(statement)

    db.transact(lambda connection: connection.execute(statement) and None, again=again)


def heartbeat(
    db: Database, worker_id: str, running: Sequence[str], memory: dict[str, Any], state: str,
    counted: Sequence[tallies.Tally] = (),
) -> str | None:  # fmt: skip
    """The process lives; what it is told to do ("run" or "drain"), None where it is not registered (any more).

    `counted` is added to the totals, at most once: where a commit was cut off it is not added again.
    """
    values = {"worker": worker_id, "new_running": list(running), "new_memory": memory, "new_state": state}

    def again(connection: Connection) -> str | None:
        return connection.execute(_BEATING, values).scalar_one_or_none()

    def work(connection: Connection) -> str | None:
        told = again(connection)
        tallies.add(connection, counted)
        return told

    return db.transact(work, again=again, synced=False)


def gone(db: Database, worker_id: str) -> float | None:
    """The process ended, or its parent saw it end; the seconds since it registered, None where it never did."""
    statement = update(_WORKERS).where(_WORKERS.c.id == worker_id).values(gone_at=now(), running=[], state="gone")
    lived = statement.returning(now() - _WORKERS.c.started_at)
    return db.transact(lambda connection: connection.execute(lived).scalar_one_or_none())


def drain(db: Database, worker_id: str) -> bool:
    """Tell a worker to finish what it has and stop; False where it is unknown."""
    statement = update(_WORKERS).where(_WORKERS.c.id == worker_id, _WORKERS.c.gone_at.is_(None)).values(control="drain")
    return db.transact(lambda connection: connection.execute(statement).rowcount > 0)


def live(db: Database, dead_s: float) -> list[Worker]:
    """Workers that gave a sign of life within `dead_s` seconds, oldest first."""
    rows = db.query(lambda connection: connection.execute(_LIVE, {"dead_s": dead_s}).all())
    return [Worker(**row._mapping) for row in rows]


def queues(worker: Worker) -> list[str]:
    """The queues that a worker takes jobs from; one of a release before there were several serves `any` alone."""
    if worker.state == "restarting":
        return []
    told = worker.facts.get("queues")
    return list(told) if isinstance(told, list) else ["any"]


def prune(db: Database, older_s: float, limit: int = 500) -> int:
    """Delete the records of workers silent for longer than `older_s` that hold no job; how many."""
    held = select(_JOBS.c.worker_id).where(_JOBS.c.state == RUNNING, _JOBS.c.worker_id == _WORKERS.c.id).exists()
    old = select(_WORKERS.c.id).where(_WORKERS.c.heartbeat_at < now() - older_s, ~held).limit(limit)
    statement = _WORKERS.delete().where(_WORKERS.c.id.in_(old))
    return db.transact(lambda connection: connection.execute(statement).rowcount)


_SHOWN = (
    "id",
    "host",
    "pid",
    "pool",
    "device",
    "facts",
    "memory",
    "running",
    "state",
    "control",
    "started_at",
    "heartbeat_at",
)
_LIVE = (
    select(*(_WORKERS.c[name] for name in _SHOWN))
    .where(
        _WORKERS.c.gone_at.is_(None),
        _WORKERS.c.heartbeat_at > now() - bindparam("dead_s", type_=_WORKERS.c.heartbeat_at.type),
    )
    .order_by(_WORKERS.c.started_at, _WORKERS.c.id)
)
_BEATING = (
    update(_WORKERS)
    .where(_WORKERS.c.id == bindparam("worker"), _WORKERS.c.gone_at.is_(None))
    .values(
        heartbeat_at=now(),
        running=bindparam("new_running", type_=_WORKERS.c.running.type),
        memory=bindparam("new_memory", type_=_WORKERS.c.memory.type),
        state=bindparam("new_state", type_=_WORKERS.c.state.type),
    )
    .returning(_WORKERS.c.control)
)
