"""Queues in the database: who may claim what, where a job waits once it was handed on, and what nobody serves."""

from __future__ import annotations

from sqlalchemy import text

from db import depths, jobs, reading, workers
from db.engine import Database
from db.records import Release
from jobs.states import Outcome
from tests.jobs_in_a_database import caller, queued, running


def test_a_worker_claims_only_what_its_device_serves_whatever_message_comes(database: Database) -> None:
    """Given jobs of two queues, when a small card's worker asks for both, then it gets what fits."""
    (fits,), (large,) = queued(database, queue="gpu-8"), queued(database, queue="gpu-80")
    small = jobs.claim(database, [large, fits], "small", 30, "inference", ["gpu-8", "gpu", "any"])
    assert [claim.id for claim in small] == [fits]
    big = jobs.claim(database, [large, fits], "big", 30, "inference", ["gpu-80", "gpu-8", "gpu", "any"])
    assert [claim.id for claim in big] == [large]


def test_a_job_that_is_handed_on_waits_in_its_new_queue_and_its_message_goes_there(database: Database) -> None:
    (claim,) = running(database)
    back = Release(claim.id, claim.fence, Outcome.DRAINED, charge=False, queue="gpu-16")
    assert jobs.release(database, [back]) == {claim.id}
    (message,) = jobs.to_send(database)
    assert (message.id, message.queue) == (claim.id, "gpu-16")
    view = reading.get(database, claim.id)
    assert view is not None
    assert (view.queue, view.failures) == ("gpu-16", 0)
    assert jobs.claim(database, [claim.id], "small", 30, "inference", ["gpu", "any"]) == []
    (again,) = jobs.claim(database, [claim.id], "big", 30, "inference", ["gpu-16"])
    jobs.release(database, [Release(again.id, again.fence, Outcome.DRAINED, charge=False)])
    (message,) = jobs.to_send(database)
    assert message.queue == "gpu-16"


def test_lost_messages_are_found_queue_by_queue(database: Database) -> None:
    (small,), (large,) = queued(database), queued(database, queue="gpu-80")
    jobs.mark_sent(database, [small, large])
    assert {one.id for one in jobs.lost(database, "inference", resend_s=-1)} == {small, large}
    (lost,) = jobs.lost(database, "inference", resend_s=-1, queue="gpu-80")
    assert (lost.id, lost.queue) == (large, "gpu-80")
    assert depths.waiting(database, "inference") == ["any", "gpu-80"]
    assert depths.waiting(database, "long") == []


def test_what_waits_where_nobody_serves_is_counted(database: Database) -> None:
    """Given workers of this release and of the one before, then only queues that none of them serves are listed."""
    queued(database, 2, queue="gpu-80")
    queued(database, 1, queue="cpu")
    queued(database, 3)
    assert [one[:3] for one in depths.unserved(database, 20)] == [
        ("inference", "any", 3), ("inference", "cpu", 1), ("inference", "gpu-80", 2),
    ]  # fmt: skip
    workers.register(database, workers.Worker("old", "h", 1, "inference", "cpu"))
    workers.register(database, workers.Worker("new", "h", 2, "inference", "cpu", {"queues": ["cpu", "any"]}))
    workers.register(database, workers.Worker("long", "h", 3, "long", "cuda:0", {"queues": ["gpu-80"]}))
    dead = workers.Worker("place", "h", 4, "inference", "cuda:0", {"queues": ["gpu-80"]}, state="restarting")
    workers.register(database, dead)
    (left,) = depths.unserved(database, 20)
    assert left[:3] == ("inference", "gpu-80", 2)
    assert left.oldest_s >= 0
    workers.gone(database, "new")
    assert [one.queue for one in depths.unserved(database, 20)] == ["cpu", "gpu-80"]


def test_jobs_of_a_version_change_their_queue_and_their_messages_are_owed_anew(database: Database) -> None:
    """Given jobs that wait and one that runs, then those of that version that wait move, and no other is touched."""
    own = {"queue": "model-x", "model_name": "x"}
    moving = queued(database, 2, model_version=1, **own)
    (other,), (general,) = queued(database, model_version=2, **own), queued(database, model_name="x", model_version=1)
    (runs,) = queued(database, model_version=1, **own)
    jobs.mark_sent(database, [*moving, other, general, runs])
    assert len(jobs.claim(database, [runs], "w", 30, "inference", ["model-x"])) == 1
    versions = jobs.versions_in(database, "inference", "model-x")
    assert sorted(number for _, _, number in versions if number) == [1, 2]
    (first,) = [version for version in versions if version[2] == 1]
    assert jobs.change_queue(database, "inference", "model-x", first, "gpu-16") == 2
    assert {(one.id, one.queue) for one in jobs.to_send(database)} == {(job, "gpu-16") for job in moving}
    assert [view and view.queue for view in (reading.get(database, one) for one in (other, general, runs))] == [
        "model-x", "any", "model-x",
    ]  # fmt: skip
    assert jobs.change_queue(database, "inference", "model-x", first, "gpu-16") == 0


def test_a_release_that_does_not_know_the_column_inserts_and_claims(database: Database) -> None:
    """Given a row written as before, then it waits where every worker looks."""
    mine = caller(database)
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, caller_id, kind, pool, state, priority, inputs, params, labels, seed, timeout_s,"
                " created_at) VALUES ('old', :caller, 'k', 'inference', 'queued', 5, '[]', '{}', '{}', 0, 60, 0)"
            ),
            {"caller": mine},
        )
    (claim,) = jobs.claim(database, ["old"], "w", 30, "inference", ["cpu", "any"])
    assert claim.id == "old"
