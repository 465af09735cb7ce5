"""The statements by which db/jobs.py changes a job's state, and the history that is written with each change.

A *move* is one row of a batch: id, the state and fence it expects, and what to set. The conditions stand in the UPDATE
itself, so that a move that comes too late changes nothing, whoever sends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    Float,
    Insert,
    Integer,
    Table,
    Text,
    Update,
    bindparam,
    case,
    func,
    insert,
    null,
    select,
    update,
)

from db import tallies
from db.batch import document, relation
from db.clock import now
from db.literals import QUEUED, still
from db.records import StoredArtifact
from db.rows import ArtifactRow, AttemptRow, EventRow, JobRow, OutboxRow, ResultRow
from db.text import clean, dumps
from jobs.errors import codes
from jobs.states import FINAL, TRANSITIONS, Outcome, State

JOBS = cast(Table, JobRow.__table__)
ATTEMPTS = cast(Table, AttemptRow.__table__)
_EVENTS = cast(Table, EventRow.__table__)
_RESULTS = cast(Table, ResultRow.__table__)
_ARTIFACTS = cast(Table, ArtifactRow.__table__)
_OUTBOX = cast(Table, OutboxRow.__table__)


class Move(NamedTuple):
    """One intended change of state. `outcome` is None where no attempt ends (a queued job is cancelled)."""

    id: str
    fence: int
    source: State
    to: State
    outcome: Outcome | None = None
    error: dict[str, Any] | None = None
    """The job's error where it fails, else the attempt's alone."""

    delay_s: float = 0.0
    failures: int = 0
    crashes: int = 0
    queue: str | None = None
    """Where it waits from now on; None: where it did."""

    result: str | None = None
    """JSON text."""

    artifacts: Sequence[StoredArtifact] = ()


@cache
def _moving(dialect: str) -> Update:
    """Where state and fence are as expected: the new state, and no worker and no lease any more."""
    moves = relation(
        dialect, "moves", id=Text(), fence=BigInteger(), source=Text(), to=Text(), error=Text(), delay_s=Float(53),
        failures=Integer(), crashes=Integer(), queue=Text(),
    )  # fmt: skip
    asked = (JOBS.c.id == moves.c.id, JOBS.c.fence == moves.c.fence, JOBS.c.state == moves.c.source)
    # Rows are locked in the order of their ids, so that two batches cannot wait for each other.
    held = (
        select(JOBS.c.id.label("held_id"), *moves.c)
        .join(moves, JOBS.c.id == moves.c.id)
        .where(*asked)
        .order_by(JOBS.c.id)
        .with_for_update(of=JOBS)
        .cte("held")
    )
    requeued = held.c.to == State.QUEUED.value
    return (
        update(JOBS)
        .where(JOBS.c.id == held.c.id, JOBS.c.fence == held.c.fence, JOBS.c.state == held.c.source)
        .values(
            state=held.c.to,
            fence=JOBS.c.fence + case((requeued, 1), else_=0),
            worker_id=null(),
            lease_until=null(),
            error=case((held.c.to == State.FAILED.value, held.c.error), else_=null()),
            failures=JOBS.c.failures + held.c.failures,
            crashes=JOBS.c.crashes + held.c.crashes,
            queue=func.coalesce(held.c.queue, JOBS.c.queue),
            finished_at=case((requeued, null()), else_=now()),
            run_at=case((requeued & (held.c.delay_s > 0), now() + held.c.delay_s), else_=JOBS.c.run_at),
            sent_at=case((requeued, null()), else_=JOBS.c.sent_at),
            send_count=case((requeued, 0), else_=JOBS.c.send_count),
            fraction=case((held.c.to == State.SUCCEEDED.value, 1.0), else_=JOBS.c.fraction),
        )
        .returning(JOBS.c.id, JOBS.c.attempt, JOBS.c.callback_url, JOBS.c.kind)
    )


@cache
def _ending_attempts(dialect: str) -> Update:
    ended = relation(dialect, "ended", id=Text(), number=Integer(), outcome=Text(), error=Text())
    return (
        update(ATTEMPTS)
        .where(ATTEMPTS.c.job_id == ended.c.id, ATTEMPTS.c.number == ended.c.number, ATTEMPTS.c.ended_at.is_(None))
        .values(ended_at=now(), outcome=ended.c.outcome, error=ended.c.error)
        .returning(ATTEMPTS.c.job_id, (ATTEMPTS.c.ended_at - ATTEMPTS.c.started_at).label("ran_s"))
    )


@cache
def _adding_events(dialect: str) -> Insert:
    rows = relation(dialect, "events_new", id=Text(), type=Text(), data=Text())
    source = select(rows.c.id, rows.c.type, rows.c.data, now())
    return insert(_EVENTS).from_select(["job_id", "type", "data", "at"], source)


@cache
def _adding_outbox(dialect: str) -> Insert:
    rows = relation(dialect, "calls", id=Text(), url=Text(), state=Text())
    source = select(rows.c.id, rows.c.url, rows.c.state, now(), now())
    return insert(_OUTBOX).from_select(["job_id", "url", "state", "created_at", "next_at"], source)


@cache
def _adding_attempts(dialect: str) -> Insert:
    rows = relation(dialect, "begun", id=Text(), number=Integer(), fence=BigInteger())
    source = select(rows.c.id, rows.c.number, rows.c.fence, bindparam("claimed_by", type_=Text), now())
    return insert(ATTEMPTS).from_select(["job_id", "number", "fence", "worker_id", "started_at"], source)


_ADDING_RESULTS = insert(_RESULTS).values(result=bindparam("json_text", type_=Text), created_at=now())
_ADDING_ARTIFACTS = insert(_ARTIFACTS)


@cache
def claiming(dialect: str, narrowed: bool = False) -> Update:
    """Ids bound as `asked` that are queued, due and of the pool: running, under a higher fence. `narrowed`: and wait in
    one of the queues bound as `served`."""
    asked = relation(dialect, "asked", id=Text())
    ready = (
        select(JOBS.c.id)
        .join(asked, JOBS.c.id == asked.c.id)
        .where(
            still(JOBS, QUEUED),
            JOBS.c.pool == bindparam("of_pool", type_=Text),
            func.coalesce(JOBS.c.run_at, 0.0) <= now(),
            *([JOBS.c.queue.in_(bindparam("served", expanding=True))] if narrowed else []),
        )
        .order_by(JOBS.c.id)
        .with_for_update(of=JOBS)
        .cte("ready")
    )
    return (
        update(JOBS)
        .where(JOBS.c.id == ready.c.id, still(JOBS, QUEUED))
        .values(
            state=State.RUNNING.value,
            fence=JOBS.c.fence + 1,
            attempt=JOBS.c.attempt + 1,
            worker_id=bindparam("claimed_by", type_=Text),
            lease_until=now() + bindparam("lease_s", type_=Float(53)),
            started_at=func.coalesce(JOBS.c.started_at, now()),
        )
        .returning(
            JOBS.c.id, JOBS.c.caller_id, JOBS.c.kind, JOBS.c.model_name, JOBS.c.model_version, JOBS.c.inputs,
            JOBS.c.params, JOBS.c.seed, JOBS.c.timeout_s, JOBS.c.fence, JOBS.c.attempt, JOBS.c.crashes,
            JOBS.c.created_at, JOBS.c.pins, JOBS.c.rerun_of, JOBS.c.failures, JOBS.c.run_at, JOBS.c.started_at,
        )
    )  # fmt: skip


def begin_attempts(connection: Connection, worker_id: str, claims: Sequence[Any]) -> None:
    """An attempt and a `state` event for each claim (a row of `claiming`), and how long those waited that never ran."""
    rows = [{"id": claim.id, "number": claim.attempt, "fence": claim.fence} for claim in claims]
    connection.execute(
        _adding_attempts(connection.dialect.name), {"begun": document(rows), "claimed_by": clean(worker_id)}
    )
    told = [_state_event(claim.id, State.RUNNING, attempt=claim.attempt, worker=worker_id) for claim in claims]
    add_events(connection, told)
    waited = [(one.kind, one.started_at - max(one.created_at, one.run_at or 0.0)) for one in claims if one.attempt == 1]
    tallies.add(connection, [tallies.observed(tallies.WAIT, kind, seconds) for kind, seconds in waited])


def add_events(connection: Connection, rows: Sequence[dict[str, str]]) -> None:
    """Append events (`id` of the job, `type`, `data` as JSON text); the caller holds the jobs' row locks."""
    connection.execute(_adding_events(connection.dialect.name), {"events_new": document(rows)})


def apply(connection: Connection, moves: Sequence[Move]) -> set[str]:
    """Make the moves that still hold, with their history; the ids that moved. A constant number of statements."""
    for move in moves:
        assert move.to in TRANSITIONS[move.source], f"{move.source} -> {move.to} is no transition"
    dialect = connection.dialect.name
    rows = [_as_row(move) for move in moves]
    moved = {row.id: row for row in connection.execute(_moving(dialect), {"moves": document(rows)})}
    made = [move for move in moves if move.id in moved]
    if not made:
        return set()
    ended = [
        {"id": m.id, "number": moved[m.id].attempt, "outcome": m.outcome.value, "error": _json(m.error)}
        for m in made
        if m.outcome is not None
    ]
    ran = connection.execute(_ending_attempts(dialect), {"ended": document(ended)}).all() if ended else ()
    add_events(connection, [_state_event(m.id, m.to, **_why(m)) for m in made])
    calls = [
        {"id": m.id, "url": moved[m.id].callback_url, "state": m.to.value}
        for m in made
        if m.to in FINAL and moved[m.id].callback_url
    ]
    if calls:
        connection.execute(_adding_outbox(dialect), {"calls": document(calls)})
    _add_results(connection, made)
    tallies.add(connection, _tallied(made, moved, {row.job_id: row.ran_s for row in ran}))
    return set(moved)


def _tallied(made: Sequence[Move], moved: Mapping[str, Any], ran: Mapping[str, float]) -> Iterator[tallies.Tally]:
    """What the moves add to the totals: `moved` are the jobs' rows, `ran` the seconds of the attempts that ended."""
    for move in made:
        kind = moved[move.id].kind
        code = _known(move.error)
        if move.outcome is not None:
            yield tallies.Tally(tallies.ATTEMPTS, kind, move.outcome.value, code)
        if move.outcome is not None and move.id in ran:
            yield tallies.observed(tallies.RUN, kind, ran[move.id], move.outcome.value)
        if move.to in FINAL:
            yield tallies.Tally(tallies.JOBS, kind, move.to.value, code)


def _known(error: dict[str, Any] | None) -> str:
    """The error's code, where it is one of ours: a label must not grow with what somebody's kind invents."""
    code = str((error or {}).get("code", ""))
    return code if not code or code in codes() else "other"


def _add_results(connection: Connection, made: Sequence[Move]) -> None:
    results = [{"job_id": m.id, "fence": m.fence, "json_text": m.result} for m in made if m.result is not None]
    if results:
        connection.execute(_ADDING_RESULTS, results)
    files = [
        {"job_id": m.id, **artifact._asdict()}
        for m in made
        if m.result is not None
        for artifact in {artifact.name: artifact for artifact in m.artifacts}.values()
    ]
    if files:
        connection.execute(_ADDING_ARTIFACTS, files)


def _as_row(move: Move) -> dict[str, Any]:
    return {
        "id": move.id, "fence": move.fence, "source": move.source.value, "to": move.to.value,
        "error": _json(move.error), "delay_s": move.delay_s, "failures": move.failures, "crashes": move.crashes,
        "queue": move.queue,
    }  # fmt: skip


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else dumps(value)


def _why(move: Move) -> dict[str, Any]:
    why: dict[str, Any] = {} if move.outcome is None else {"outcome": move.outcome.value}
    return why if move.error is None else {**why, "code": move.error.get("code")}


def _state_event(job_id: str, state: State, **more: Any) -> dict[str, str]:
    return {"id": job_id, "type": "state", "data": dumps({"state": state.value, **more})}


__all__ = ["ATTEMPTS", "JOBS", "Move", "add_events", "apply", "begin_attempts", "claiming"]
