"""Making callers and jobs for the database tests."""

from __future__ import annotations

from typing import Any

from db import callers, jobs
from db.engine import Database
from db.records import Claim, NewJob
from jobs.ids import new_id


def caller(db: Database, name: str = "imaging-lab") -> int:
    """The id of a caller of that name."""
    return callers.caller_id(db, name)


def new_job(caller_id: int, **changes: Any) -> NewJob:
    """A submission with nothing special about it."""
    values: dict[str, Any] = {"id": new_id(), "caller_id": caller_id, "kind": "diagnosis", "pool": "inference"}
    return NewJob(**{**values, **changes})


def queued(db: Database, count: int = 1, **changes: Any) -> list[str]:
    """Ids of so many new jobs."""
    mine = caller(db)
    return [done.id for done in jobs.insert(db, [new_job(mine, **changes) for _ in range(count)], max_queued=10**6)]


def running(db: Database, count: int = 1, worker: str = "w1", lease_s: float = 30.0, **changes: Any) -> list[Claim]:
    """So many new jobs, claimed by a worker."""
    return jobs.claim(db, queued(db, count, **changes), worker, lease_s, "inference")
