"""The model registry: versions are reserved, made ready and never changed; aliases move and their moves are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Select, Table, Text, and_, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db import audit, callers
from db.clock import now
from db.engine import Database
from db.literals import RUNNING, still
from db.records import NewVersionRow, VersionFile
from db.refusals import NotOwner, OtherKind, VersionExists
from db.rows import AliasMoveRow, AliasRow, BlobRow, CallerRow, JobRow, ModelRow, ModelVersionRow, VersionFileRow

_MODELS = cast(Table, ModelRow.__table__)
_VERSIONS = cast(Table, ModelVersionRow.__table__)
_FILES = cast(Table, VersionFileRow.__table__)
_ALIASES = cast(Table, AliasRow.__table__)
_MOVES = cast(Table, AliasMoveRow.__table__)
_BLOBS = cast(Table, BlobRow.__table__)
_CALLERS = cast(Table, CallerRow.__table__)
_JOBS = cast(Table, JobRow.__table__)

RESERVED, READY = "reserved", "ready"
CANDIDATE, PRODUCTION = "candidate", "production"
"""Aliases with a meaning of their own: the newest registered version, and the one that jobs get by default."""


class Expected(Enum):
    """For an alias that may point wherever it does; None is one that points nowhere yet."""

    ANYTHING = "anything"


class Pin(NamedTuple):
    """What a reference means now."""

    name: str
    number: int
    kind: str


class Version(NamedTuple):
    """A ready version; `content` is a hash over its files."""

    name: str
    number: int
    kind: str
    manifest: dict[str, Any]
    content: str
    job_id: str | None
    shipped: bool
    caller_id: int | None
    created_at: float


class Model(NamedTuple):
    """A model's name: its owner (None: the administrators), gate, and aliases."""

    name: str
    kind: str
    caller_id: int | None
    gate: dict[str, Any] | None
    created_at: float
    aliases: dict[str, int]


class Reserved(NamedTuple):
    """The number that a job's version has; `existing` where the same files are registered under it already."""

    number: int
    existing: bool


class Moved(NamedTuple):
    """Where an alias pointed before and after."""

    before: int | None
    after: int


class AliasMove(NamedTuple):
    """One entry of an alias's history."""

    alias: str
    before: int | None
    after: int
    by: str | None
    at: float
    reason: str | None
    gate: dict[str, Any] | None


# -- registering ------------------------------------------------------------------------------------------------------


def reserve(db: Database, job_id: str, fence: int, *, name: str, kind: str, content: str) -> Reserved | None:
    """A version number for what a running job made; None where the job is no longer ours. Asked again: the same number.

    The number of a job that then fails stays unused. Raises `OtherKind`, or `NotOwner` where another caller took the
    name after this job was accepted for it.
    """

    def work(connection: Connection) -> Reserved | None:
        asked = {"job": job_id, "fence": fence}
        job = connection.execute(_RUNNING, asked).one_or_none()
        if job is None:
            return None
        owned_by = _locked(connection, name, kind, job.caller_id)
        if owned_by != job.caller_id and not callers.administers(connection, job.caller_id):
            raise NotOwner
        same = _same(connection, name, content)
        if same is not None:
            return Reserved(same, True)
        mine = connection.execute(select(_VERSIONS.c.name, _VERSIONS.c.number).where(_VERSIONS.c.job_id == job_id))
        held = mine.one_or_none()
        if held is not None:
            this = and_(_VERSIONS.c.name == held.name, _VERSIONS.c.number == held.number)
            connection.execute(update(_VERSIONS).where(this).values(content=content))
            return Reserved(held.number, False)
        number = _next(connection, name)
        row = {"name": name, "number": number, "state": RESERVED, "job_id": job_id, "content": content}
        connection.execute(insert(_VERSIONS).values(**row, caller_id=job.caller_id, created_at=now()))
        return Reserved(number, False)

    return db.transact(work)


def make_ready(connection: Connection, job_id: str, version: NewVersionRow) -> None:
    """In the transaction that completes the job: the version that it reserved is ready and the model's candidate.

    Raises `VersionExists` where the same files became ready since the number was reserved.
    """
    _turn(connection, version.name)
    same = _same(connection, version.name, version.content)
    if same is not None:
        raise VersionExists(same)
    this = and_(_VERSIONS.c.name == version.name, _VERSIONS.c.number == version.number)
    reserved = and_(this, _VERSIONS.c.job_id == job_id, _VERSIONS.c.state == RESERVED)
    values = {"state": READY, "content": version.content, "manifest": version.manifest, "created_at": now()}
    caller = connection.execute(
        update(_VERSIONS).where(reserved).values(**values).returning(_VERSIONS.c.caller_id)
    ).scalar_one()
    _add_files(connection, version.name, version.number, version.files)
    _move(connection, version.name, CANDIDATE, version.number, caller, "registered by its training job", None)
    audit.record(connection, caller, "register", f"{version.name}@{version.number}")


def add(
    db: Database, *, name: str, kind: str, caller_id: int | None, content: str, manifest: Mapping[str, Any],
    files: Sequence[VersionFile], shipped: bool = False, alias: str | None = CANDIDATE,
) -> Reserved:  # fmt: skip
    """Register a version that no job made; one with the same files is that one. Raises `OtherKind`."""

    def work(connection: Connection) -> Reserved:
        _locked(connection, name, kind, caller_id)
        same = _same(connection, name, content)
        if same is not None:
            return Reserved(same, True)
        number = _next(connection, name)
        row = {"name": name, "number": number, "state": READY, "content": content, "manifest": dict(manifest)}
        connection.execute(
            insert(_VERSIONS).values(**row, shipped=shipped, caller_id=caller_id, job_id=None, created_at=now())
        )
        _add_files(connection, name, number, files)
        if alias is not None:
            _move(connection, name, alias, number, caller_id, "shipped" if shipped else "registered", None)
        audit.record(connection, caller_id, "register", f"{name}@{number}")
        return Reserved(number, False)

    return db.transact(work)


# -- aliases and the gate ---------------------------------------------------------------------------------------------


def move_alias(
    db: Database, name: str, alias: str, number: int, *, caller_id: int | None, reason: str | None = None,
    gate: Mapping[str, Any] | None = None, expected: int | Expected | None = Expected.ANYTHING,
) -> Moved | None:  # fmt: skip
    """Point an alias at a ready version; None where there is no such version, or where `expected` (the version that
    the alias was seen at when the gate was judged, None for none) does not hold any more. Where it points there
    already, nothing is written."""

    def work(connection: Connection) -> Moved | None:
        _turn(connection, name)
        ready = and_(_VERSIONS.c.name == name, _VERSIONS.c.number == number, _VERSIONS.c.state == READY)
        if connection.execute(select(_VERSIONS.c.number).where(ready)).first() is None:
            return None
        before = _points_at(connection, name, alias)
        if expected is not Expected.ANYTHING and before != expected:
            return None
        if before != number:
            _move(connection, name, alias, number, caller_id, reason, None if gate is None else dict(gate))
            audit.record(connection, caller_id, "promote", f"{name}@{number} {alias}")
        return Moved(before, number)

    return db.transact(work)


def set_gate(db: Database, name: str, gate: Mapping[str, Any] | None, *, caller_id: int) -> bool:
    """Declare what a version has to show before production moves to it; False where there is no such model."""

    def work(connection: Connection) -> bool:
        statement = update(_MODELS).where(_MODELS.c.name == name).values(gate=None if gate is None else dict(gate))
        if connection.execute(statement).rowcount == 0:
            return False
        audit.record(connection, caller_id, "gate", name)
        return True

    return db.transact(work)


def history(db: Database, name: str, alias: str | None = None) -> list[AliasMove]:
    """How the aliases of a model (or one of them) moved, newest first."""
    columns = (_MOVES.c.alias, _MOVES.c.before, _MOVES.c.after, _CALLERS.c.name, _MOVES.c.at, _MOVES.c.reason)
    statement = select(*columns, _MOVES.c.gate).join_from(
        _MOVES, _CALLERS, _CALLERS.c.id == _MOVES.c.caller_id, isouter=True
    )
    statement = statement.where(_MOVES.c.name == name).order_by(_MOVES.c.id.desc())
    if alias is not None:
        statement = statement.where(_MOVES.c.alias == alias)
    return [AliasMove(*row) for row in db.query(lambda connection: connection.execute(statement).all())]


# -- reading ----------------------------------------------------------------------------------------------------------


def pin(db: Database, name: str, which: str) -> Pin | None:
    """What `name@which` means now; `which` is a number or an alias. One indexed query."""
    if which.isdecimal():
        asked: dict[str, Any] = {"name": name, "number": min(int(which), 2**31 - 1)}
        row = db.query(lambda connection: connection.execute(_BY_NUMBER, asked).first())
    else:
        row = db.query(lambda connection: connection.execute(_BY_ALIAS, {"name": name, "alias": which}).first())
    return None if row is None else Pin(*row)


def get(db: Database, name: str, number: int) -> Version | None:
    """A ready version."""
    asked = {"name": name, "number": min(number, 2**31 - 1)}
    row = db.query(lambda connection: connection.execute(_ONE_VERSION, asked).first())
    return None if row is None else Version(*row)


def versions(db: Database, *, name: str | None = None, kind: str | None = None) -> list[Version]:
    """Ready versions (of one model, of one kind), by name and then newest first."""
    statement = _VERSION.order_by(_VERSIONS.c.name, _VERSIONS.c.number.desc())
    if name is not None:
        statement = statement.where(_VERSIONS.c.name == name)
    if kind is not None:
        statement = statement.where(_MODELS.c.kind == kind)
    return [Version(*row) for row in db.query(lambda connection: connection.execute(statement).all())]


def models(db: Database, *, name: str | None = None) -> list[Model]:
    """The models that have a ready version (or one of them), by name."""
    statement = select(_MODELS).where(select(_VERSIONS.c.name).where(_READY_OF_MODEL).exists())
    aliases = select(_ALIASES)
    if name is not None:
        statement, aliases = statement.where(_MODELS.c.name == name), aliases.where(_ALIASES.c.name == name)

    def work(connection: Connection) -> list[Model]:
        points: dict[str, dict[str, int]] = {}
        for row in connection.execute(aliases):
            points.setdefault(row.name, {})[row.alias] = row.number
        found = connection.execute(statement.order_by(_MODELS.c.name))
        return [Model(r.name, r.kind, r.caller_id, r.gate, r.created_at, points.get(r.name, {})) for r in found]

    return db.query(work)


def owner(db: Database, name: str) -> tuple[str, int | None] | None:
    """(kind, owner) of a model's name, also where no version of it is ready yet; None where the name is free."""
    statement = select(_MODELS.c.kind, _MODELS.c.caller_id).where(_MODELS.c.name == name)
    row = db.query(lambda connection: connection.execute(statement).first())
    return None if row is None else (row.kind, row.caller_id)


def files(db: Database, name: str, number: int) -> list[VersionFile]:
    """The files of a version, by name."""
    this = and_(_FILES.c.name == name, _FILES.c.number == number)
    statement = select(_FILES.c.path, _FILES.c.digest, _FILES.c.size).where(this).order_by(_FILES.c.path)
    return [VersionFile(*row) for row in db.query(lambda connection: connection.execute(statement).all())]


# -- inside a transaction ---------------------------------------------------------------------------------------------


def _locked(connection: Connection, name: str, kind: str, caller_id: int | None) -> int | None:
    """The owner in the model's row, which is made where it is not there, and locked: numbers are given out one at a
    time."""
    into: Any = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(_MODELS)
    new = into.values(name=name, kind=kind, caller_id=caller_id, created_at=now())
    connection.execute(new.on_conflict_do_nothing())
    mine = select(_MODELS.c.kind, _MODELS.c.caller_id).where(_MODELS.c.name == name).with_for_update()
    found = connection.execute(mine).one()
    if found.kind != kind:
        raise OtherKind(found.kind)
    return cast("int | None", found.caller_id)


def _turn(connection: Connection, name: str) -> None:
    """Lock the model: its aliases move one after another, and each move tells where the one before left it."""
    connection.execute(select(_MODELS.c.name).where(_MODELS.c.name == name).with_for_update())


def _same(connection: Connection, name: str, content: str) -> int | None:
    """The number of the ready version with these files."""
    ready = and_(_VERSIONS.c.name == name, _VERSIONS.c.content == content, _VERSIONS.c.state == READY)
    statement = select(_VERSIONS.c.number).where(ready).order_by(_VERSIONS.c.number).limit(1)
    return connection.execute(statement).scalar_one_or_none()


def _next(connection: Connection, name: str) -> int:
    largest = select(func.coalesce(func.max(_VERSIONS.c.number), 0)).where(_VERSIONS.c.name == name)
    return int(connection.execute(largest).scalar_one()) + 1


def _add_files(connection: Connection, name: str, number: int, files: Sequence[VersionFile]) -> None:
    into: Any = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(_BLOBS)
    for file in sorted(files):
        blob = into.values(digest=file.digest, size=file.size, created_at=now(), idle_since=now())
        connection.execute(blob.on_conflict_do_update(index_elements=["digest"], set_={"idle_since": now()}))
        connection.execute(insert(_FILES).values(name=name, number=number, **file._asdict()))


def _points_at(connection: Connection, name: str, alias: str) -> int | None:
    this = and_(_ALIASES.c.name == name, _ALIASES.c.alias == alias)
    return connection.execute(select(_ALIASES.c.number).where(this)).scalar_one_or_none()


def _move(
    connection: Connection, name: str, alias: str, number: int, caller_id: int | None, reason: str | None,
    gate: dict[str, Any] | None,
) -> None:  # fmt: skip
    before = _points_at(connection, name, alias)
    into: Any = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(_ALIASES)
    row = into.values(name=name, alias=alias, number=number)
    connection.execute(row.on_conflict_do_update(index_elements=["name", "alias"], set_={"number": number}))
    told = {"name": name, "alias": alias, "before": before, "after": number, "reason": reason, "gate": gate}
    connection.execute(insert(_MOVES).values(**told, caller_id=caller_id, at=now()))


_RUNNING = (
    select(_JOBS.c.caller_id)
    .where(_JOBS.c.id == bindparam("job"), _JOBS.c.fence == bindparam("fence"), still(_JOBS, RUNNING))
    .with_for_update()
)
_READY_OF_MODEL = and_(_VERSIONS.c.name == _MODELS.c.name, _VERSIONS.c.state == READY)
_VERSION: Select[Any] = (
    select(
        _VERSIONS.c.name, _VERSIONS.c.number, _MODELS.c.kind, _VERSIONS.c.manifest, _VERSIONS.c.content,
        _VERSIONS.c.job_id, _VERSIONS.c.shipped, _VERSIONS.c.caller_id, _VERSIONS.c.created_at,
    )
    .join(_MODELS, _MODELS.c.name == _VERSIONS.c.name)
    .where(_VERSIONS.c.state == READY)
)  # fmt: skip
_ONE_VERSION = _VERSION.where(_VERSIONS.c.name == bindparam("name"), _VERSIONS.c.number == bindparam("number"))
_PIN = select(_VERSIONS.c.name, _VERSIONS.c.number, _MODELS.c.kind).join(_MODELS, _MODELS.c.name == _VERSIONS.c.name)
_PIN = _PIN.where(_VERSIONS.c.state == READY, _VERSIONS.c.name == bindparam("name", type_=Text))
_BY_NUMBER = _PIN.where(_VERSIONS.c.number == bindparam("number"))
_POINTED = and_(_ALIASES.c.name == _VERSIONS.c.name, _ALIASES.c.number == _VERSIONS.c.number)
_BY_ALIAS = _PIN.join(_ALIASES, _POINTED).where(_ALIASES.c.alias == bindparam("alias", type_=Text))
