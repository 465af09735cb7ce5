"""Which caller holds which bytes. The bytes themselves are in the storage, put there before the row is written."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Select, Table, Text, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.batch import ids, relation
from db.clock import now
from db.engine import Database
from db.rows import BlobRow, HoldingRow

_BLOBS = cast(Table, BlobRow.__table__)
_HOLDINGS = cast(Table, HoldingRow.__table__)


class FileView(NamedTuple):
    """A file as its caller sees it; `size` in bytes."""

    digest: str
    size: int
    media_type: str
    created_at: float


def add(db: Database, caller_id: int, digest: str, size: int, media_type: str) -> FileView:
    """The caller uploaded these bytes, which lie in the storage already. Again is the same file."""

    def work(connection: Connection) -> FileView:
        insert: Any = postgresql.insert if db.dialect == "postgresql" else sqlite.insert
        blob = insert(_BLOBS).values(digest=digest, size=size, created_at=now(), idle_since=now())
        connection.execute(blob.on_conflict_do_update(index_elements=["digest"], set_={"idle_since": now()}))
        holding = insert(_HOLDINGS).values(caller_id=caller_id, digest=digest, media_type=media_type, created_at=now())
        connection.execute(holding.on_conflict_do_nothing())
        return FileView(*connection.execute(_HELD, {"digest": digest, "caller": caller_id}).one())

    return db.transact(work)


def get(db: Database, caller_id: int | None, digest: str) -> FileView | None:
    """A file that `caller_id` holds (anyone, for None)."""
    asked = {"digest": digest, "caller": caller_id}
    statement = _HELD if caller_id is not None else _HELD_BY_ANY
    row = db.query(
        lambda connection: connection.execute(statement, asked if caller_id is not None else {"digest": digest}).first()
    )
    return None if row is None else FileView(*row)


def forget(db: Database, caller_id: int, digest: str) -> bool:
    """Drop the caller's holding; False where there is none. Jobs that are to read the bytes keep them alive."""

    def work(connection: Connection) -> bool:
        mine = and_(_HOLDINGS.c.caller_id == caller_id, _HOLDINGS.c.digest == digest)
        if connection.execute(delete(_HOLDINGS).where(mine)).rowcount == 0:
            return False
        connection.execute(update(_BLOBS).where(_BLOBS.c.digest == digest).values(idle_since=now()))
        return True

    return db.transact(work)


def missing(db: Database, caller_id: int, digests: Iterable[str]) -> set[str]:
    """Those of `digests` that the caller does not hold."""
    asked = set(digests)
    held = {"asked": ids(asked), "caller": caller_id}
    return asked - set(db.query(lambda c: c.execute(_held_of(db.dialect), held).scalars().all())) if asked else set()


_VIEW = select(_HOLDINGS.c.digest, _BLOBS.c.size, _HOLDINGS.c.media_type, _HOLDINGS.c.created_at).join(
    _BLOBS, _BLOBS.c.digest == _HOLDINGS.c.digest
)
_HELD_BY_ANY = _VIEW.where(_HOLDINGS.c.digest == bindparam("digest")).limit(1)
_HELD = _VIEW.where(_HOLDINGS.c.digest == bindparam("digest"), _HOLDINGS.c.caller_id == bindparam("caller"))


@cache
def _held_of(dialect: str) -> Select[Any]:
    asked = relation(dialect, "asked", id=Text())
    return (
        select(_HOLDINGS.c.digest)
        .join(asked, asked.c.id == _HOLDINGS.c.digest)
        .where(_HOLDINGS.c.caller_id == bindparam("caller"))
    )
