"""Which jobs may be what kills workers; they are run alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import Select, Table, Text, select

from db.batch import ids, relation
from db.engine import Database
from db.rows import JobRow

_JOBS = cast(Table, JobRow.__table__)


def crashed(db: Database, job_ids: Sequence[str]) -> set[str]:
    """Those among `job_ids` that were running in a worker that died."""
    if not job_ids:
        return set()
    asked = {"asked": ids(job_ids)}
    return db.query(lambda connection: set(connection.execute(_crashed(db.dialect), asked).scalars()))


@cache
def _crashed(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    return select(_JOBS.c.id).join(asked, _JOBS.c.id == asked.c.id).where(_JOBS.c.crashes > 0)
