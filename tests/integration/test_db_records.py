"""Callers, files, workers and what is deleted when, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from db import audit, callers, depths, files, jobs, reading, retention, workers
from db.engine import Database
from db.records import Completion
from jobs.states import State
from tests.jobs_in_a_database import caller, queued, running

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def execute(db: Database, statement: str) -> None:
    with db.write() as connection:
        connection.execute(text(statement))


# -- callers ------------------------------------------------------------------------------------------------------


def test_given_a_token_when_it_is_shown_then_its_caller_is_known_and_the_database_holds_no_copy(
    database: Database,
) -> None:
    token = callers.create_token(database, "imaging-lab", ["read", "submit"])
    assert token.startswith("mj_")
    assert len(token) == 46
    who = callers.authenticate(database, token)
    assert who is not None
    assert (who.name, who.scopes) == ("imaging-lab", frozenset({"read", "submit"}))
    with database.read() as connection:
        stored = str(connection.execute(text("SELECT * FROM tokens")).all())
    assert token not in stored
    assert token[3:] not in stored


def test_given_wrong_revoked_and_expired_tokens_when_shown_then_nobody_is_known(database: Database) -> None:
    token = callers.create_token(database, "lab", ["read"])
    other = callers.create_token(database, "lab", ["read"], expires_in_s=-1)
    for wrong in ("", "mj_", token[:-1], token.upper(), token + "\x00", "\ud800", other):
        assert callers.authenticate(database, wrong) is None
    who = callers.authenticate(database, token)
    assert who is not None
    assert callers.revoke(database, who.token_id)
    assert not callers.revoke(database, who.token_id)
    assert callers.authenticate(database, token) is None
    assert [one.revoked_at is not None for one in callers.list_tokens(database, "lab")] == [True, False]
    with pytest.raises(ValueError, match="root"):
        callers.create_token(database, "lab", ["root"])
    with pytest.raises(ValueError, match="name"):
        callers.create_token(database, " ", ["read"])


# -- files and what is deleted -----------------------------------------------------------------------------------


def age(db: Database, seconds: float) -> None:
    execute(db, f"UPDATE blobs SET idle_since = idle_since - {seconds}")
    execute(db, f"UPDATE jobs SET finished_at = finished_at - {seconds}")


def swept(db: Database) -> list[str]:
    return sorted(retention.sweep_blobs(db, grace_s=3600, remove=lambda digest: True))


def finish(db: Database, **values: Any) -> str:
    (claim,) = running(db, **values)
    jobs.complete(db, [Completion(claim.id, claim.fence, State.SUCCEEDED, {})])
    return claim.id


def test_given_a_file_of_two_callers_when_one_forgets_it_then_the_other_still_has_it(database: Database) -> None:
    mine, theirs = caller(database), caller(database, "other")
    files.add(database, mine, ONE, 3, "image/png")
    assert files.get(database, theirs, ONE) is None
    files.add(database, theirs, ONE, 3, "application/dicom")
    assert files.forget(database, mine, ONE)
    assert not files.forget(database, mine, ONE)
    age(database, 4000)
    assert swept(database) == []
    view = files.get(database, theirs, ONE)
    assert view is not None
    assert (view.size, view.media_type) == (3, "application/dicom")
    files.forget(database, theirs, ONE)
    assert swept(database) == []  # the hour begins when the last owner goes
    age(database, 4000)
    assert swept(database) == [ONE]
    assert files.get(database, None, ONE) is None


def test_given_a_job_that_reads_a_file_when_its_caller_forgets_it_then_the_bytes_stay(database: Database) -> None:
    mine = caller(database)
    files.add(database, mine, ONE, 3, "image/png")
    queued(database, digests=[ONE], inputs=[ONE])
    files.forget(database, mine, ONE)
    age(database, 4000)
    assert swept(database) == []


def test_given_bytes_that_are_fresh_in_the_storage_when_swept_then_their_row_stays(database: Database) -> None:
    files.add(database, caller(database), ONE, 3, "image/png")
    files.forget(database, caller(database), ONE)
    age(database, 4000)
    assert retention.sweep_blobs(database, grace_s=3600, remove=lambda digest: False) == []
    assert swept(database) == [ONE]


def test_given_inputs_that_are_due_when_forgotten_then_shared_ones_stay_with_the_job_that_needs_them(
    database: Database,
) -> None:
    mine = caller(database)
    for digest in (ONE, TWO):
        files.add(database, mine, digest, 3, "image/png")
    done = finish(database, digests=[ONE, TWO], inputs=[ONE, TWO])
    queued(database, digests=[TWO], inputs=[TWO])
    assert retention.forget_inputs(database, older_s=3600) == 0
    age(database, 4000)
    assert retention.forget_inputs(database, older_s=3600) == 1
    assert retention.forget_inputs(database, older_s=3600) == 0
    view = reading.get(database, done)
    assert view is not None
    assert view.inputs_deleted_at is not None
    assert reading.result(database, done) is not None
    assert files.missing(database, mine, [ONE, TWO]) == {ONE}
    age(database, 4000)
    assert swept(database) == [ONE]


def test_given_an_ended_job_when_deleted_then_all_of_it_goes_but_the_audit_trail(database: Database) -> None:
    mine = caller(database)
    files.add(database, mine, ONE, 3, "image/png")
    done = finish(database, digests=[ONE], inputs=[ONE], callback_url="https://h/x")
    assert jobs.delete(database, done, mine).deleted
    with database.read() as connection:
        for table in ("jobs", "attempts", "events", "results", "artifacts", "outbox", "job_files", "holdings"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0, table
    assert [one.action for one in audit.listing(database, object=done)] == ["submit"]
    assert retention.unknown_jobs(database, [done]) == {done}


def test_given_records_that_are_due_when_purged_then_only_ended_ones_go(database: Database) -> None:
    done, waiting = finish(database), queued(database)[0]
    age(database, 4000)
    assert retention.purge_records(database, older_s=3600) == [done]
    assert retention.purge_records(database, older_s=3600) == []
    assert [view.id for view in reading.listing(database, None)] == [waiting]


def test_given_an_event_number_when_its_job_is_deleted_then_it_is_not_given_again(database: Database) -> None:
    done = finish(database)
    newest = reading.events(database, done)[-1].id
    jobs.delete(database, done, None)
    (again,) = queued(database)
    assert reading.events(database, again)[0].id > newest


# -- workers ---------------------------------------------------------------------------------------------------------


def test_given_workers_when_they_beat_drain_and_go_then_the_list_follows(database: Database) -> None:
    for name in ("a", "b"):
        workers.register(database, workers.Worker(name, "gpu1", 42, "inference", "cuda:0", {"torch": "2.13.0"}))
    assert workers.heartbeat(database, "a", ["job"], {"rss": 1}, "busy") == "run"
    assert workers.drain(database, "a")
    assert workers.heartbeat(database, "a", [], {"rss": 2}, "draining") == "drain"
    assert workers.heartbeat(database, "unknown", [], {}, "busy") is None
    shown = {worker.id: worker for worker in workers.live(database, dead_s=20)}
    assert shown["a"].memory == {"rss": 2}
    assert shown["a"].state == "draining"
    workers.gone(database, "b")
    assert [worker.id for worker in workers.live(database, dead_s=20)] == ["a"]
    execute(database, "UPDATE workers SET heartbeat_at = heartbeat_at - 100")
    assert workers.live(database, dead_s=20) == []
    assert workers.prune(database, older_s=60) == 2


def test_given_waiting_and_running_jobs_when_counted_then_depths_tell_them_apart(database: Database) -> None:
    queued(database, 3, priority=9)
    running(database, 2)
    finish(database)
    found = {(one.kind, one.priority, one.state): one.jobs for one in depths.queue_depths(database)}
    assert found == {("diagnosis", 9, State.QUEUED): 3, ("diagnosis", 5, State.RUNNING): 2}
