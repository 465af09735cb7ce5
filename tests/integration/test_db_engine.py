"""What happens when the database is cut off, locked, away or restarted."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from db import jobs, reading, schema
from db.engine import Database
from db.records import Completion
from jobs.errors import DatabaseUnavailable
from jobs.states import State
from tests.jobs_in_a_database import caller, new_job, queued, running
from tests.services.postgres import NoPostgres, Postgres


class CutAtCommit:
    """Stands in for a network that fails at COMMIT: after it, so that the commit happened and nobody heard of it."""

    def __init__(self, db: Database, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuts = 0
        real = db._engine.dialect.do_commit

        def commit(connection: Any) -> None:
            real(connection)
            if self.cuts == 0:
                self.cuts += 1
                server.cut(str(db.url.database))
                connection.execute("SELECT 1")  # finds that the line is dead

        monkeypatch.setattr(db._engine.dialect, "do_commit", commit)


@pytest.fixture
def on_postgres(postgres_url: str):  # type: ignore[no-untyped-def]
    db = Database(postgres_url)
    yield db
    db.close()


def test_given_a_completion_cut_at_commit_when_it_is_read_again_then_it_is_accepted_once(
    on_postgres: Database, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim,) = running(on_postgres)
    cut = CutAtCommit(on_postgres, postgres_server, monkeypatch)
    done = Completion(claim.id, claim.fence, State.SUCCEEDED, {"value": 1})
    assert jobs.complete(on_postgres, [done]) == {claim.id}
    assert cut.cuts == 1
    told = [one.data["state"] for one in reading.events(on_postgres, claim.id)]
    assert told == ["queued", "running", "succeeded"]


@pytest.mark.parametrize("key", [None, "k"])
def test_given_a_submission_cut_at_commit_when_it_is_read_again_then_there_is_one_job(
    on_postgres: Database, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    mine = caller(on_postgres)
    job = new_job(mine, idempotency_key=key, fingerprint="f")
    cut = CutAtCommit(on_postgres, postgres_server, monkeypatch)
    assert jobs.insert(on_postgres, [job], max_queued=10) == [(job.id, True)]
    assert cut.cuts == 1
    assert [view.id for view in reading.listing(on_postgres, mine)] == [job.id]
    assert len(reading.events(on_postgres, job.id)) == 1


def test_given_cut_connections_when_read_and_written_then_nobody_notices(
    on_postgres: Database, postgres_server: Postgres
) -> None:
    (job,) = queued(on_postgres)
    postgres_server.cut(str(on_postgres.url.database))
    assert reading.get(on_postgres, job) is not None
    postgres_server.cut(str(on_postgres.url.database))
    assert len(jobs.claim(on_postgres, [job], "w", 30, "inference")) == 1


def test_given_a_server_that_is_away_when_asked_then_the_error_says_so_at_once_and_later_all_is_well() -> None:
    try:
        server = Postgres()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    try:
        url = server.url(server.fresh())
        schema.upgrade(url)
        db = Database(url)
        (job,) = queued(db)
        server.halt(immediately=True)
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            reading.get(db, job)
        assert time.monotonic() - began < 5
        server.start()
        db.check()
        view = reading.get(db, job)
        assert view is not None
        assert view.state is State.QUEUED
        db.close()
    finally:
        server.stop()


def test_given_no_server_at_all_when_asked_then_the_error_says_so_at_once() -> None:
    db = Database("postgresql://nobody@127.0.0.1:1/none")
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as refused:
        db.check()
    assert time.monotonic() - began < 4
    assert refused.value.retryable


def test_given_rivals_that_deadlock_when_both_try_then_both_succeed(on_postgres: Database) -> None:
    one, two = sorted(queued(on_postgres, 2))
    gate = threading.Barrier(2, timeout=20)
    tries: list[str] = []

    def work(first: str, second: str) -> None:
        waited: list[bool] = []

        def body(connection: Connection) -> None:
            tries.append(first)
            connection.execute(text("UPDATE jobs SET stage = 'x' WHERE id = :id"), {"id": first})
            if not waited:
                waited.append(True)
                gate.wait()
            connection.execute(text("UPDATE jobs SET stage = 'x' WHERE id = :id"), {"id": second})

        on_postgres.transact(body)

    rival = threading.Thread(target=work, args=(two, one))
    rival.start()
    work(one, two)
    rival.join()
    assert len(tries) >= 3  # one of them was the victim, and tried again


def test_given_a_refused_row_when_the_error_is_shown_then_it_repeats_no_label(database: Database) -> None:
    with pytest.raises(Exception, match="priority_0_to_9") as refused:
        jobs.insert(database, [new_job(caller(database), priority=77, labels={"p": "MARKER^NAME"})], max_queued=10)
    shown: list[str] = []
    error: BaseException | None = refused.value
    while error is not None:
        shown += [repr(error), str(error)]
        error = error.__cause__ or error.__context__
    assert "MARKER" not in "".join(shown)


def test_given_another_process_in_a_write_when_sqlite_is_written_then_the_write_waits_and_reads_do_not(
    sqlite_url: str,
) -> None:
    db = Database(sqlite_url)
    (job,) = queued(db)
    other = sqlite3.connect(str(db.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    claimed: list[float] = []

    def claim() -> None:
        jobs.claim(db, [job], "w", 30, "inference")
        claimed.append(time.monotonic())

    thread = threading.Thread(target=claim)
    thread.start()
    began = time.monotonic()
    view = reading.get(db, job)
    assert time.monotonic() - began < 0.2
    assert view is not None
    assert view.state is State.QUEUED
    time.sleep(0.3)
    assert claimed == []
    freed = time.monotonic()
    other.execute("COMMIT")
    thread.join(timeout=10)
    assert claimed
    assert claimed[0] - freed < 0.5
    other.close()
    db.close()


def test_given_a_failing_transaction_when_it_ends_then_nothing_of_it_stays(database: Database) -> None:
    (job,) = queued(database)

    def work(connection: Connection) -> None:
        connection.execute(text("UPDATE jobs SET stage = 'half'"))
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        database.transact(work)
    view = reading.get(database, job)
    assert view is not None
    assert view.stage is None


def test_given_sqlite_when_a_connection_opens_then_commits_survive_a_power_cut(sqlite_url: str) -> None:
    db = Database(sqlite_url)
    with db.read() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert settings == {"journal_mode": "wal", "synchronous": 2}
    db.close()


def test_given_a_claim_when_sqlite_plans_it_then_the_table_is_searched_and_not_scanned(sqlite_url: str) -> None:
    from sqlalchemy.dialects import sqlite

    from db import moves

    db = Database(sqlite_url)
    for statement in (moves.claiming("sqlite"), moves._moving("sqlite")):
        shown = statement.compile(dialect=sqlite.dialect(paramstyle="named"))
        with db.read() as connection:
            values = {name: value.value for name, value in shown.binds.items()}
            names = {
                "asked": '[{"id":"x"}]',
                "moves": '[{"id":"x"}]',
                "claimed_by": "w",
                "lease_s": 1.0,
                "of_pool": "long",
            }
            plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + str(shown), {**values, **names}).all()
        assert not [row for row in plan if "SCAN jobs" in row[3]]
        assert [row for row in plan if "SEARCH jobs USING" in row[3]]
    db.close()


def test_given_a_url_that_cannot_serve_when_opened_then_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SQLite file"):
        Database("sqlite://")
    with pytest.raises(ValueError, match="postgresql://"):
        Database("mysql://host/db")
    with pytest.raises(DatabaseUnavailable):
        Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}").check()


def test_given_a_full_disk_when_sqlite_is_written_then_the_database_is_unavailable_and_then_well(
    sqlite_url: str,
) -> None:
    db = Database(sqlite_url, pool_size=1)
    (job,) = queued(db)
    with db.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")  # SQLite's own way to have no more room
    with pytest.raises(DatabaseUnavailable) as refused:
        queued(db, 2000)
    assert "full" in str(refused.value.facts)
    with db.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    assert len(jobs.claim(db, [job], "w", 30, "inference")) == 1
    db.close()


def test_given_a_writer_that_never_ends_when_sqlite_is_written_then_the_wait_is_bounded(
    sqlite_url: str,
) -> None:
    db = Database(sqlite_url, wait_s=0.2)
    other = sqlite3.connect(str(db.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        queued(db)
    assert time.monotonic() - began < 3
    other.close()
    db.close()


def test_given_a_lock_that_is_never_given_back_when_postgresql_is_written_then_the_wait_is_bounded(
    postgres_url: str,
) -> None:
    db, holder = Database(postgres_url, wait_s=1.0), Database(postgres_url)
    (job,) = queued(db)
    holding = text("UPDATE jobs SET stage = 'held' WHERE id = :id")
    began = time.monotonic()
    with holder.write() as connection:
        connection.execute(holding, {"id": job})
        with pytest.raises(DatabaseUnavailable) as refused:
            db.transact(lambda other: other.execute(holding, {"id": job}))
    assert "lock timeout" in str(refused.value.facts)
    assert time.monotonic() - began < 3  # half a second a lock, and no new try after a second
    holder.close()
    db.close()


def test_given_a_statement_that_does_not_end_when_postgresql_runs_it_then_it_is_cancelled_and_named_an_outage(
    postgres_url: str,
) -> None:
    db = Database(postgres_url, wait_s=0.5)
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as refused:
        db.query(lambda connection: connection.execute(text("SELECT pg_sleep(60)")))
    assert time.monotonic() - began < 5
    assert "timeout" in str(refused.value.facts)
    db.close()


def test_given_a_write_that_may_be_forgotten_when_it_ends_then_the_next_one_waits_for_the_disk_again(
    sqlite_url: str,
) -> None:
    db = Database(sqlite_url, pool_size=1)

    def level() -> object:
        with db.write() as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    with db.write(synced=False) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    assert level() == 2
    with pytest.raises(ZeroDivisionError), db.write(synced=False):
        raise ZeroDivisionError
    assert level() == 2
    db.close()
