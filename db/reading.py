"""Every read of jobs, results and events. In autocommit: no read holds a lock or keeps an old snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from sqlalchemy import BigInteger, Connection, Select, Table, Text, and_, bindparam, or_, select, union_all

from db.batch import document, ids, relation
from db.depths import queue_depths
from db.engine import Database
from db.records import AttemptView, Event, JobView, Preview, StoredArtifact, StoredResult
from db.rows import ArtifactRow, AttemptRow, CallerRow, EventRow, JobLabelRow, JobRow, PreviewRow, ResultRow
from jobs.states import FINAL, State

_JOBS = cast(Table, JobRow.__table__)
_LABELS = cast(Table, JobLabelRow.__table__)
_ATTEMPTS = cast(Table, AttemptRow.__table__)
_RESULTS = cast(Table, ResultRow.__table__)
_ARTIFACTS = cast(Table, ArtifactRow.__table__)
_EVENTS = cast(Table, EventRow.__table__)
_PREVIEWS = cast(Table, PreviewRow.__table__)
_CALLERS = cast(Table, CallerRow.__table__)

_FINAL = sorted(state.value for state in FINAL)
_HIDDEN = {"worker_id", "lease_until", "sent_at", "send_count", "boost"}
_JOB = select(*(c for c in _JOBS.c if c.name not in _HIDDEN), _CALLERS.c.name.label("submitted_by")).join(
    _CALLERS, _CALLERS.c.id == _JOBS.c.caller_id
)


class Cursor(NamedTuple):
    """The key of the last job of a page; the next page starts after it."""

    created_at: float
    id: str


class Filters(NamedTuple):
    """What a listing is narrowed to; None and empty narrow nothing."""

    states: Sequence[State] = ()
    kind: str | None = None
    model_name: str | None = None
    model_version: int | None = None
    labels: Mapping[str, str] = MappingProxyType({})
    created_after: float | None = None


EVERYTHING = Filters()
"""No narrowing."""


def get(db: Database, job_id: str, caller_id: int | None = None) -> JobView | None:
    """A job of `caller_id` (of anyone for None) with its attempts."""
    found = get_many(db, [job_id])
    return found[0] if found and caller_id in (None, found[0].caller_id) else None


def get_many(db: Database, job_ids: Sequence[str]) -> list[JobView]:
    """The jobs that exist among `job_ids`, in their order."""

    def work(connection: Connection) -> list[JobView]:
        rows = connection.execute(_by_ids(db.dialect), {"asked": ids(job_ids)}).all()
        return _views(connection, rows)

    found = {view.id: view for view in db.query(work)} if job_ids else {}
    return [found[job_id] for job_id in job_ids if job_id in found]


def listing(
    db: Database, caller_id: int | None, filters: Filters = EVERYTHING, *, after: Cursor | None = None, limit: int = 50
) -> list[JobView]:
    """A page of jobs, newest first; the next page's cursor is the last one's `created_at` and `id`."""
    conditions, labels = _conditions(caller_id, filters), _labelled(filters.labels)
    for created_at, id_ in _keys(labels):
        if after is not None:
            older = and_(created_at == after.created_at, id_ < after.id)
            conditions += [created_at <= after.created_at, or_(created_at < after.created_at, older)]
        if filters.created_after is not None:
            conditions.append(created_at > filters.created_after)
    # A page for each state: the jobs of one lie together in an index, those of several do not. First the ids alone: an
    # index that holds all that is asked for is preferred to walking another one in hope.
    states = [[_JOBS.c.state == state.value] for state in dict.fromkeys(filters.states)]
    pages = [_page(select(_JOBS.c.id), labels, [*conditions, *state], limit) for state in states or [[]]]
    found = _JOBS.c.id.in_(union_all(*(select(page.subquery().c.id) for page in pages)))
    statement = _page(_JOB, [], [found], limit)
    return db.query(lambda c: _views(c, c.execute(statement).all()), planned_anew=True)


def _page(statement: Select[Any], labels: Sequence[Any], conditions: Sequence[Any], limit: int) -> Select[Any]:
    """The newest first, in the order of a label's index where there is one."""
    for label, same in labels:
        statement = statement.join(label, same)
    created_at, id_ = _keys(labels)[-1]
    return statement.where(*conditions).order_by(created_at.desc(), id_.desc()).limit(limit)


def _keys(labels: Sequence[Any]) -> list[tuple[Any, Any]]:
    """What a page is sorted by, in each table that has it: the planner is told of a bound only where it stands."""
    return [(_JOBS.c.created_at, _JOBS.c.id), *((label.c.created_at, label.c.job_id) for label, _ in labels)]


def _labelled(labels: Mapping[str, str]) -> list[Any]:
    """For each label the table of labels, and what joins it to the jobs that bear it.

    Not by `created_at`, too, though it is the same: PostgreSQL would take two equalities for two rare coincidences.
    """
    found = []
    for key, value in labels.items():
        label = _LABELS.alias()
        found.append((label, and_(label.c.job_id == _JOBS.c.id, label.c.key == key, label.c.value == value)))
    return found


def result(db: Database, job_id: str) -> StoredResult | None:
    """The committed result of a succeeded job, or None."""

    def work(connection: Connection) -> StoredResult | None:
        row = connection.execute(_RESULT, {"job": job_id}).one_or_none()
        if row is None:
            return None
        files = connection.execute(_FILES, {"job": job_id})
        return StoredResult(row.result, row.fence, tuple(StoredArtifact(*file) for file in files))

    return db.query(work)


def previews(db: Database, job_ids: Iterable[str]) -> dict[str, list[Preview]]:
    """What those of `job_ids` have shown that show anything, in the order of the names."""
    found: dict[str, list[Preview]] = {}
    rows = {"asked": ids(job_ids)}
    for job_id, *row in db.query(lambda connection: connection.execute(_shown(db.dialect), rows).all()):
        found.setdefault(job_id, []).append(Preview(*row))
    return found


def events(db: Database, job_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
    """A job's events with numbers above `after`, in order."""
    asked = {"job": job_id, "after": after, "most": limit}
    return [Event(*row) for row in db.query(lambda connection: connection.execute(_EVENTS_AFTER, asked).all())]


def events_since(db: Database, last: Mapping[str, int], limit: int = 10_000) -> dict[str, list[Event]]:
    """New events of many streams with one statement; `last`: job id -> newest number that the stream has."""
    if not last:
        return {}
    asked = {"streams": document({"id": key, "after": number} for key, number in last.items()), "most": limit}
    found: dict[str, list[Event]] = {}
    for row in db.query(lambda connection: connection.execute(_many_events(db.dialect), asked).all()):
        found.setdefault(row.job_id, []).append(Event(row.id, row.type, row.data, row.at))
    return found


def ended(db: Database, job_ids: Iterable[str]) -> set[str]:
    """Those of `job_ids` that nothing changes any more: ended, or deleted. One statement."""
    asked = set(job_ids)
    rows = {"asked": ids(asked)}
    alive = db.query(lambda connection: connection.execute(_alive(db.dialect), rows).scalars().all()) if asked else []
    return asked - set(alive)


def running_fences(db: Database, job_ids: Iterable[str]) -> dict[str, tuple[State, int]]:
    """State and fence of the jobs that exist among `job_ids`."""
    rows = {"asked": ids(job_ids)}
    found = db.query(lambda connection: connection.execute(_fences(db.dialect), rows).all())
    return {row.id: (State(row.state), row.fence) for row in found}


_RESULT = select(_RESULTS.c.result, _RESULTS.c.fence).where(_RESULTS.c.job_id == bindparam("job"))
_FILES = (
    select(_ARTIFACTS.c.name, _ARTIFACTS.c.media_type, _ARTIFACTS.c.size, _ARTIFACTS.c.item)
    .where(_ARTIFACTS.c.job_id == bindparam("job"))
    .order_by(_ARTIFACTS.c.item, _ARTIFACTS.c.name)
)
_EVENTS_AFTER = (
    select(_EVENTS.c.id, _EVENTS.c.type, _EVENTS.c.data, _EVENTS.c.at)
    .where(_EVENTS.c.job_id == bindparam("job"), _EVENTS.c.id > bindparam("after"))
    .order_by(_EVENTS.c.id)
    .limit(bindparam("most"))
)


@cache
def _by_ids(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    return _JOB.join(asked, _JOBS.c.id == asked.c.id)


@cache
def _attempts(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    columns = ("number", "worker_id", "fence", "started_at", "ended_at", "outcome", "error")
    return (
        select(_ATTEMPTS.c.job_id, *(_ATTEMPTS.c[name] for name in columns))
        .join(asked, _ATTEMPTS.c.job_id == asked.c.id)
        .order_by(_ATTEMPTS.c.job_id, _ATTEMPTS.c.number)
    )


@cache
def _alive(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    return select(_JOBS.c.id).join(asked, _JOBS.c.id == asked.c.id).where(_JOBS.c.state.not_in(_FINAL))


@cache
def _fences(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    return select(_JOBS.c.id, _JOBS.c.state, _JOBS.c.fence).join(asked, _JOBS.c.id == asked.c.id)


@cache
def _shown(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    return (
        select(_PREVIEWS.c.job_id, _PREVIEWS.c.name, _PREVIEWS.c.fence, _PREVIEWS.c.media_type)
        .join(asked, _PREVIEWS.c.job_id == asked.c.id)
        .order_by(_PREVIEWS.c.job_id, _PREVIEWS.c.name)
    )


@cache
def _many_events(dialect: str) -> Select[Any]:
    streams = relation(dialect, "streams", id=Text(), after=BigInteger())
    return (
        select(_EVENTS.c.job_id, _EVENTS.c.id, _EVENTS.c.type, _EVENTS.c.data, _EVENTS.c.at)
        .join(streams, and_(_EVENTS.c.job_id == streams.c.id, _EVENTS.c.id > streams.c.after))
        .order_by(_EVENTS.c.id)
        .limit(bindparam("most"))
    )


def _conditions(caller_id: int | None, filters: Filters) -> list[Any]:
    equal = {
        "caller_id": caller_id, "kind": filters.kind, "model_name": filters.model_name,
        "model_version": filters.model_version,
    }  # fmt: skip
    return [_JOBS.c[name] == value for name, value in equal.items() if value is not None]


def _views(connection: Connection, rows: Sequence[Any]) -> list[JobView]:
    attempts: dict[str, list[AttemptView]] = {}
    if rows:
        asked = {"asked": ids(row.id for row in rows)}
        for job_id, *rest in connection.execute(_attempts(connection.dialect.name), asked):
            attempts.setdefault(job_id, []).append(AttemptView(*rest))
    return [_view(row, tuple(attempts.get(row.id, ()))) for row in rows]


def _view(row: Any, attempts: tuple[AttemptView, ...]) -> JobView:
    values = dict(row._mapping)
    return JobView(**{**values, "state": State(values["state"]), "attempts": attempts})


__all__ = [
    "EVERYTHING", "Cursor", "Filters", "ended", "events", "events_since", "get", "get_many", "listing",
    "previews", "queue_depths", "result", "running_fences",
]  # fmt: skip
