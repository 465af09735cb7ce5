"""What is deleted, and when: jobs by their caller, inputs and records when they are due, bytes without an owner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    Delete,
    Float,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from db.batch import document, relation
from db.clock import now, now_once
from db.engine import Database
from db.literals import QUEUED, RUNNING
from db.reading import running_fences
from db.rows import (
    BlobRow,
    DataSetRow,
    HoldingRow,
    JobFileRow,
    JobRow,
    ModelVersionRow,
    PreviewRow,
    VersionFileRow,
)
from db.rows.job import KEEPING
from jobs.datasets import KIND as DATA_SET
from jobs.states import FINAL, State

_JOBS = cast(Table, JobRow.__table__)
_FILES = cast(Table, JobFileRow.__table__)
_HOLDINGS = cast(Table, HoldingRow.__table__)
_BLOBS = cast(Table, BlobRow.__table__)
_SETS = cast(Table, DataSetRow.__table__)
_VERSIONS = cast(Table, ModelVersionRow.__table__)
_VERSION_FILES = cast(Table, VersionFileRow.__table__)
_PREVIEWS = cast(Table, PreviewRow.__table__)
_FINAL = sorted(state.value for state in FINAL)
_ENDED = _JOBS.c.state.in_(_FINAL)


class Deletion(NamedTuple):
    """What a delete met: `state` None where the caller has no such job; not `deleted` where it has not ended, or where
    a data set or a model version stands on it (`in_use`)."""

    deleted: bool
    state: State | None
    in_use: bool = False


def delete_job(db: Database, job_id: str, caller_id: int | None) -> Deletion:
    """Delete an ended job of `caller_id` (anyone's for None): its record, and its inputs where no other job of its
    owner reads them. The artifacts' folder is the storage's to delete afterwards; the keeper deletes it too."""

    def work(connection: Connection) -> Deletion:
        job = connection.execute(_ONE, {"one": job_id}).one_or_none()
        if job is None or caller_id not in (None, job.caller_id):
            return Deletion(False, None)
        if State(job.state) not in FINAL:
            return Deletion(False, State(job.state))
        if connection.execute(select(_JOBS.c.id).where(_JOBS.c.id == job_id, _IN_USE)).first() is not None:
            return Deletion(False, State(job.state), in_use=True)
        _drop_inputs(connection, [job_id])
        connection.execute(delete(_JOBS).where(_JOBS.c.id == job_id))
        return Deletion(True, State(job.state))

    return db.transact(work)


def forget_inputs(db: Database, *, older_s: float, limit: int = 200) -> int:
    """Give up the inputs of jobs that ended more than `older_s` seconds ago; how many jobs that were."""

    def work(connection: Connection) -> int:
        found = connection.execute(_DUE_INPUTS, {"older_s": older_s, "most": limit}).scalars().all()
        if found:
            _drop_inputs(connection, found)
            connection.execute(update(_JOBS).where(_JOBS.c.id.in_(found)).values(inputs_deleted_at=now()))
        return len(found)

    asked = {"older_s": older_s, "most": 1}
    return db.transact(work) if db.query(lambda connection: connection.execute(_DUE_INPUTS, asked).first()) else 0


def purge_records(db: Database, *, older_s: float, limit: int = 200) -> list[str]:
    """Delete the records of jobs that ended more than `older_s` seconds ago; their ids, for the storage to follow."""

    def work(connection: Connection) -> list[str]:
        found = list(connection.execute(_DUE_RECORDS, {"older_s": older_s, "most": limit}).scalars())
        if found:
            _drop_inputs(connection, found)
            connection.execute(delete(_JOBS).where(_JOBS.c.id.in_(found)))
        return found

    asked = {"older_s": older_s, "most": 1}
    return db.transact(work) if db.query(lambda connection: connection.execute(_DUE_RECORDS, asked).first()) else []


def sweep_blobs(db: Database, *, grace_s: float, remove: Callable[[str], bool], limit: int = 100) -> list[str]:
    """Delete bytes that no caller holds and no job reads, for `grace_s` seconds by now; the digests that went.

    `remove` deletes from the storage inside the transaction and answers False where the bytes are in fact fresh
    (somebody is uploading them again): their row then stays.
    """
    idle = db.query(lambda connection: connection.execute(_IDLE, {"grace_s": grace_s, "most": limit}).scalars().all())
    return [digest for digest in idle if _sweep(db, digest, grace_s, remove)]


def forget_previews(db: Database, job_ids: Sequence[str]) -> None:
    """Forget what jobs have shown; those among `job_ids` that have not ended keep it."""
    ended = select(_JOBS.c.id).where(_JOBS.c.id.in_(list(job_ids)), _ENDED)
    db.transact(lambda connection: connection.execute(delete(_PREVIEWS).where(_PREVIEWS.c.job_id.in_(ended))))


def unknown_jobs(db: Database, job_ids: Iterable[str]) -> set[str]:
    """Those of `job_ids` that have no record: their folders are orphans."""
    asked = set(job_ids)
    return asked - set(running_fences(db, asked))


def _sweep(db: Database, digest: str, grace_s: float, remove: Callable[[str], bool]) -> bool:
    class Kept(Exception):
        pass

    def work(connection: Connection) -> bool:
        statement = delete(_BLOBS).where(_BLOBS.c.digest == digest, _BLOBS.c.idle_since < now() - grace_s, *_UNOWNED)
        if connection.execute(statement).rowcount == 0:
            return False
        if not remove(digest):
            raise Kept
        return True

    try:
        return db.transact(work)
    except (Kept, IntegrityError):
        # IntegrityError: a job or an upload took the bytes between our look and our delete (PostgreSQL).
        return False


def _drop_inputs(connection: Connection, job_ids: Sequence[str]) -> None:
    """The jobs read nothing any more; what their owners then use in no other job, they hold no more."""
    of_jobs = _FILES.c.job_id.in_(list(job_ids))
    given = connection.execute(
        select(_JOBS.c.caller_id, _FILES.c.digest).join(_FILES, _FILES.c.job_id == _JOBS.c.id).where(of_jobs)
    ).all()
    if not given:
        return
    pairs = sorted({(row.caller_id, row.digest) for row in given})
    rows = {"given": document({"caller_id": caller, "digest": digest} for caller, digest in pairs)}
    connection.execute(delete(_FILES).where(of_jobs))
    connection.execute(_dropping(connection.dialect.name), rows)
    connection.execute(_idling(connection.dialect.name), rows)


_UNOWNED = (
    ~exists().where(_HOLDINGS.c.digest == _BLOBS.c.digest),
    ~exists().where(_FILES.c.digest == _BLOBS.c.digest),
    ~exists().where(_VERSION_FILES.c.digest == _BLOBS.c.digest),
)
_USER = _JOBS.alias("data_set_user")
# A job id is unlike anything else in a document, so a search in the text of the pins finds it and no more.
_PINS_IT = and_(_USER.c.pins.is_not(None), _USER.c.pins.cast(Text).contains(_JOBS.c.id))
_UNENDED = or_(_USER.c.state == QUEUED, _USER.c.state == RUNNING)
_OF_USER = and_(_VERSIONS.c.job_id == _USER.c.id, _VERSIONS.c.state == "ready")
_IN_USE = or_(
    exists().where(_SETS.c.job_id == _JOBS.c.id),
    exists().where(_VERSIONS.c.job_id == _JOBS.c.id, _VERSIONS.c.state == "ready"),
    and_(_JOBS.c.kind == DATA_SET, exists(select(_USER.c.id).join(_VERSIONS, _OF_USER).where(_PINS_IT))),
    and_(_JOBS.c.kind == DATA_SET, exists(select(_USER.c.id).where(_UNENDED, _PINS_IT))),
)
"""A data set is its job, and a version is to be explained, and made again, by the job that made it and what that read:
all of them stay as they are, whether the data set still has its name or not. So does what an unended job will read."""


@cache
def _dropping(dialect: str) -> Delete:
    """Holdings bound as `given` whose owner has no other job that reads the bytes."""
    given = relation(dialect, "given", caller_id=BigInteger(), digest=Text())
    same = and_(given.c.caller_id == _HOLDINGS.c.caller_id, given.c.digest == _HOLDINGS.c.digest)
    read = and_(
        _FILES.c.digest == _HOLDINGS.c.digest, _FILES.c.job_id == _JOBS.c.id,
        _JOBS.c.caller_id == _HOLDINGS.c.caller_id,
    )  # fmt: skip
    return delete(_HOLDINGS).where(exists(select(given.c.digest).where(same)), ~exists(select(_JOBS.c.id).where(read)))


@cache
def _idling(dialect: str) -> Update:
    given = relation(dialect, "given", digest=Text())
    return update(_BLOBS).where(_BLOBS.c.digest.in_(select(given.c.digest))).values(idle_since=now())


_ONE = select(_JOBS.c.state, _JOBS.c.caller_id).where(_JOBS.c.id == bindparam("one")).with_for_update()
_LONG_ENDED = and_(_ENDED, _JOBS.c.finished_at < now_once() - bindparam("older_s", type_=Float(53)))
_READS_FILES = exists().where(_FILES.c.job_id == _JOBS.c.id)
_DUE_INPUTS = (
    select(_JOBS.c.id)
    .where(_LONG_ENDED, text(KEEPING), _READS_FILES, ~_IN_USE)
    .order_by(_JOBS.c.finished_at)
    .limit(bindparam("most"))
    .with_for_update(of=_JOBS, skip_locked=True)
)
_DUE_RECORDS = (
    select(_JOBS.c.id)
    .where(_LONG_ENDED, ~_IN_USE)
    .order_by(_JOBS.c.finished_at)
    .limit(bindparam("most"))
    .with_for_update(of=_JOBS, skip_locked=True)
)
_IDLE = (
    select(_BLOBS.c.digest)
    .where(_BLOBS.c.idle_since < now_once() - bindparam("grace_s", type_=Float(53)), *_UNOWNED)
    .order_by(_BLOBS.c.idle_since)
    .limit(bindparam("most"))
)
