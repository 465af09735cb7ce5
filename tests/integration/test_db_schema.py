"""The migrations and the tables say the same, on both databases."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from db import datasets, jobs, models, reading, schema
from db.engine import Database
from db.records import Completion, NewJob
from db.rows import Row
from jobs.ids import new_id
from jobs.states import State
from tests.services.workers import ROOT


def constraints(db: Database) -> dict[str, dict[str, str]]:
    """CHECK constraints by table and name, without the spelling that a database gives them."""
    with db.read() as connection:
        found = inspect(connection)
        return {
            table: {
                str(one["name"]): re.sub(r"\s+", " ", str(one["sqltext"])) for one in found.get_check_constraints(table)
            }
            for table in found.get_table_names()
            if table != "alembic_version"
        }


def indexes(db: Database) -> dict[str, set[tuple[str | None, ...]]]:
    """Names and columns of the indexes by table."""
    with db.read() as connection:
        found = inspect(connection)
        return {
            table: {(one["name"], *one["column_names"]) for one in found.get_indexes(table)}
            for table in found.get_table_names()
            if table != "alembic_version"
        }


def test_given_a_migrated_database_when_it_is_compared_with_the_tables_then_nothing_differs(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Row.metadata) == []


def test_given_tables_made_from_the_classes_then_checks_and_indexes_equal_the_migrated_ones(
    database: Database, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if database.dialect == "sqlite":
        url = f"sqlite:///{tmp_path / 'other.db'}"
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.fresh())
    made = Database(url)
    with made.write() as connection:
        Row.metadata.create_all(connection)
    assert constraints(made) == constraints(database)
    assert indexes(made) == indexes(database)
    assert len(constraints(made)["jobs"]) >= 15
    made.close()


def test_given_several_processes_that_start_when_each_upgrades_then_all_end_at_the_newest(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue("postgres_server")
    for url in (f"sqlite:///{tmp_path / 'new.db'}", server.url(server.fresh())):
        assert schema.current(url) is None
        failed: list[BaseException] = []

        def start(url: str = url, failed: list[BaseException] = failed) -> None:
            try:
                schema.upgrade(url)
            except BaseException as error:
                failed.append(error)

        # Alembic keeps its context in a global of the process, so real rivals are processes; two in turn do here.
        for _ in range(2):
            thread = threading.Thread(target=start)
            thread.start()
            thread.join()
        assert failed == []
        assert schema.current(url) == schema.newest()


OLD_ROWS = (
    "INSERT INTO callers (id, name, webhook_secret, created_at) VALUES (1, 'lab', 's', 1.0)",
    "INSERT INTO blobs (digest, size, created_at, idle_since) VALUES ('sha256:{0:0>64}', 5, 1.0, 1.0)",
    "INSERT INTO holdings (caller_id, digest, media_type, created_at) VALUES (1, 'sha256:{0:0>64}', 'a/b', 1.0)",
    "INSERT INTO jobs (id, caller_id, kind, pool, state, priority, model_name, model_version, inputs, params, labels,"
    " seed, timeout_s, created_at) VALUES ('waiting', 1, 'diagnosis', 'inference', 'queued', 5, 'chest-pneumonia', 1,"
    " '[]', '{{}}', '{{}}', 0, 60.0, 1.0)",
    "INSERT INTO jobs (id, caller_id, kind, pool, state, priority, inputs, params, labels, seed, timeout_s, created_at,"
    " started_at, finished_at, attempt, fence) VALUES ('ended', 1, 'diagnosis', 'inference', 'succeeded', 5,"
    " '[]', '{{}}', '{{}}', 0, 60.0, 1.0, 2.0, 3.0, 1, 1)",
    "INSERT INTO events (job_id, type, data, at) VALUES ('ended', 'log', '{{\"message\": \"old\"}}', 2.0)",
    "INSERT INTO results (job_id, fence, result, created_at) VALUES ('ended', 1, '{{\"items\": [1]}}', 3.0)",
)
"""What a database of the first release may hold; written out, because today's classes write today's columns."""


@pytest.mark.parametrize("sort", ["sqlite", "postgresql"])
def test_given_a_database_of_the_first_release_with_rows_when_upgraded_then_all_are_there_and_the_new_parts_work(
    sort: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue("postgres_server") if sort == "postgresql" else None
    url = f"sqlite:///{tmp_path / 'old.db'}" if server is None else server.url(server.fresh())
    database = Database(url)
    with database.write() as connection:
        command.upgrade(schema._config(connection), "0001")
        for statement in OLD_ROWS:
            connection.execute(text(statement.format(7)))
    assert schema.current(url) == "0001"

    schema.upgrade(url)

    assert schema.current(url) == schema.newest() != "0001"
    result = reading.result(database, "ended")
    assert result is not None
    assert result.result == {"items": [1]}
    assert [view.pins for view in reading.listing(database, 1)] == [None, None]
    [claim] = jobs.claim(database, ["waiting"], "w1", 30.0, "inference")
    assert (claim.model_name, claim.model_version, claim.pins) == ("chest-pneumonia", 1, None)
    reserved = models.reserve(database, claim.id, claim.fence, name="lung", kind="diagnosis", content="c" * 64)
    assert reserved == models.Reserved(1, False)
    shown = ("artifact", {"name": "a.png", "media_type": "image/png", "href": "/a.png", "step": 1})
    assert jobs.append_events(database, claim.id, claim.fence, [shown])
    (old,) = reading.events(database, "ended")
    assert (old.data, old.at) == ({"message": "old"}, 2.0)
    assert [event.type for event in reading.events(database, claim.id, after=old.id)] == ["state", "artifact"]
    if sort == "sqlite":
        with database.read() as connection:
            table = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'events'")).scalar_one()
        assert "AUTOINCREMENT" in table  # or the number of a deleted newest row would be handed out again
    assert jobs.complete(database, [Completion("waiting", claim.fence, State.CANCELLED)]) == {"waiting"}
    job = NewJob(new_id(), 1, "dataset", "inference", digests=[f"sha256:{7:0>64}"])
    assert datasets.create(database, job, "old-films", "d" * 64, max_queued=10).new
    database.close()


def test_given_another_process_that_migrates_when_one_upgrades_then_it_waits_longer_than_for_any_lock(
    request: pytest.FixtureRequest,
) -> None:
    server = request.getfixturevalue("postgres_server")
    url = server.url(server.fresh())
    impatient = f"{url}{'&' if '?' in url else '?'}options=-c%20lock_timeout%3D200ms"
    other, ended = Database(url), threading.Event()

    def upgrade() -> None:
        schema.upgrade(impatient)
        ended.set()

    with other.write() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": schema._LOCK})
        thread = threading.Thread(target=upgrade)
        thread.start()
        assert not ended.wait(1.0)
    thread.join(60)
    assert ended.is_set()
    assert schema.current(url) == schema.newest()
    other.close()


def test_given_a_backup_that_reads_when_indexes_are_built_then_it_holds_up_the_upgrade_and_nobody_else(
    request: pytest.FixtureRequest,
) -> None:
    server = request.getfixturevalue("postgres_server")
    url = server.url(server.fresh())
    database, ended = Database(url, wait_s=2.0), threading.Event()
    with database.session() as connection:
        command.upgrade(schema._config(connection), "0005")
        # As an upgrade that was killed would leave it: an index of the name that is of no use
        connection.execute(text("CREATE INDEX ix_jobs_newest_of_kind ON jobs (seed)"))
        connection.commit()

    def upgrade() -> None:
        schema.upgrade(url)
        ended.set()

    with database.session() as backup:
        backup.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        backup.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        backup.execute(text("SELECT count(*) FROM jobs"))
        thread = threading.Thread(target=upgrade)
        thread.start()
        assert not ended.wait(3.0)  # longer than any lock is waited for
        with database.write() as connection:
            for statement in (OLD_ROWS[0], OLD_ROWS[3]):
                connection.execute(text(statement.format(7)))
        assert jobs.claim(database, ["waiting"], "w1", 30.0, "inference") != []
        assert schema.current(url) == "0005"
        backup.rollback()
    thread.join(60)
    assert ended.is_set()
    assert schema.current(url) == schema.newest()
    with database.read() as connection:
        (found,) = (one for one in inspect(connection).get_indexes("jobs") if one["name"] == "ix_jobs_newest_of_kind")
        assert found["column_names"] == ["kind", "created_at", "id"]
        unusable = connection.execute(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")).scalar_one()
    assert unusable == 0
    database.close()


def test_given_two_processes_that_upgrade_at_once_then_one_waits_and_both_end_well(
    request: pytest.FixtureRequest,
) -> None:
    """Who waits must hold no snapshot, for whose end the other's index would wait: they would wait for each other."""
    server = request.getfixturevalue("postgres_server")
    url = server.url(server.fresh())
    code = "import sys; from db import schema; schema.upgrade(sys.argv[1])"
    both = [
        subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=120)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert schema.current(url) == schema.newest()
