"""The database connection of a process: `Database(url)`. Nothing is opened at import or before first use."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

from jobs.errors import DatabaseUnavailable

T = TypeVar("T")

RETRIES = 6
"""Tries of one transaction: a deadlock or a cut connection passes at once, a restart of the database does not."""

_POSTGRESQL = {
    "connect_timeout": 3,  # an unreachable host is reported within a request's patience
    "keepalives_idle": 10,  # a peer that vanished without a word is noticed within half a minute
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds; the same while we are sending
}

_RETRYABLE_STATES = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "25P03"})
"""Serialization failure, deadlock, lock timeout, three kinds of shutdown, and our own idle timeout (SQLSTATE)."""


_UNUSABLE = ("53", "58", "57014")
"""Beginnings of SQLSTATEs: a server out of disk, memory or connections, its own input and output errors, and a
statement over its time."""

_SQLITE_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
    }
)  # fmt: skip


class Database:
    """One SQL database, SQLite or PostgreSQL; safe to share between threads, not across a fork."""

    def __init__(self, url: str, pool_size: int = 12, wait_s: float = 20.0) -> None:
        """`url` is SQLAlchemy's; `pool_size` bounds this process's connections (PostgreSQL allows 100 in all).

        `wait_s`: the longest wait for a turn to write and for a statement, far above any transaction of ours; half of
        it for a connection of the pool and for a lock, because whoever holds one longer is stuck.
        """
        self.url = _with_driver(make_url(url))
        self.dialect: str = self.url.get_backend_name()
        self._writing = threading.Lock()
        self._wait_s = wait_s
        make = _sqlite if self.dialect == "sqlite" else _postgresql
        self._engine = make(self.url, pool_size, wait_s)
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self, *, planned_anew: bool = False) -> Iterator[Connection]:
        """A connection in autocommit: each statement sees the newest commit, and no lock outlives it.

        `planned_anew`: PostgreSQL plans each statement for the values bound to it. Otherwise the driver prepares what
        comes often, and the server may keep one plan for all values: best for the short statements of a job's life, and
        a walk through millions of rows where one value is rare and the next is not, as in listings.
        """
        with self._reading.connect() as connection:
            anew = planned_anew and self.dialect == "postgresql"
            usual = _driver(connection).prepare_threshold if anew else None
            if anew:
                _driver(connection).prepare_threshold = None
            try:
                yield connection
            finally:
                if anew:
                    _driver(connection).prepare_threshold = usual

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[Connection]:
        """A connection in one transaction, committed at the end of the block and rolled back by an exception.

        Without `synced` SQLite does not wait for the disk: a power cut may undo the commit, and every later synced
        commit makes it last. For what may be forgotten together with the host: claims, leases, heartbeats.
        """
        if self.dialect != "sqlite":
            with self._engine.begin() as connection:
                yield connection
            return
        # Threads of this process queue on a lock, which wakes them at once; SQLite's own waiting sleeps up to 100 ms.
        deadline = time.monotonic() + self._wait_s
        if not self._writing.acquire(timeout=self._wait_s):
            raise DatabaseUnavailable(reason=f"no turn to write within {self._wait_s:g} s")
        try:
            with self._reading.connect() as connection:
                connection.begin()  # says so to SQLAlchemy alone, or Alembic would commit by itself
                if not synced:
                    _driver(connection).execute("PRAGMA synchronous=NORMAL")
                try:
                    _begin_immediate(connection, deadline)
                    yield connection
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    _driver(connection).rollback()  # nothing where SQLite rolled back itself, as on a full disk
                    raise
                finally:
                    if not synced:
                        _driver(connection).execute("PRAGMA synchronous=FULL")
        finally:
            self._writing.release()

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection whose transactions the caller begins and ends: for migrations."""
        with self._engine.connect() as connection:
            yield connection

    def transact(
        self, work: Callable[[Connection], T], *, again: Callable[[Connection], T] | None = None, synced: bool = True
    ) -> T:
        """Run `work` in one transaction, and again after a deadlock, a lock timeout or a cut connection.

        A connection that is cut at COMMIT leaves it open whether `work` was committed, so what is tried again must
        find out: by the conditions in its own statements, or by `again`, which stands in for `work` from then on.
        Raises `DatabaseUnavailable` when the database stays away. `synced`: see `write`.
        """

        def attempt(number: int) -> T:
            with self.write(synced=synced) as connection:
                return (again if again is not None and number > 0 else work)(connection)

        return self._persist(attempt)

    def query(self, work: Callable[[Connection], T], *, planned_anew: bool = False) -> T:
        """Run a read in autocommit, once more over a fresh connection where the pooled one was cut."""

        def attempt(_: int) -> T:
            with self.read(planned_anew=planned_anew) as connection:
                return work(connection)

        return self._persist(attempt)

    def check(self) -> None:
        """Raise `DatabaseUnavailable` unless the database answers."""
        self.query(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    def close(self) -> None:
        """Close the pooled connections."""
        self._engine.dispose()

    def _persist(self, attempt: Callable[[int], T]) -> T:
        deadline = time.monotonic() + self._wait_s
        for number in range(RETRIES):
            try:
                return attempt(number)
            except (DBAPIError, TimeoutError) as error:
                over = number == RETRIES - 1 or time.monotonic() > deadline
                if _unreachable(error) or (over and _passing(error)):
                    raise DatabaseUnavailable(reason=_reason(error)) from error
                if not _passing(error):
                    raise
                time.sleep(random.uniform(0.2, 1.0) * 0.02 * 2**number)  # noqa: S311 - spreads rivals
        raise AssertionError("unreachable: the last try returns or raises")


def _with_driver(url: URL) -> URL:
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ValueError("medjobs needs a SQLite file: sqlite:////path/to/medjobs.db (several processes share it).")
        return url
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise ValueError(f"Unknown database {url.get_backend_name()!r}: use sqlite:////path/to/file or postgresql://...")


def _sqlite(url: URL, pool_size: int, wait_s: float) -> Engine:
    # The pool's overflow is for reads: a writer holds one connection, and a reader must not wait for it.
    engine = create_engine(
        url, pool_size=pool_size, max_overflow=64, pool_timeout=wait_s / 2, hide_parameters=True,
        connect_args={"timeout": wait_s},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: IMMEDIATE for writes, none for reads
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")  # readers never wait for the writer
        cursor.execute("PRAGMA synchronous=FULL")  # a commit that was answered survives a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


def _postgresql(url: URL, pool_size: int, wait_s: float) -> Engine:
    limits = {
        "lock_timeout": wait_s / 2,  # the caller retries
        "statement_timeout": wait_s,  # no statement of ours needs a second; a lost plan must not hold the pool for ever
        "idle_in_transaction_session_timeout": wait_s,  # a process stopped in a transaction gives its row locks back
    }
    said = " ".join(f"-c {name}={int(1000 * seconds)}ms" for name, seconds in limits.items())
    said += " -c jit=off"  # compiling costs up to a second, where a table is large and the statement reads a few rows
    options = {name: value for name, value in {**_POSTGRESQL, "options": said}.items() if name not in url.query}
    engine = create_engine(
        url, pool_size=pool_size, max_overflow=pool_size, pool_timeout=wait_s / 2, hide_parameters=True,
        connect_args=options,
    )  # fmt: skip

    @event.listens_for(engine, "handle_error")
    def _keep_rows_out(context: ExceptionContext) -> None:
        # PostgreSQL's DETAIL repeats the row that was refused, and a row's labels are patient data.
        original = context.original_exception
        primary = getattr(getattr(original, "diag", None), "message_primary", None)
        if primary and context.sqlalchemy_exception is not None:
            original.args = (primary,)
            context.sqlalchemy_exception.args = (f"({type(original).__name__}) {primary}",)

    return engine


def _driver(connection: Connection) -> Any:
    """The driver's own connection: SQLAlchemy's path costs 50 us a statement, and these come with every write."""
    return connection.connection.driver_connection


def _begin_immediate(connection: Connection, deadline: float) -> None:
    """Take SQLite's write lock, asking every millisecond or two: its own busy handler backs off to 100 ms."""
    driver = _driver(connection)
    (usual,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise DatabaseUnavailable(reason=str(error)) from error
                if time.monotonic() > deadline:
                    raise DatabaseUnavailable(reason="another process does not stop writing") from None
                time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311 - spreads rivals
    finally:
        driver.execute(f"PRAGMA busy_timeout={usual}")


def _passing(error: Exception) -> bool:
    """Whether the same transaction may succeed in a moment."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _RETRYABLE_STATES


def _unreachable(error: Exception) -> bool:
    """Whether the database cannot serve at all now: the caller hears it at once, not after our retries."""
    if isinstance(error, TimeoutError):
        return True
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.OperationalError):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _SQLITE_UNUSABLE
    state = getattr(original, "sqlstate", None)
    connecting = isinstance(error, OperationalError | InterfaceError) and getattr(error, "statement", None) is None
    return (connecting and state is None) or (state or "").startswith(_UNUSABLE)


def _reason(error: Exception) -> str:
    """What happened, without statement or parameters."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().splitlines()[0][:200]
