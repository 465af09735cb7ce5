"""How much of the table statements read, where PostgreSQL's statistics are of a time when nothing waited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from db import jobs, reading, schema, workers
from db.engine import Database
from db.records import Claim, Completion, Release
from jobs.states import Outcome, State
from tests.jobs_in_a_database import caller

WAITING, ENDED, BATCH = 4_000, 20_000, 32
MOST_READ = 1_000
"""Rows of `jobs`: a batch of 32 and a page of 50 need far fewer, and what waits is far more."""

ADD = """
INSERT INTO jobs (id, caller_id, kind, pool, state, priority, inputs, params, labels, seed, timeout_s, created_at,
    sent_at, started_at, finished_at, attempt, fence, worker_id, lease_until)
  SELECT '{state}-' || n, {caller}, 'diagnosis', 'inference', '{state}', 5, '[]', '{{}}', jsonb_build_object(
      'site', substr('ABCD', 1 + mod(n, 4), 1), 'study', CASE WHEN mod(n, 5000) = 7 THEN 'rare' ELSE 'other' END),
    0, 60, n, n, {started}, {ended}, {attempt}, {attempt}, {worker} FROM generate_series(1, {count}) AS n"""

NO_MODEL = ("diagnosis", None, None)
STATES: dict[str, dict[str, Any]] = {
    "succeeded": {"started": "n", "ended": "n", "attempt": 1, "worker": "NULL, NULL", "count": ENDED},
    "queued": {"started": "NULL", "ended": "NULL", "attempt": 0, "worker": "NULL, NULL", "count": WAITING},
    "running": {"started": "n", "ended": "NULL", "attempt": 1, "worker": "'other', 1e12", "count": WAITING},
}


@pytest.fixture(scope="module")
def burst(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database that was analysed when all its jobs had ended, before many came at once."""
    server = request.getfixturevalue("postgres_server")
    url = server.url(server.fresh())
    schema.upgrade(url)
    database = Database(url, pool_size=1)
    mine = caller(database)
    with database.session() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs SET (autovacuum_enabled = off)")
        for state, words in STATES.items():
            connection.exec_driver_sql(ADD.format(state=state, caller=mine, **words))
            if state == "succeeded":
                connection.exec_driver_sql("ANALYZE")
        connection.commit()
    workers.register(database, workers.Worker("w", "h", 1, "inference", "cpu"))
    yield database
    database.close()


def rows_read(database: Database, call: Callable[[], Any]) -> int:
    """Rows of `jobs` and of its labels that a call reads, by PostgreSQL's own count."""

    def so_far() -> int:
        with database.read() as connection:
            connection.execute(text("SELECT pg_stat_force_next_flush()"))  # of this session, when it is idle
        with database.read() as connection:
            of = "WHERE relname IN ('jobs', 'job_labels')"
            counted = f"SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables {of}"
            table = connection.execute(text(counted)).scalar_one()
            entries = f"SELECT sum(idx_tup_read) FROM pg_stat_user_indexes {of}"
            return int(table) + int(connection.execute(text(entries)).scalar_one())

    before = so_far()
    call()
    return so_far() - before


def some(first: int) -> list[str]:
    return [f"queued-{n}" for n in range(first, first + BATCH)]


def claimed(database: Database, first: int) -> list[Claim]:
    claims = jobs.claim(database, some(first), "w", 30.0, "inference")
    assert len(claims) == BATCH
    return claims


def test_given_old_statistics_when_many_wait_then_what_is_found_by_id_reads_no_others(burst: Database) -> None:
    assert rows_read(burst, lambda: reading.queue_depths(burst)) >= WAITING  # the count counts: it walks what waits
    assert rows_read(burst, lambda: jobs.mark_sent(burst, some(1))) < MOST_READ
    assert rows_read(burst, lambda: claimed(burst, 1)) < MOST_READ
    held = {claim.id: claim.fence for claim in claimed(burst, 101)}
    ids = list(held)
    assert rows_read(burst, lambda: jobs.renew(burst, "w", held, 30.0)) < MOST_READ
    assert rows_read(burst, lambda: jobs.progress(burst, ids[0], held[ids[0]], fraction=0.5, stage="fit")) < MOST_READ
    assert rows_read(burst, lambda: jobs.change_queue(burst, "inference", "any", NO_MODEL, "cpu", 10)) < MOST_READ
    done = [Completion(job_id, held[job_id], State.SUCCEEDED, {}) for job_id in ids[:16]]
    assert rows_read(burst, lambda: jobs.complete(burst, done)) < MOST_READ
    back = [Release(job_id, held[job_id], Outcome.DRAINED, 0.0, None, charge=False) for job_id in ids[16:]]
    assert rows_read(burst, lambda: jobs.release(burst, back)) < MOST_READ


@pytest.mark.parametrize(
    "filters",
    [
        reading.Filters(states=(State.QUEUED,)),
        reading.Filters(states=(State.QUEUED, State.RUNNING)),
        reading.Filters(kind="diagnosis"),
        reading.Filters(kind="prediction"),
        reading.Filters(labels={"site": "A"}),
        reading.Filters(labels={"study": "rare"}),
        reading.Filters(labels={"study": "rare", "site": "D"}),
        reading.Filters(labels={"site": "A"}, states=(State.SUCCEEDED,)),
    ],
    ids=str,
)
def test_given_old_statistics_when_many_wait_then_a_page_reads_little_more_than_itself(
    burst: Database, filters: reading.Filters
) -> None:
    mine = caller(burst)
    assert rows_read(burst, lambda: reading.listing(burst, None, filters)) < MOST_READ
    assert rows_read(burst, lambda: reading.listing(burst, mine, filters)) < MOST_READ


def test_given_old_statistics_when_many_wait_then_a_label_of_what_waits_reads_that_once_and_no_more(
    burst: Database,
) -> None:
    """Until the table is analysed again: from the index of states, each label is looked up."""
    filters = reading.Filters(labels={"site": "A"}, states=(State.QUEUED,))
    assert rows_read(burst, lambda: reading.listing(burst, None, filters)) < 5 * WAITING
