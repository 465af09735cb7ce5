"""Counts and histograms over all jobs that ever ran, kept as running totals (docs/adr/0018-tallies.md).

A total is raised in the transaction that makes it true, so it is exact: what is rolled back is not counted, and what is
tried again is counted once. The raise is one statement for a whole batch, the last of its transaction and in the order
of the key, so that two transactions cannot wait for each other.
"""

from __future__ import annotations

import os
import socket
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import BigInteger, Connection, Float, Integer, Table, Text, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from db.batch import document, relation
from db.clock import now
from db.engine import Database
from db.rows import TallyRow

_TALLIES = cast(Table, TallyRow.__table__)

SHARDS = 16
"""More than there are processes that commit in the same millisecond; the table stays a few thousand rows long."""

SECONDS = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
)  # fmt: skip
"""Upper bounds of the buckets: from a job that found a warm model waiting to a training of a day."""

ITEMS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""The same for the sizes of batches."""

BEYOND = 1e300
"""The bucket of what is larger than every bound: neither JSON nor both databases have an infinity."""

WAIT, RUN, ATTEMPTS, JOBS = "wait", "run", "attempts", "jobs"
BATCHES, WEBHOOKS = "batches", "webhooks"
"""What is counted: seconds from submission to the first start (by kind), seconds of an attempt (kind, outcome),
attempts that ended (kind, outcome, error code), jobs that ended (kind, state, error code), items of a batch (kind),
calls of webhooks (outcome)."""


class Tally(NamedTuple):
    """What is added to one total, or what it stands at."""

    what: str
    kind: str
    label: str = ""
    code: str = ""
    bucket: float = 0.0
    times: int = 1
    total: float = 0.0


def observed(what: str, kind: str, value: float, label: str = "", bounds: tuple[float, ...] = SECONDS) -> Tally:
    """One value of a histogram. A clock that was set back makes none negative."""
    value = max(0.0, value)
    place = bisect_left(bounds, value)
    return Tally(what, kind, label, "", bounds[place] if place < len(bounds) else BEYOND, 1, value)


def add(connection: Connection, tallies: Iterable[Tally]) -> None:
    """Raise the totals, at the end of the transaction that they are true of: other writers of the shard wait for it."""
    rows = [one._asdict() for one in summed(tallies)]
    if not rows:
        return
    dialect = connection.dialect.name
    connection.execute(_raising(dialect), {"raised": document(rows), "shard": _shard(dialect)})


def summed(tallies: Iterable[Tally]) -> list[Tally]:
    """One tally for each total, in the order of the key."""
    found: dict[tuple[Any, ...], tuple[int, float]] = {}
    for *key, times, total in tallies:
        before = found.get(tuple(key), (0, 0.0))
        found[tuple(key)] = (before[0] + times, before[1] + total)
    return [Tally(*(*key, *values)) for key, values in sorted(found.items())]


def standing(db: Database) -> list[Tally]:
    """All totals, summed over the shards."""
    return [Tally(*row) for row in db.query(lambda connection: connection.execute(_STANDING).all())]


@cache
def _raising(dialect: str) -> Any:
    raised = relation(
        dialect, "raised", what=Text(), kind=Text(), label=Text(), code=Text(), bucket=Float(53), times=BigInteger(),
        total=Float(53),
    )  # fmt: skip
    columns = [raised.c[name] for name in ("what", "kind", "label", "code", "bucket", "times", "total")]
    # The condition is always true: without one SQLite takes ON CONFLICT for a join's ON.
    source = select(bindparam("shard", type_=Integer()).label("shard"), *columns).where(now() > 0)
    into = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(_TALLIES)
    added = into.from_select(
        ["shard", "what", "kind", "label", "code", "bucket", "count", "total"], source.order_by(*columns[:5])
    )
    return added.on_conflict_do_update(
        index_elements=list(_TALLIES.primary_key.columns),
        set_={"count": _TALLIES.c.count + added.excluded.count, "total": _TALLIES.c.total + added.excluded.total},
    )


def _shard(dialect: str) -> int:
    """SQLite has one writer at a time, so one shard. A process keeps its own: it is not worth a row per process."""
    return 0 if dialect == "sqlite" else zlib.crc32(f"{socket.gethostname()}:{os.getpid()}".encode()) % SHARDS


_KEY = (_TALLIES.c.what, _TALLIES.c.kind, _TALLIES.c.label, _TALLIES.c.code, _TALLIES.c.bucket)
_STANDING = select(*_KEY, func.sum(_TALLIES.c.count), func.sum(_TALLIES.c.total)).group_by(*_KEY).order_by(*_KEY)
