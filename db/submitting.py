"""Accepting submissions: queue limit, idempotency keys, file ownership, and the rows, in one transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import BigInteger, Connection, Insert, Select, Table, Text, and_, func, select
from sqlalchemy import insert as _insert
from sqlalchemy.dialects import postgresql, sqlite

from db import moves
from db.batch import document, ids, relation
from db.clock import now
from db.engine import Database
from db.literals import QUEUED
from db.records import Inserted, NewJob
from db.refusals import DataSetsGone, KeyReused, QueueFull, UnknownFiles
from db.rows import AuditRow, DataSetRow, HoldingRow, IdempotencyRow, JobFileRow, JobRow, ResultRow
from db.text import clean_deep, dumps
from jobs.states import State

_JOBS = cast(Table, JobRow.__table__)
_KEYS = cast(Table, IdempotencyRow.__table__)
_HOLDINGS = cast(Table, HoldingRow.__table__)
_SETS = cast(Table, DataSetRow.__table__)
_RESULTS = cast(Table, ResultRow.__table__)

_COUNTING = select(func.count()).select_from(_JOBS).where(_JOBS.c.state == QUEUED)
_ADDING_JOBS = _insert(_JOBS).values(state=State.QUEUED.value, created_at=now())
_ADDING_FILES = _insert(cast(Table, JobFileRow.__table__))
_ADDING_AUDIT = _insert(cast(Table, AuditRow.__table__)).values(at=now())


def insert(db: Database, new: Sequence[NewJob], *, max_queued: int) -> list[Inserted]:
    """Queue jobs, all or none, in order. A job whose idempotency key is known is answered with the job it stood for.

    Raises `QueueFull`, `KeyReused` (same key, other fingerprint), `UnknownFiles` or `DataSetsGone`; then nothing was
    written.
    """
    if not new:
        return []
    admit(db, len(new), max_queued)
    return db.transact(lambda c: _accept(c, new, {}), again=lambda c: _accept(c, new, _committed(c, new)))


def admit(db: Database, more: int, max_queued: int) -> None:
    """Raise `QueueFull` where `more` jobs would be too many."""
    _depth(db).admit(db, more, max_queued)


def add(connection: Connection, fresh: Sequence[NewJob]) -> None:
    """Queue jobs in a transaction of the caller's; raises `UnknownFiles` or `DataSetsGone`."""
    _check_files(connection, fresh)
    _check_data_sets(connection, fresh)
    _write(connection, fresh)


def _accept(connection: Connection, new: Sequence[NewJob], known: dict[str, str]) -> list[Inserted]:
    """`known`: id -> id of jobs of ours that an earlier try committed."""
    stands_for = _keys(connection, [job for job in new if job.idempotency_key is not None], new)
    answers = [Inserted(stands_for.get(job.id, job.id), stands_for.get(job.id, job.id) == job.id) for job in new]
    fresh = [job for job, answer in zip(new, answers, strict=True) if answer.created and job.id not in known]
    if fresh:
        add(connection, fresh)
    return answers


def _keys(connection: Connection, keyed: Sequence[NewJob], new: Sequence[NewJob]) -> dict[str, str]:
    """Take the keys that are free; job id -> id of the job that its key stands for."""
    if not keyed:
        return {}
    dialect = connection.dialect.name
    taking: dict[tuple[int, str], NewJob] = {}
    for job in sorted(keyed, key=lambda job: (job.caller_id, str(job.idempotency_key))):
        taking.setdefault((job.caller_id, str(job.idempotency_key)), job)
    rows = [
        {"caller_id": caller, "key": key, "fingerprint": job.fingerprint or "", "job_id": job.id}
        for (caller, key), job in taking.items()
    ]
    asked = document(rows)
    connection.execute(_taking_keys(dialect), {"keys": asked})
    owners = {
        (row.caller_id, row.key): row for row in connection.execute(_reading_keys(dialect), {"keys": asked}).all()
    }
    clean_key = {(job.caller_id, job.idempotency_key): clean_deep(job.idempotency_key) for job in keyed}
    owner_of = {job.id: owners[(job.caller_id, clean_key[(job.caller_id, job.idempotency_key)])] for job in keyed}
    reused = [
        n for n, job in enumerate(new) if job.id in owner_of and owner_of[job.id].fingerprint != (job.fingerprint or "")
    ]
    if reused:
        raise KeyReused(reused)
    return {job.id: owner_of[job.id].job_id for job in keyed}


@cache
def _key_rows(dialect: str) -> Any:
    return relation(dialect, "keys", caller_id=BigInteger(), key=Text(), fingerprint=Text(), job_id=Text())


@cache
def _taking_keys(dialect: str) -> Insert:
    keys = _key_rows(dialect)
    # WHERE true: without it SQLite takes ON CONFLICT for a join's ON.
    source = select(keys.c.caller_id, keys.c.key, keys.c.fingerprint, keys.c.job_id, now()).where(now() > 0)
    into = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(_KEYS)
    names = ["caller_id", "key", "fingerprint", "job_id", "created_at"]
    return cast(Insert, into.from_select(names, source).on_conflict_do_nothing())


@cache
def _reading_keys(dialect: str) -> Select[Any]:
    keys = _key_rows(dialect)
    same = and_(_KEYS.c.caller_id == keys.c.caller_id, _KEYS.c.key == keys.c.key)
    return select(_KEYS.c.caller_id, _KEYS.c.key, _KEYS.c.fingerprint, _KEYS.c.job_id).join(keys, same)


@cache
def _missing(dialect: str) -> Select[Any]:
    asked = relation(dialect, "files", caller_id=BigInteger(), digest=Text())
    held = and_(_HOLDINGS.c.caller_id == asked.c.caller_id, _HOLDINGS.c.digest == asked.c.digest)
    return select(asked.c.digest).select_from(asked.outerjoin(_HOLDINGS, held)).where(_HOLDINGS.c.digest.is_(None))


@cache
def _existing(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    return select(_JOBS.c.id).join(asked, _JOBS.c.id == asked.c.id)


def _check_files(connection: Connection, fresh: Sequence[NewJob]) -> None:
    wanted = sorted({(job.caller_id, digest) for job in fresh for digest in job.digests})
    if not wanted:
        return
    rows = document({"caller_id": caller, "digest": digest} for caller, digest in wanted)
    missing = connection.execute(_missing(connection.dialect.name), {"files": rows}).scalars().all()
    if missing:
        raise UnknownFiles(sorted(set(missing)))


def _check_data_sets(connection: Connection, fresh: Sequence[NewJob]) -> None:
    """Hold what the jobs are pinned to until they are committed, so that it is not given up in between: the names of
    data sets, and for jobs that are run again, whose data sets may have lost their names, what was read of them."""
    dialect = connection.dialect.name
    for holding, again in ((_holding_sets(dialect), False), (_holding_read(dialect), True)):
        jobs = [job for job in fresh if (job.rerun_of is not None) is again]
        wanted = {pin["id"] for job in jobs for pin in (job.pins or {}).values() if "fingerprint" in pin}
        held = connection.execute(holding, {"asked": ids(wanted)}).scalars() if wanted else ()
        gone = wanted.difference(held)
        if gone:
            raise DataSetsGone(sorted(gone))


@cache
def _holding_sets(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    found = select(_SETS.c.job_id).join(asked, _SETS.c.job_id == asked.c.id)
    return found.with_for_update(of=_SETS, read=True, key_share=True)


@cache
def _holding_read(dialect: str) -> Select[Any]:
    """Jobs bound as `asked` that read a data set and have their result still."""
    asked = relation(dialect, "asked", id=Text())
    found = select(_JOBS.c.id).join(asked, _JOBS.c.id == asked.c.id).join(_RESULTS, _RESULTS.c.job_id == _JOBS.c.id)
    return found.with_for_update(of=_JOBS, read=True, key_share=True)


def _committed(connection: Connection, new: Sequence[NewJob]) -> dict[str, str]:
    found = connection.execute(_existing(connection.dialect.name), {"asked": ids(job.id for job in new)}).scalars()
    return {job_id: job_id for job_id in found}


def _write(connection: Connection, fresh: Sequence[NewJob]) -> None:
    connection.execute(_ADDING_JOBS, [_as_row(job) for job in fresh])
    files = [{"job_id": job.id, "digest": digest} for job in fresh for digest in sorted(set(job.digests))]
    if files:
        connection.execute(_ADDING_FILES, files)
    queued = dumps({"state": State.QUEUED.value})
    moves.add_events(connection, [{"id": job.id, "type": "state", "data": queued} for job in fresh])
    connection.execute(
        _ADDING_AUDIT, [{"caller_id": job.caller_id, "action": job.action, "object": job.id} for job in fresh]
    )


def _as_row(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.id, "caller_id": job.caller_id, "kind": job.kind, "pool": job.pool, "queue": job.queue,
        "priority": job.priority, "model_name": job.model_name, "model_version": job.model_version,
        "inputs": job.inputs, "params": job.params, "labels": clean_deep(job.labels), "seed": job.seed,
        "timeout_s": job.timeout_s, "run_at": job.run_at, "callback_url": job.callback_url, "rerun_of": job.rerun_of,
        "pins": job.pins,
    }  # fmt: skip


class _Depth:
    """How many jobs wait, counted at most once a second while far from the limit: counting 200,000 takes 20 ms."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted_at = float("-inf")
        self._waiting = 0

    def admit(self, db: Database, more: int, limit: int) -> None:
        """Note `more` jobs, or raise `QueueFull` after a fresh count."""
        with self._lock:
            stale = time.monotonic() - self._counted_at > 1.0
            if not stale and self._waiting + more <= limit:
                self._waiting += more
                return
        waiting = db.query(lambda connection: connection.execute(_COUNTING).scalar_one())
        if waiting + more > limit:
            raise QueueFull(waiting, limit)
        with self._lock:
            self._waiting, self._counted_at = waiting + more, time.monotonic()


_depths: WeakKeyDictionary[Database, _Depth] = WeakKeyDictionary()
_depths_lock = threading.Lock()


def _depth(db: Database) -> _Depth:
    with _depths_lock:
        return _depths.setdefault(db, _Depth())
