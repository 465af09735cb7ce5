"""The only writer of a job's state. Each function is one short transaction with a fixed number of statements.

Every change is an UPDATE that names the state and the fence it expects (db/moves.py); zero rows means that somebody
else decided first, and the caller discards what it has. What a crash does in each state is said in jobs/states.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import BigInteger, Connection, Float, Select, Table, Text, and_, bindparam, func, or_, select, update

from db import models, moves, watching
from db.batch import document, ids, relation
from db.clock import now
from db.engine import Database
from db.holding import append_event, append_events, checkpointed, progress, renew
from db.literals import RUNNING, still
from db.moves import ATTEMPTS, JOBS, Move
from db.records import CancelResult, Claim, Completion, Expired, Release
from db.retention import delete_job as delete
from db.rows import WorkerRow
from db.sending import boost, change_queue, lost, mark_sent, to_send, versions_in
from db.submitting import insert
from db.text import clean, dumps
from jobs.errors import AttemptsExhausted, JobError, WorkerCrashed
from jobs.settings import LONGEST_S
from jobs.states import Outcome, State

_WORKERS = cast(Table, WorkerRow.__table__)


def claim(
    db: Database,
    job_ids: Sequence[str],
    worker_id: str,
    lease_s: float,
    pool: str,
    served: Sequence[str] | None = None,
) -> list[Claim]:
    """Take the jobs among `job_ids` that are queued, due, of this pool and in one of its queues `served` (None: any).
    Each goes to one worker only.

    In the order of `job_ids`. Locked rows are waited for, in the order of ids. A claim whose commit was cut off is not
    repeated as ours: its lease runs out uncharged.
    """
    if not job_ids:
        return []
    asked = {"asked": ids(job_ids), "claimed_by": clean(worker_id), "lease_s": lease_s, "of_pool": pool}
    if served is not None:
        asked["served"] = list(served)

    def work(connection: Connection) -> list[Claim]:
        rows = connection.execute(moves.claiming(db.dialect, served is not None), asked).all()
        if rows:
            moves.begin_attempts(connection, worker_id, rows)
        return [_claimed(row) for row in rows]

    place = {job_id: position for position, job_id in enumerate(job_ids)}
    # A claim that a power cut undoes is a job still queued: the worker on that host is gone too.
    return sorted(db.transact(work, synced=False), key=lambda claim: place[claim.id])


def complete(db: Database, done: Sequence[Completion]) -> set[str]:
    """Commit how attempts ended, with results and artifacts, all in one transaction; the ids that were accepted.

    Accepted are completions under the job's current fence, and repetitions of one that was committed under that fence
    before, which change nothing: so a commit that was cut off is read again and not made twice. Raises `VersionExists`,
    and then none of it is committed, where a version of theirs was registered by another job meanwhile.
    """
    if not done:
        return set()
    wanted = [_as_move(completion) for completion in done]

    def work(connection: Connection) -> set[str]:
        accepted = moves.apply(connection, wanted)
        succeeded = {move.id for move in wanted if move.id in accepted and move.to is State.SUCCEEDED}
        for completion in done:
            if completion.version is not None and completion.id in succeeded:
                models.make_ready(connection, completion.id, completion.version)
        refused = [move for move in wanted if move.id not in accepted]
        return accepted | _completed_before(connection, refused)

    return db.transact(work)


def release(db: Database, back: Sequence[Release], *, max_attempts: int = 5) -> set[str]:
    """Hand running jobs back; the ids that were ours. To `queued`, unless a cancel is pending (`cancelled`) or the
    charged failures reached `max_attempts` (`failed` with attempts-exhausted)."""
    wanted = {item.id: item for item in back}
    asked = {"held": document({"id": item.id, "fence": item.fence} for item in wanted.values())}

    def work(connection: Connection) -> set[str]:
        held = connection.execute(_held(db.dialect), asked).all()
        return moves.apply(connection, [_going_back(row, wanted[row.id], max_attempts) for row in held])

    return db.transact(work) if wanted else set()


def request_cancel(db: Database, job_id: str, caller_id: int | None) -> CancelResult | None:
    """Cancel a job of `caller_id` (any job for None); None where there is no such job.

    Queued: cancelled at once. Running: its worker is told at its next renewal. Cancelled before: accepted again.
    """

    def work(connection: Connection) -> CancelResult | None:
        job = connection.execute(_ONE, {"one": job_id}).one_or_none()
        if job is None or (caller_id is not None and job.caller_id != caller_id):
            return None
        state = State(job.state)
        if state is State.QUEUED:
            moves.apply(connection, [Move(job.id, job.fence, State.QUEUED, State.CANCELLED)])
            state = State.CANCELLED
        elif state is State.RUNNING and job.cancel_requested_at is None:
            connection.execute(_CANCELLING, {"one": job_id})
        return CancelResult(state in (State.RUNNING, State.CANCELLED), state)

    return db.transact(work)


def expire_leases(db: Database, *, worker_dead_s: float, max_crashes: int, limit: int = 500) -> list[Expired]:
    """Take back jobs whose lease ran out. Charged as a crash only where the worker's heartbeat stopped while keepers
    were watching (db/watching.py); at `max_crashes` the job is failed with worker-crashed.

    A database's clock that was set back would let a dead worker hold its jobs for as long as the step was. So a lease
    counts as run out, too, where its worker spoke last in what is the future now, though keepers have watched for
    `worker_dead_s` since (who lives speaks within seconds), and where no record of the worker is left and the lease
    ends later than any setting allows.
    """
    asked = {"dead_s": worker_dead_s}
    if not watching.needed(db, worker_dead_s) and not db.query(lambda c: c.execute(_ANY_OVERDUE, asked).first()):
        return []

    def work(connection: Connection) -> list[Expired]:
        since = watching.renew(connection, worker_dead_s)
        rows = connection.execute(_OVERDUE, {"most": limit, **asked}).all()
        taken = [_taken(row, _dead(row, since, worker_dead_s), max_crashes) for row in rows]
        return _take(connection, rows, taken)

    return db.transact(work)


def abandon_worker(
    db: Database, worker_id: str, *, charge: bool, max_crashes: int = 3, job_id: str | None = None,
    fence: int | None = None,
) -> list[Expired]:  # fmt: skip
    """Take back what a worker held of which it is known that it ended, for its parent saw it: all of it, or the one job
    that its dead child ran, under the fence of that attempt where it is known. `charge` counts a crash against each."""
    asked = {"worker": worker_id, "one": job_id, "under": fence}

    def work(connection: Connection) -> list[Expired]:
        rows = connection.execute(_OF_WORKER, asked).all()
        outcome = Outcome.WORKER_LOST if charge else Outcome.DRAINED
        return _take(connection, rows, [_taken(row, outcome, max_crashes) for row in rows])

    return db.transact(work)


def _claimed(row: Any) -> Claim:
    claim = Claim(*row[: len(Claim._fields)])
    # SQLite's RETURNING gives a whole REAL back as an integer.
    return claim._replace(timeout_s=float(claim.timeout_s), created_at=float(claim.created_at))


def _as_move(completion: Completion) -> Move:
    """The move of a completion; a result that JSON cannot carry fails its own job and no other of the batch."""
    outcome = Outcome(completion.state.value)
    error, result = completion.error, None
    if completion.state is State.SUCCEEDED:
        if completion.result is None:
            raise ValueError(f"job {completion.id} cannot succeed without a result")
        try:
            result = dumps(completion.result)
            if completion.version is not None:
                dumps(completion.version.manifest)
        except (TypeError, ValueError):
            outcome, result = Outcome.FAILED, None
            error = JobError("The result holds a value that JSON cannot carry, such as NaN.").as_dict()
    elif outcome is Outcome.FAILED and error is None:
        error = JobError().as_dict()
    artifacts = completion.artifacts if result is not None else ()
    error = None if outcome is Outcome.SUCCEEDED else error
    return Move(
        completion.id, completion.fence, State.RUNNING, State(outcome.value), outcome, error,
        result=result, artifacts=artifacts,
    )  # fmt: skip


def _completed_before(connection: Connection, refused: Sequence[Move]) -> set[str]:
    """Those that the same attempt had committed already."""
    if not refused:
        return set()
    rows = [{"id": m.id, "fence": m.fence, "outcome": m.outcome} for m in refused]
    return set(connection.execute(_repeated(connection.dialect.name), {"done": document(rows)}).scalars())


def _going_back(job: Any, item: Release, max_attempts: int) -> Move:
    move = Move(
        job.id, job.fence, State.RUNNING, State.QUEUED, item.outcome, item.error, delay_s=item.delay_s, queue=item.queue
    )
    if job.cancel_requested_at is not None:
        return move._replace(to=State.CANCELLED, outcome=Outcome.CANCELLED)
    if not item.charge:
        return move
    if job.failures + 1 < max_attempts:
        return move._replace(failures=1)
    error = AttemptsExhausted(last=item.error).as_dict()
    return move._replace(to=State.FAILED, outcome=Outcome.FAILED, failures=1, error=error)


def _dead(job: Any, since: float, worker_dead_s: float) -> Outcome:
    """Whether the worker died, as far as the database can tell."""
    silent = job.heartbeat_at is not None and job.gone_at is None and job.heartbeat_at < job.now - worker_dead_s
    return Outcome.WORKER_LOST if silent and job.heartbeat_at >= since else Outcome.LEASE_EXPIRED


def _taken(job: Any, outcome: Outcome, max_crashes: int) -> Move:
    crashes = 1 if outcome is Outcome.WORKER_LOST else 0
    move = Move(job.id, job.fence, State.RUNNING, State.QUEUED, outcome, crashes=crashes)
    if crashes and job.crashes + 1 >= max_crashes:
        return move._replace(to=State.FAILED, error=WorkerCrashed(last_worker=job.worker_id).as_dict())
    if job.cancel_requested_at is not None:
        return move._replace(to=State.CANCELLED)
    return move


def _take(connection: Connection, rows: Sequence[Any], wanted: Sequence[Move]) -> list[Expired]:
    moved = moves.apply(connection, wanted) if wanted else set()
    return [
        Expired(move.id, row.worker_id, cast(Outcome, move.outcome), move.to)
        for row, move in zip(rows, wanted, strict=True)
        if move.id in moved
    ]


_HELD_COLUMNS = (
    JOBS.c.id, JOBS.c.fence, JOBS.c.worker_id, JOBS.c.failures, JOBS.c.crashes, JOBS.c.cancel_requested_at
)  # fmt: skip


@cache
def _held(dialect: str) -> Select[Any]:
    """Running jobs under the fences bound as `held`, locked in the order of their ids."""
    held = relation(dialect, "held", id=Text(), fence=BigInteger())
    return (
        select(*_HELD_COLUMNS)
        .join(held, and_(JOBS.c.id == held.c.id, JOBS.c.fence == held.c.fence))
        .where(still(JOBS, RUNNING))
        .order_by(JOBS.c.id)
        .with_for_update(of=JOBS)
    )


@cache
def _repeated(dialect: str) -> Select[Any]:
    done = relation(dialect, "done", id=Text(), fence=BigInteger(), outcome=Text())
    same = and_(ATTEMPTS.c.job_id == done.c.id, ATTEMPTS.c.fence == done.c.fence)
    return select(ATTEMPTS.c.job_id).join(done, and_(same, ATTEMPTS.c.outcome == done.c.outcome))


_ONE = select(*_HELD_COLUMNS, JOBS.c.state, JOBS.c.caller_id).where(JOBS.c.id == bindparam("one")).with_for_update()
_CANCELLING = update(JOBS).where(JOBS.c.id == bindparam("one")).values(cancel_requested_at=now())
_DEAD_S = bindparam("dead_s", type_=Float(53))
_IS_OVERDUE = and_(
    JOBS.c.state == RUNNING,
    or_(
        JOBS.c.lease_until < now(),
        and_(_WORKERS.c.heartbeat_at > now() + _DEAD_S, watching.watched_for(_DEAD_S)),
        and_(_WORKERS.c.id.is_(None), JOBS.c.lease_until > now() + LONGEST_S),
    ),
)
_WITH_WORKERS = JOBS.outerjoin(_WORKERS, _WORKERS.c.id == JOBS.c.worker_id)
_ANY_OVERDUE = select(JOBS.c.id).select_from(_WITH_WORKERS).where(_IS_OVERDUE).limit(1)
_OVERDUE = (
    select(*_HELD_COLUMNS, _WORKERS.c.heartbeat_at, _WORKERS.c.gone_at, now().label("now"))
    .select_from(_WITH_WORKERS)
    .where(_IS_OVERDUE)
    .order_by(JOBS.c.id)
    .limit(bindparam("most"))
    .with_for_update(of=JOBS, skip_locked=True)
)
_OF_WORKER = (
    select(*_HELD_COLUMNS)
    .where(
        JOBS.c.state == RUNNING,
        JOBS.c.worker_id == bindparam("worker"),
        func.coalesce(bindparam("one", type_=JOBS.c.id.type), JOBS.c.id) == JOBS.c.id,
        func.coalesce(bindparam("under", type_=BigInteger()), JOBS.c.fence) == JOBS.c.fence,
    )
    .order_by(JOBS.c.id)
    .with_for_update()
)

__all__ = [
    "abandon_worker", "append_event", "append_events", "boost", "change_queue", "checkpointed", "claim", "complete",
    "delete", "expire_leases", "insert", "lost", "mark_sent", "progress", "release", "renew", "request_cancel",
    "to_send", "versions_in",
]  # fmt: skip
