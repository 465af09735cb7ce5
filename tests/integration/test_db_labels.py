"""Listings by label, and the table that they are read from, on both databases."""

from __future__ import annotations

import importlib
import itertools
import threading
from collections.abc import Iterator
from random import Random

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, text

from db import jobs, reading, retention, schema
from db.engine import Database
from db.records import JobView
from jobs.states import State
from tests.jobs_in_a_database import caller, queued

VALUES = ("A", "B", 'it\'s "quoted" $.a', "Ünï 心", "")
QUOTED = 'it\'s "a" key'


def pages(database: Database, filters: reading.Filters) -> list[JobView]:
    seen: list[JobView] = []
    after = None
    while page := reading.listing(database, caller(database), filters, after=after, limit=3):
        seen += page
        after = reading.Cursor(page[-1].created_at, page[-1].id)
    return seen


def held(database: Database) -> set[tuple[str, str, str]]:
    with database.read() as connection:
        return {tuple(row) for row in connection.execute(text("SELECT job_id, key, value FROM job_labels"))}


@pytest.fixture
def borne(database: Database) -> dict[str, dict[str, str]]:
    """Labels by the id of a job: 200 jobs, some of them created at the same moment, every third cancelled."""
    random, found = Random(7), {}
    for _ in range(40):
        labels = {key: random.choice(VALUES) for key in ("study", QUOTED, "site") if random.random() < 0.7}
        found.update(dict.fromkeys(queued(database, 5, labels=labels), labels))
    with database.write() as connection:
        connection.execute(text("UPDATE jobs SET created_at = round(created_at * 20) / 20"))
    for job_id in sorted(found)[::3]:
        jobs.request_cancel(database, job_id, None)
    return found


@pytest.mark.parametrize("states", [(), (State.QUEUED,), (State.QUEUED, State.CANCELLED)], ids=len)
@pytest.mark.parametrize(
    "asked", [{"study": "A"}, {"site": "", "study": VALUES[2]}, {QUOTED: VALUES[3]}, {"study": "none"}], ids=str
)
def test_given_jobs_with_labels_when_listed_by_them_then_each_that_bears_all_comes_once_newest_first(
    database: Database, borne: dict[str, dict[str, str]], asked: dict[str, str], states: tuple[State, ...]
) -> None:
    cancelled = set(sorted(borne)[::3])
    wanted = {job_id for job_id, labels in borne.items() if asked.items() <= labels.items()}
    if states == (State.QUEUED,):
        wanted -= cancelled

    seen = pages(database, reading.Filters(labels=asked, states=states))

    assert {view.id for view in seen} == wanted
    keys = [(view.created_at, view.id) for view in seen]
    assert all(newer > older for newer, older in itertools.pairwise(keys))
    for moment in {view.created_at for view in seen}:
        newer = pages(database, reading.Filters(labels=asked, states=states, created_after=moment))
        assert newer == [view for view in seen if view.created_at > moment]


def test_given_jobs_that_are_deleted_or_whose_labels_change_then_no_label_of_before_is_kept(database: Database) -> None:
    kept, changed, gone = queued(database, 3, labels={"patient": "MARKER", "site": "A"})
    jobs.request_cancel(database, gone, None)
    assert retention.delete_job(database, gone, None).deleted
    with database.write() as connection:
        connection.execute(text('UPDATE jobs SET labels = \'{"site": "B"}\' WHERE id = :id'), {"id": changed})
    assert held(database) == {(kept, "patient", "MARKER"), (kept, "site", "A"), (changed, "site", "B")}
    assert [view.id for view in pages(database, reading.Filters(labels={"site": "B"}))] == [changed]


OLD = (
    "INSERT INTO callers (id, name, webhook_secret, created_at) VALUES (1, 'imaging-lab', 's', 1.0)",
    "INSERT INTO jobs (id, caller_id, kind, pool, state, priority, inputs, params, labels, seed, timeout_s, created_at)"
    " VALUES ('old', 1, 'diagnosis', 'inference', 'queued', 5, '[]', '{}', '{\"study\": \"\\u00dc\"}', 0, 60.0, 1.0)",
)


def test_given_jobs_of_before_the_table_when_upgraded_then_they_are_found_by_label_and_no_other_index_is_kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = request.getfixturevalue("postgres_server")
    for url in (f"sqlite:///{tmp_path_factory.mktemp('labels') / 'old.db'}", server.url(server.fresh())):
        database = Database(url)
        with database.session() if database.dialect == "postgresql" else database.write() as connection:
            command.upgrade(schema._config(connection), "0007")
            for statement in OLD:
                connection.exec_driver_sql(statement)
            if database.dialect == "postgresql":
                connection.commit()

        schema.upgrade(url)

        (new,) = queued(database, labels={"study": "Ü"})
        assert [view.id for view in pages(database, reading.Filters(labels={"study": "Ü"}))] == [new, "old"]
        with database.read() as connection:
            assert "ix_jobs_labels" not in {one["name"] for one in inspect(connection).get_indexes("jobs")}
        database.close()


@pytest.fixture
def half_way(request: pytest.FixtureRequest) -> Iterator[Database]:
    """PostgreSQL at the revision with the triggers, with five jobs of before them."""
    server = request.getfixturevalue("postgres_server")
    database = Database(server.url(server.fresh()))
    with database.session() as connection:
        command.upgrade(schema._config(connection), "0007")
        connection.exec_driver_sql(OLD[0])
        for name in "abcde":
            labels = '{"patient": "MARKER", "gone": null}'
            connection.exec_driver_sql(OLD[1].replace("'old'", f"'{name}'").replace('{"study": "\\u00dc"}', labels))
        connection.commit()
        command.upgrade(schema._config(connection), "0008")
    yield database
    database.close()


def copy(connection: Connection, after: str = "", most: int = 2) -> str | None:
    """A batch of the migration's."""
    migration = importlib.import_module("db.migrations.versions.0009_labels_of_old_jobs")
    last: str | None = connection.execute(migration.COPY, {"after": after, "most": most}).scalar_one()
    return last


def upgraded(database: Database) -> threading.Thread:
    """The rest of the migrations, by somebody with little patience for locks."""
    url = database.url.render_as_string(hide_password=False)
    impatient = f"{url}{'&' if '?' in url else '?'}options=-c%20lock_timeout%3D200ms"
    thread = threading.Thread(target=lambda: schema.upgrade(impatient))
    thread.start()
    return thread


def test_given_a_copy_that_was_cut_off_when_upgraded_again_then_each_label_is_there_once_and_none_that_went(
    half_way: Database,
) -> None:
    with half_way.write() as connection:
        assert copy(connection, most=3) == "c"
    with half_way.write() as connection:
        connection.exec_driver_sql("DELETE FROM jobs WHERE id = 'a'")
        connection.exec_driver_sql("UPDATE jobs SET labels = '{}' WHERE id IN ('b', 'd')")
    upgraded(half_way).join(60)
    assert held(half_way) == {(name, "patient", "MARKER") for name in "ce"}


def test_given_a_label_that_is_being_struck_out_when_copied_then_it_is_gone_from_both(half_way: Database) -> None:
    ended = threading.Event()

    def work() -> None:
        with half_way.write() as connection:
            copy(connection)
        ended.set()

    with half_way.write() as operator:
        operator.exec_driver_sql("UPDATE jobs SET labels = '{}' WHERE id = 'a'")
        thread = threading.Thread(target=work)
        thread.start()
        assert not ended.wait(0.5)
    thread.join(60)
    assert held(half_way) == {("b", "patient", "MARKER")}


def test_given_a_backup_that_reads_when_the_old_index_is_dropped_then_that_waits_for_it(half_way: Database) -> None:
    with half_way.session() as backup:
        backup.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        backup.execute(text("SELECT count(*) FROM jobs"))
        thread = upgraded(half_way)
        thread.join(1.5)
        assert thread.is_alive()
        backup.rollback()
    thread.join(60)
    url = half_way.url.render_as_string(hide_password=False)
    assert schema.current(url) == schema.newest()
    with half_way.read() as connection:
        assert "ix_jobs_labels" not in {one["name"] for one in inspect(connection).get_indexes("jobs")}
