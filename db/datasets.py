"""Data sets: a caller's name for a job of the kind `dataset`. State and facts are read from that job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Row, Select, Table, Text, and_, bindparam, delete, insert, select, update

from db import audit, submitting
from db.clock import now
from db.engine import Database
from db.literals import QUEUED, RUNNING
from db.records import NewJob
from db.refusals import DataSetExists, DataSetInUse
from db.rows import CallerRow, DataSetRow, JobRow, ResultRow
from jobs.datasets import DataSetState, state_of
from jobs.states import State

_SETS = cast(Table, DataSetRow.__table__)
_JOBS = cast(Table, JobRow.__table__)
_RESULTS = cast(Table, ResultRow.__table__)
_CALLERS = cast(Table, CallerRow.__table__)


@dataclass(frozen=True)
class DataSetView:
    """A data set as it stands. `item` is its job's result, `error` why it was refused; `fence` names the artifacts'
    folder."""

    caller_id: int
    name: str
    job_id: str
    content: str
    created_at: float
    state: DataSetState
    params: dict[str, Any]
    inputs: list[Any]
    error: dict[str, Any] | None
    item: dict[str, Any] | None
    fence: int | None


class Created(NamedTuple):
    """The data set of that name, and whether it is new."""

    data_set: DataSetView
    new: bool


def create(db: Database, job: NewJob, name: str, content: str, *, max_queued: int) -> Created:
    """Name a data set and queue the job that reads it, both or neither.

    The same content under the same name is the data set that is there; one that was refused is replaced. Raises
    `DataSetExists`, `QueueFull` or `UnknownFiles`.
    """
    submitting.admit(db, 1, max_queued)

    def work(connection: Connection) -> Created:
        connection.execute(_TURN, {"caller": job.caller_id})
        there = connection.execute(_OF_NAME, {"caller": job.caller_id, "name": name}).first()
        found = None if there is None else _view(there)
        if found is not None and found.state is not DataSetState.REJECTED:
            if found.content != content:
                raise DataSetExists
            return Created(found, found.job_id == job.id)
        submitting.add(connection, [job])
        values = {"job_id": job.id, "content": content, "created_at": now()}
        if found is None:
            connection.execute(insert(_SETS).values(caller_id=job.caller_id, name=name, **values))
        else:
            this = and_(_SETS.c.caller_id == job.caller_id, _SETS.c.name == name)
            connection.execute(update(_SETS).where(this).values(**values))
        audit.record(connection, job.caller_id, "dataset", name)
        made = connection.execute(_OF_NAME, {"caller": job.caller_id, "name": name}).one()
        return Created(_view(made), True)

    return db.transact(work)


def get(db: Database, caller_id: int, name: str) -> DataSetView | None:
    """The caller's data set of that name."""
    row = db.query(lambda connection: connection.execute(_OF_NAME, {"caller": caller_id, "name": name}).first())
    return None if row is None else _view(row)


def listing(db: Database, caller_id: int) -> list[DataSetView]:
    """The caller's data sets by name."""
    statement = _SET.where(_SETS.c.caller_id == caller_id).order_by(_SETS.c.name)
    return [_view(row) for row in db.query(lambda connection: connection.execute(statement).all())]


def forget(db: Database, caller_id: int, name: str) -> bool:
    """Give up a data set: its job may then be deleted as any other. False where there is none; `DataSetInUse`."""

    def work(connection: Connection) -> bool:
        # A submission that names it holds it until its job can be seen here (db/submitting.py).
        mine = {"caller": caller_id, "name": name}
        row = connection.execute(_OF_NAME.with_for_update(of=_SETS), mine).first()
        if row is None:
            return False
        # A job id is unlike anything else in a document, so a search in the text of the pins finds it and no more.
        waiting = (_JOBS.c.state == QUEUED) | (_JOBS.c.state == RUNNING)
        pinned = _JOBS.c.pins.is_not(None) & _JOBS.c.pins.cast(Text).contains(row.job_id, autoescape=True)
        if connection.execute(select(_JOBS.c.id).where(waiting, pinned).limit(1)).first() is not None:
            raise DataSetInUse
        connection.execute(delete(_SETS).where(_SETS.c.caller_id == caller_id, _SETS.c.name == name))
        audit.record(connection, caller_id, "forget-dataset", name)
        return True

    return db.transact(work)


def _view(row: Row[Any]) -> DataSetView:
    items = None if row.result is None else row.result["items"]
    return DataSetView(
        row.caller_id, row.name, row.job_id, row.content, float(row.created_at), state_of(State(row.state)),
        row.params, row.inputs, row.error, items[0] if items else None, row.fence,
    )  # fmt: skip


_SET: Select[Any] = (
    select(
        _SETS, _JOBS.c.state, _JOBS.c.params, _JOBS.c.inputs, _JOBS.c.error, _RESULTS.c.result, _RESULTS.c.fence,
    )
    .join(_JOBS, _JOBS.c.id == _SETS.c.job_id)
    .join(_RESULTS, _RESULTS.c.job_id == _SETS.c.job_id, isouter=True)
)  # fmt: skip
_OF_NAME = _SET.where(_SETS.c.caller_id == bindparam("caller"), _SETS.c.name == bindparam("name", type_=Text))
# Of two requests of one caller the second waits and then sees what the first made. Jobs that are inserted meanwhile do
# not wait: their foreign key takes a weaker lock (FOR KEY SHARE), which this one (FOR NO KEY UPDATE) lets pass.
_TURN = select(_CALLERS.c.id).where(_CALLERS.c.id == bindparam("caller")).with_for_update(key_share=True)
