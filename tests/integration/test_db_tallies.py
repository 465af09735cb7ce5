"""The totals behind the metrics are what the jobs' rows say, whatever happened to the jobs, on both databases."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from sqlalchemy import Connection, event, text

from db import jobs, tallies
from db.engine import Database
from db.records import Completion, Release
from jobs.errors import NotAnImage, StorageUnavailable
from jobs.states import Outcome, State
from tests.jobs_in_a_database import queued, running


def counts(db: Database, what: str) -> dict[tuple[str, ...], int]:
    """(kind, label, code) -> how many, over all buckets."""
    found: Counter[tuple[str, ...]] = Counter()
    for one in tallies.standing(db):
        if one.what == what:
            found[(one.kind, one.label, one.code)] += one.times
    return dict(found)


def succeeded(job_id: str, fence: int) -> Completion:
    return Completion(job_id, fence, State.SUCCEEDED, {"value": 1})


def rows(db: Database, statement: str) -> dict[tuple[str, ...], int]:
    with db.read() as connection:
        return {tuple(map(str, row[:-1])): row[-1] for row in connection.execute(text(statement))}


def test_given_jobs_that_ended_in_every_way_then_the_totals_equal_a_count_over_all_rows(database: Database) -> None:
    good, bad, again, cancelled = running(database, 4)
    (lost,) = running(database, 1, worker="dead")
    (expired,) = running(database, 1, worker="slow", lease_s=-1.0)
    bad_error = NotAnImage().as_dict()
    done = [succeeded(good.id, good.fence), Completion(bad.id, bad.fence, State.FAILED, error=bad_error)]
    assert len(jobs.complete(database, done)) == 2
    jobs.release(database, [Release(again.id, again.fence, Outcome.RETRIED, 0.0, StorageUnavailable().as_dict())])
    jobs.complete(database, [Completion(cancelled.id, cancelled.fence, State.CANCELLED)])
    jobs.abandon_worker(database, "dead", charge=True)
    jobs.expire_leases(database, worker_dead_s=20, max_crashes=3)
    (waiting,) = queued(database)
    jobs.request_cancel(database, waiting, None)

    ended = rows(database, "SELECT kind, state, count(*) FROM jobs WHERE finished_at IS NOT NULL GROUP BY kind, state")
    attempts = rows(
        database,
        "SELECT kind, outcome, count(*) FROM attempts JOIN jobs ON id = job_id WHERE ended_at IS NOT NULL"
        " GROUP BY kind, outcome",
    )
    begun = rows(database, "SELECT kind, count(*) FROM jobs WHERE attempt > 0 GROUP BY kind")
    assert {key[:2]: count for key, count in counts(database, tallies.JOBS).items()} == ended
    assert {key[:2]: count for key, count in counts(database, tallies.ATTEMPTS).items()} == attempts
    assert {key[:2]: count for key, count in counts(database, tallies.RUN).items()} == attempts
    assert {key[:1]: count for key, count in counts(database, tallies.WAIT).items()} == begun == {("diagnosis",): 6}
    assert attempts[("diagnosis", "lease-expired")] == attempts[("diagnosis", "worker-lost")] == 1
    assert counts(database, tallies.JOBS)[("diagnosis", "failed", NotAnImage.code)] == 1
    assert counts(database, tallies.ATTEMPTS)[("diagnosis", "retried", "storage-unavailable")] == 1
    assert lost.id != expired.id


def test_given_a_completion_that_is_repeated_or_comes_too_late_then_it_is_counted_once(database: Database) -> None:
    (claim,) = running(database)
    for _ in range(3):
        jobs.complete(database, [succeeded(claim.id, claim.fence)])
    jobs.complete(database, [Completion(claim.id, claim.fence, State.FAILED)])
    assert counts(database, tallies.JOBS) == {("diagnosis", "succeeded", ""): 1}


def test_given_a_transaction_that_is_undone_then_nothing_was_counted(database: Database) -> None:
    def count_and_fail(connection: Connection) -> None:
        tallies.add(connection, [tallies.Tally(tallies.JOBS, "diagnosis", "succeeded")])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.transact(count_and_fail)
    assert tallies.standing(database) == []


def test_how_long_a_job_waited_and_ran_is_what_its_rows_say_and_a_later_start_counts_no_wait_twice(
    database: Database,
) -> None:
    (claim,) = running(database)
    with database.write() as connection:
        connection.execute(text("UPDATE attempts SET started_at = started_at - 100"))
    jobs.release(database, [Release(claim.id, claim.fence, Outcome.DRAINED, charge=False)])
    jobs.claim(database, [claim.id], "w2", 30, "inference")
    (waited,) = [one for one in tallies.standing(database) if one.what == tallies.WAIT]
    (ran,) = [one for one in tallies.standing(database) if one.what == tallies.RUN]
    assert waited.times == 1
    assert waited.total < 10
    assert (ran.bucket, ran.label) == (120.0, "drained")
    assert 100 <= ran.total < 110


def test_given_a_job_that_was_to_run_later_then_its_wait_counts_from_then(database: Database) -> None:
    from db.depths import moment

    running(database, run_at=moment(database) - 0.001)
    (waited,) = [one for one in tallies.standing(database) if one.what == tallies.WAIT]
    (claim,) = running(database)
    assert waited.total < 5
    assert claim.attempt == 1


def test_values_beyond_the_largest_bound_and_below_zero_have_a_bucket(database: Database) -> None:
    with database.write() as connection:
        tallies.add(connection, [tallies.observed(tallies.RUN, "k", value) for value in (-5.0, 0.01, 1e7)])
    assert [(one.bucket, one.times, one.total) for one in tallies.standing(database)] == [
        (0.01, 2, 0.01), (tallies.BEYOND, 1, 1e7),
    ]  # fmt: skip


def test_an_error_code_that_is_not_ours_is_counted_as_other(database: Database) -> None:
    (claim,) = running(database)
    jobs.complete(database, [Completion(claim.id, claim.fence, State.FAILED, error={"code": "Doe^John"})])
    assert counts(database, tallies.JOBS) == {("diagnosis", "failed", "other"): 1}


def test_a_batch_of_many_jobs_costs_one_more_statement(database: Database) -> None:
    claims = running(database, 32)
    told: list[str] = []
    event.listen(database._engine, "before_cursor_execute", lambda *a: told.append(a[2]))
    jobs.complete(database, [succeeded(claim.id, claim.fence) for claim in claims])
    assert sum("tallies" in statement for statement in told) == 1
    assert "tallies" in [statement for statement in told if statement not in ("COMMIT",)][-1]


def test_given_many_threads_that_end_jobs_at_once_then_every_one_is_counted(database: Database) -> None:
    claims = running(database, 60)
    parts = [claims[n::6] for n in range(6)]

    def end(part: list) -> None:  # type: ignore[type-arg]
        for claim in part:
            jobs.complete(database, [succeeded(claim.id, claim.fence)])

    threads = [threading.Thread(target=end, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(database, tallies.JOBS) == {("diagnosis", "succeeded", ""): 60}
