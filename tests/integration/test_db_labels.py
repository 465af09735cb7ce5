"""Listings by label, and the table that they are read from, on both databases."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from alembic import command
from sqlalchemy import inspect, text

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
        held = {tuple(row) for row in connection.execute(text("SELECT job_id, key, value FROM job_labels"))}
    assert held == {(kept, "patient", "MARKER"), (kept, "site", "A"), (changed, "site", "B")}
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
