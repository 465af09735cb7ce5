"""Each guard of the job table by a history of its own, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from db import jobs, outbox, reading, workers
from db.engine import Database
from db.records import Completion, Release, StoredArtifact
from db.refusals import KeyReused, QueueFull, UnknownFiles
from jobs.ids import new_id
from jobs.settings import Settings
from jobs.states import Outcome, State
from tests.jobs_in_a_database import caller, new_job, queued, running
from workers.ending import retry_delay

T = TypeVar("T")


def execute(db: Database, statement: str, **values: object) -> None:
    with db.write() as connection:
        connection.execute(text(statement), values)


def succeeded(job_id: str, fence: int, value: int = 1) -> Completion:
    return Completion(job_id, fence, State.SUCCEEDED, {"value": value}, [StoredArtifact("a.png", "image/png", 3, 0)])


# -- fence and lease ------------------------------------------------------------------------------------------------


def test_given_a_frozen_worker_when_its_job_was_taken_then_all_it_says_is_refused(database: Database) -> None:
    (old,) = running(database, worker="w1")
    assert jobs.release(database, [Release(old.id, old.fence, Outcome.DRAINED, charge=False)]) == {old.id}
    (new,) = jobs.claim(database, [old.id], "w1", 30, "inference")  # the same worker's name, a later claim

    assert new.fence > old.fence + 1
    assert jobs.renew(database, "w1", {old.id: old.fence}, 30).lost == {old.id}
    assert jobs.complete(database, [succeeded(old.id, old.fence, value=666)]) == set()
    assert jobs.release(database, [Release(old.id, old.fence, Outcome.RETRIED)]) == set()
    assert not jobs.progress(database, old.id, old.fence, fraction=0.9, stage="x")
    assert not jobs.append_event(database, old.id, old.fence, "log", {"message": "x"})
    assert not jobs.checkpointed(database, old.id, old.fence)

    assert jobs.complete(database, [succeeded(new.id, new.fence, value=1)]) == {new.id}
    stored = reading.result(database, new.id)
    assert stored is not None
    assert (stored.result, stored.fence) == ({"value": 1}, new.fence)


def test_given_another_workers_name_when_it_renews_then_the_lease_is_not_its_own(database: Database) -> None:
    (claim,) = running(database, worker="w1")
    assert jobs.renew(database, "w2", {claim.id: claim.fence}, 30).lost == {claim.id}


def test_given_a_completion_when_it_is_repeated_then_it_is_accepted_and_changes_nothing(database: Database) -> None:
    (claim,) = running(database)
    assert jobs.complete(database, [succeeded(claim.id, claim.fence, value=1)]) == {claim.id}
    before = (reading.get(database, claim.id), reading.result(database, claim.id))
    assert jobs.complete(database, [succeeded(claim.id, claim.fence, value=2)]) == {claim.id}
    assert jobs.complete(database, [Completion(claim.id, claim.fence, State.CANCELLED)]) == set()
    assert (reading.get(database, claim.id), reading.result(database, claim.id)) == before


def test_given_a_batch_with_one_unstorable_result_when_completed_then_only_that_job_fails(database: Database) -> None:
    good, bad = running(database, 2)
    done = [succeeded(good.id, good.fence), Completion(bad.id, bad.fence, State.SUCCEEDED, {"p": float("nan")})]
    assert jobs.complete(database, done) == {good.id, bad.id}
    views = {view.id: view for view in reading.get_many(database, [good.id, bad.id])}
    assert views[good.id].state is State.SUCCEEDED
    assert views[bad.id].state is State.FAILED
    assert "JSON cannot carry" in (views[bad.id].error or {})["detail"]


def test_given_a_result_with_strings_no_database_holds_when_read_then_they_are_as_written(database: Database) -> None:
    (claim,) = running(database, params={"text": "\x00 \ud800"}, labels={"a\x00": "b\ud800"})
    odd = {"text": "nul \x00 lone \ud800 é 😀"}
    assert jobs.progress(database, claim.id, claim.fence, fraction=2.0, stage="\x00", message="\udfff")
    assert jobs.complete(database, [Completion(claim.id, claim.fence, State.SUCCEEDED, odd)]) == {claim.id}
    stored, view = reading.result(database, claim.id), reading.get(database, claim.id)
    assert stored is not None
    assert view is not None
    assert stored.result == odd
    assert claim.params == {"text": "\x00 \ud800"}
    assert view.labels == {"a\ufffd": "b\ufffd"}
    assert reading.get(database, "no such \x00 id \ud800") is None
    found = reading.listing(database, None, reading.Filters(labels={"a\x00": "b\ud800"}))
    assert [one.id for one in found] == [claim.id]


# -- crashes, attempts, cancel -----------------------------------------------------------------------------------------


def silence(db: Database, worker: str, seconds: float) -> None:
    """The worker's last heartbeat, and its leases, are so long ago."""
    execute(db, "UPDATE workers SET heartbeat_at = heartbeat_at - :s WHERE id = :w", s=seconds, w=worker)
    execute(db, "UPDATE jobs SET lease_until = lease_until - :s WHERE worker_id = :w", s=seconds + 30, w=worker)


def watch(db: Database, seconds: float) -> None:
    """Keepers have looked for so long, until a moment ago."""
    jobs.expire_leases(db, worker_dead_s=20, max_crashes=3)
    execute(db, "UPDATE watch SET since = since - :s", s=seconds)


def registered(db: Database, name: str) -> str:
    workers.register(db, workers.Worker(name, "host", 1, "inference", "cpu"))
    return name


@pytest.mark.parametrize(
    ("silent_s", "watched_s", "outcome", "crashes"),
    [
        (25, 60, Outcome.WORKER_LOST, 1),  # the worker fell silent before our eyes
        (5, 60, Outcome.LEASE_EXPIRED, 0),  # the worker lives, its job stopped renewing
        (25, 10, Outcome.LEASE_EXPIRED, 0),  # the database was away, or the stack was restarted
    ],
)
def test_given_a_lease_that_ran_out_then_a_crash_is_charged_only_to_a_watched_death(
    database: Database, silent_s: float, watched_s: float, outcome: Outcome, crashes: int
) -> None:
    watch(database, watched_s)
    (claim,) = running(database, worker=registered(database, "w1"))
    silence(database, "w1", silent_s)
    (taken,) = jobs.expire_leases(database, worker_dead_s=20, max_crashes=3)
    view = reading.get(database, claim.id)
    assert view is not None
    assert (taken.id, taken.worker_id, taken.outcome, taken.state) == (claim.id, "w1", outcome, State.QUEUED)
    assert (view.crashes, view.failures, view.state) == (crashes, 0, State.QUEUED)


def test_given_a_gap_in_the_watch_when_a_keeper_looks_again_then_the_watch_starts_anew(database: Database) -> None:
    watch(database, 60)
    (claim,) = running(database, worker=registered(database, "w1"))
    silence(database, "w1", 25)
    execute(database, "UPDATE watch SET seen_at = seen_at - 11")  # more than half of what counts as dead
    (taken,) = jobs.expire_leases(database, worker_dead_s=20, max_crashes=3)
    assert (taken.id, taken.outcome) == (claim.id, Outcome.LEASE_EXPIRED)


def set_back(db: Database, seconds: float, *silent: str) -> None:
    """The database's clock is set back, and since then keepers have watched for longer than a heartbeat takes; the
    workers in `silent` have not spoken since."""
    execute(db, "UPDATE jobs SET lease_until = lease_until + :s", s=seconds)
    execute(db, "UPDATE watch SET since = since + :s, seen_at = seen_at + :s", s=seconds)
    for name in silent:
        execute(db, "UPDATE workers SET heartbeat_at = heartbeat_at + :s WHERE id = :w", s=seconds, w=name)


def test_given_a_clock_set_back_when_a_lease_ends_later_than_it_should_then_that_of_a_silent_worker_has_run_out(
    database: Database,
) -> None:
    watch(database, 60)
    (held,) = running(database, worker=registered(database, "lives"))
    (dead,) = running(database, worker=registered(database, "dead"))
    set_back(database, 3600, "dead", "lives")
    assert jobs.expire_leases(database, worker_dead_s=20, max_crashes=3) == []  # who lives has yet to speak
    assert workers.heartbeat(database, "lives", [held.id], {}, "running") == "run"
    watch(database, 21)
    (taken,) = jobs.expire_leases(database, worker_dead_s=20, max_crashes=3)
    assert (taken.id, taken.outcome, taken.state) == (dead.id, Outcome.LEASE_EXPIRED, State.QUEUED)
    assert jobs.renew(database, "lives", {held.id: held.fence, dead.id: dead.fence}, 30).lost == {dead.id}


def test_given_a_worker_without_a_record_when_its_lease_is_longer_than_a_day_then_it_has_run_out(
    database: Database,
) -> None:
    watch(database, 60)
    (short,) = running(database, worker="unknown", lease_s=86_000)
    (long,) = running(database, worker="unknown", lease_s=87_000)
    (taken,) = jobs.expire_leases(database, worker_dead_s=20, max_crashes=3)
    assert (taken.id, taken.outcome) == (long.id, Outcome.LEASE_EXPIRED)
    assert jobs.renew(database, "unknown", {short.id: short.fence}, 30).lost == set()


def test_given_a_worker_whose_host_allows_longer_leases_than_the_keepers_then_its_claims_are_left_alone(
    database: Database,
) -> None:
    """Given a lease far longer than any setting of the keeper, then it lives: only its worker's silence ends it."""
    watch(database, 60)
    running(database, worker=registered(database, "w1"), lease_s=40_000)
    assert jobs.expire_leases(database, worker_dead_s=20, max_crashes=3) == []


def test_given_three_dead_workers_when_the_third_is_known_then_the_job_failed_with_evidence(database: Database) -> None:
    (job,) = queued(database)
    for name in ("w1", "w2", "w3"):
        jobs.claim(database, [job], name, 30, "inference")
        jobs.abandon_worker(database, name, charge=True, max_crashes=3)
    view = reading.get(database, job)
    assert view is not None
    assert view.state is State.FAILED
    assert view.error is not None
    assert (view.error["code"], view.error["last_worker"]) == ("worker-crashed", "w3")
    assert [(one.worker, one.outcome) for one in view.attempts] == [(w, "worker-lost") for w in ("w1", "w2", "w3")]


def test_given_a_checkpoint_between_crashes_then_the_count_starts_anew(database: Database) -> None:
    (job,) = queued(database)
    for name in ("w1", "w2", "w3"):
        (claim,) = jobs.claim(database, [job], name, 30, "inference")
        assert jobs.checkpointed(database, job, claim.fence)
        jobs.abandon_worker(database, name, charge=True, max_crashes=2)
    view = reading.get(database, job)
    assert view is not None
    assert (view.state, view.crashes) == (State.QUEUED, 1)


def test_given_a_checkpoint_between_temporary_failures_then_the_count_and_the_pauses_start_anew(
    database: Database,
) -> None:
    """Given a week's training with a brief failure of the storage each day, then it is not failed for their number, and
    drains make no pause longer."""
    (job,) = queued(database)
    settings = Settings(retry_base_s=8, retry_cap_s=3600)
    for day in range(7):
        (claim,) = jobs.claim(database, [job], f"w{day}", 30, "inference")
        assert 8 * 0.8 <= retry_delay(claim, settings) <= 8 * 1.2
        assert jobs.checkpointed(database, job, claim.fence)
        assert jobs.release(database, [Release(job, claim.fence, Outcome.DRAINED, charge=False)]) == {job}
        (claim,) = jobs.claim(database, [job], f"w{day}", 30, "inference")
        jobs.release(database, [Release(job, claim.fence, Outcome.RETRIED)], max_attempts=3)
        (claim,) = jobs.claim(database, [job], f"w{day}", 30, "inference")
        assert 16 * 0.8 <= retry_delay(claim, settings) <= 16 * 1.2
        assert jobs.checkpointed(database, job, claim.fence)
        jobs.release(database, [Release(job, claim.fence, Outcome.DRAINED, charge=False)])
    view = reading.get(database, job)
    assert view is not None
    assert (view.state, view.failures, view.attempt) == (State.QUEUED, 0, 21)


def test_given_temporary_failures_when_they_reach_the_limit_then_the_last_one_is_named(database: Database) -> None:
    (job,) = queued(database)
    error = {"code": "storage-unavailable", "detail": "disk full"}
    for number in range(3):
        (claim,) = jobs.claim(database, [job], f"w{number}", 30, "inference")
        back = Release(job, claim.fence, Outcome.RETRIED, error=error)
        assert jobs.release(database, [back], max_attempts=3) == {job}
    view = reading.get(database, job)
    assert view is not None
    assert view.state is State.FAILED
    assert view.error is not None
    assert (view.error["code"], view.error["last"]) == ("attempts-exhausted", error)


def test_given_a_delay_when_a_job_is_handed_back_then_nobody_takes_or_sends_it_before(database: Database) -> None:
    (claim,) = running(database)
    jobs.release(database, [Release(claim.id, claim.fence, Outcome.RETRIED, delay_s=60)])
    assert jobs.claim(database, [claim.id], "w2", 30, "inference") == []
    assert jobs.to_send(database) == []
    execute(database, "UPDATE jobs SET run_at = run_at - 61")
    assert [message.id for message in jobs.to_send(database)] == [claim.id]
    assert [one.attempt for one in jobs.claim(database, [claim.id], "w2", 30, "inference")] == [2]


def test_given_a_pending_cancel_when_the_job_comes_back_then_it_is_cancelled(database: Database) -> None:
    handed, expired = running(database, 2)
    for claim in (handed, expired):
        answer = jobs.request_cancel(database, claim.id, claim.caller_id)
        assert answer is not None
        assert (answer.accepted, answer.state) == (True, State.RUNNING)
    assert jobs.renew(database, "w1", {handed.id: handed.fence}, 30).cancelled == {handed.id}
    jobs.release(database, [Release(handed.id, handed.fence, Outcome.DRAINED, charge=False)])
    jobs.abandon_worker(database, "w1", charge=False)
    assert [view.state for view in reading.get_many(database, [handed.id, expired.id])] == [State.CANCELLED] * 2


def test_given_other_callers_and_unknown_ids_when_they_cancel_or_delete_then_there_is_no_such_job(
    database: Database,
) -> None:
    (job,) = queued(database)
    stranger = caller(database, "stranger")
    assert jobs.request_cancel(database, job, stranger) is None
    assert jobs.delete(database, job, stranger).state is None
    assert jobs.request_cancel(database, new_id(), None) is None
    refused = jobs.delete(database, job, caller(database))
    assert (refused.deleted, refused.state) == (False, State.QUEUED)


# -- submission ------------------------------------------------------------------------------------------------------


def test_given_a_key_used_before_when_the_body_differs_then_it_is_refused_and_nothing_written(
    database: Database,
) -> None:
    mine = caller(database)
    first = new_job(mine, idempotency_key="k", fingerprint="one")
    jobs.insert(database, [first], max_queued=10)
    again = new_job(mine, idempotency_key="k", fingerprint="one")
    assert jobs.insert(database, [again], max_queued=10) == [(first.id, False)]
    other, plain = new_job(mine, idempotency_key="k", fingerprint="two"), new_job(mine)
    with pytest.raises(KeyReused) as refused:
        jobs.insert(database, [plain, other], max_queued=10)
    assert refused.value.positions == [1]
    assert reading.get(database, plain.id) is None
    theirs = new_job(caller(database, "other"), idempotency_key="k", fingerprint="two")
    assert jobs.insert(database, [theirs], max_queued=10) == [(theirs.id, True)]


def test_given_a_deleted_job_when_its_key_comes_again_then_the_key_still_stands_for_it(database: Database) -> None:
    mine = caller(database)
    first = new_job(mine, idempotency_key="k", fingerprint="one")
    jobs.insert(database, [first], max_queued=10)
    jobs.request_cancel(database, first.id, mine)
    assert jobs.delete(database, first.id, mine).deleted
    again = new_job(mine, idempotency_key="k", fingerprint="one")
    assert jobs.insert(database, [again], max_queued=10) == [(first.id, False)]


def test_given_one_key_from_eight_threads_when_all_submit_at_once_then_there_is_one_job(database: Database) -> None:
    mine = caller(database)

    def submit(_: int) -> tuple[str, bool]:
        return jobs.insert(database, [new_job(mine, idempotency_key="k", fingerprint="f")], max_queued=100)[0]

    answers = together(8, submit)
    assert len({job for job, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    assert len(reading.listing(database, mine)) == 1


def test_given_a_full_queue_when_more_is_submitted_then_it_is_refused_until_there_is_room(database: Database) -> None:
    mine = caller(database)
    ids = [one.id for one in jobs.insert(database, [new_job(mine) for _ in range(3)], max_queued=3)]
    with pytest.raises(QueueFull) as refused:
        jobs.insert(database, [new_job(mine)], max_queued=3)
    assert refused.value.waiting == 3
    jobs.claim(database, ids[:1], "w", 30, "inference")
    assert jobs.insert(database, [new_job(mine)], max_queued=3)[0].created


def test_given_files_of_another_caller_when_submitted_then_they_are_unknown(database: Database) -> None:
    from db import files

    digest, mine, other = "sha256:" + "a" * 64, caller(database), caller(database, "other")
    files.add(database, other, digest, 3, "application/dicom")
    with pytest.raises(UnknownFiles) as refused:
        jobs.insert(database, [new_job(mine, digests=[digest], inputs=[digest])], max_queued=10)
    assert refused.value.digests == [digest]
    files.add(database, mine, digest, 3, "application/dicom")
    assert jobs.insert(database, [new_job(mine, digests=[digest], inputs=[digest])], max_queued=10)[0].created


def together(count: int, work: Callable[[int], T]) -> list[T]:
    """Run `work` in so many threads that start at the same moment."""
    gate = threading.Barrier(count)

    def held(number: int) -> T:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(held, range(count)))


def test_given_eight_threads_when_they_claim_the_same_jobs_then_each_job_goes_to_one(database: Database) -> None:
    ids = queued(database, 200)

    def claim(number: int) -> list[str]:
        mine = ids if number % 2 else ids[::-1]  # in opposite orders, which deadlocks whoever locks as it is told
        parts = [mine[start : start + 25] for start in range(0, 200, 25)]
        return [one.id for part in parts for one in jobs.claim(database, part, f"w{number}", 30, "inference")]

    got = [job for part in together(8, claim) for job in part]
    assert sorted(got) == sorted(ids)


def test_given_completion_and_expiry_at_once_when_both_are_done_then_one_of_them_decided(database: Database) -> None:
    claims = running(database, 60)
    execute(database, "UPDATE jobs SET lease_until = 1")
    accepted: set[str] = set()
    taken: set[str] = set()

    def act(number: int) -> list[str]:
        if number == 0:
            for part in range(0, 60, 6):
                batch = [succeeded(one.id, one.fence) for one in claims[part : part + 6]]
                accepted.update(jobs.complete(database, batch))
        else:
            for _ in range(12):
                found = jobs.expire_leases(database, worker_dead_s=20, max_crashes=3, limit=7)
                taken.update(one.id for one in found)
        return []

    together(2, act)
    assert accepted | taken == {one.id for one in claims}
    assert not accepted & taken
    states = {view.id: view.state for view in reading.get_many(database, [one.id for one in claims])}
    assert {job for job, state in states.items() if state is State.SUCCEEDED} == accepted


# -- sending, webhooks, streams ---------------------------------------------------------------------------------------


def test_given_a_clock_set_back_when_jobs_were_made_or_sent_in_the_future_then_they_are_sent_again(
    database: Database,
) -> None:
    unsent, sent = queued(database, 2)
    jobs.mark_sent(database, [sent])
    assert jobs.to_send(database, fresh_s=5) == []  # the API is about to send it
    execute(database, "UPDATE jobs SET created_at = created_at + 3600, sent_at = sent_at + 3600")
    assert [one.id for one in jobs.to_send(database, fresh_s=5)] == [unsent]
    assert [one.id for one in jobs.lost(database, "inference", resend_s=10)] == [sent]
    jobs.mark_sent(database, [sent])
    assert jobs.lost(database, "inference", resend_s=10) == []


def test_given_sent_jobs_when_their_messages_are_lost_then_they_are_due_with_backoff(database: Database) -> None:
    (job,) = queued(database)
    jobs.mark_sent(database, [job])
    assert jobs.to_send(database) == []
    assert jobs.lost(database, "inference", resend_s=10) == []
    execute(database, "UPDATE jobs SET sent_at = sent_at - 11")
    assert [one.id for one in jobs.lost(database, "inference", resend_s=10)] == [job]
    assert jobs.lost(database, "long", resend_s=10) == []
    jobs.mark_sent(database, [job])  # the second time: now twice the patience
    execute(database, "UPDATE jobs SET sent_at = sent_at - 11")
    assert jobs.lost(database, "inference", resend_s=10) == []
    execute(database, "UPDATE jobs SET sent_at = sent_at - 11")
    assert [one.id for one in jobs.lost(database, "inference", resend_s=10)] == [job]
    with database.read() as connection:
        sent_at = connection.execute(text("SELECT sent_at FROM jobs")).scalar_one()
    assert jobs.lost(database, "inference", before=sent_at + 5, resend_s=10) == []  # it waits behind an older message


def test_given_a_sender_whose_clock_is_ahead_when_its_message_waits_then_the_backoff_holds_all_the_same(
    database: Database,
) -> None:
    """Given a stamp an hour in the future, then it is taken for now: the job is due as if its list were empty."""
    (job,) = queued(database)
    jobs.mark_sent(database, [job])
    ahead = database.query(lambda c: c.execute(text("SELECT sent_at FROM jobs")).scalar_one()) + 3600
    assert jobs.lost(database, "inference", before=ahead, resend_s=10) == []
    jobs.mark_sent(database, [job])
    execute(database, "UPDATE jobs SET sent_at = sent_at - 11")
    assert jobs.lost(database, "inference", before=ahead, resend_s=10) == []  # sent twice: twice the patience
    execute(database, "UPDATE jobs SET sent_at = sent_at - 11")
    assert [one.id for one in jobs.lost(database, "inference", before=ahead, resend_s=10)] == [job]


@pytest.mark.parametrize("wrong_s", [3600, -3600])
def test_given_a_sender_whose_clock_is_wrong_when_its_message_is_the_oldest_then_its_row_says_since_when(
    database: Database, wrong_s: float
) -> None:
    lost, head, waits = queued(database, 3)
    jobs.mark_sent(database, [lost, head, waits])
    execute(database, "UPDATE jobs SET sent_at = sent_at - 60")
    execute(database, "UPDATE jobs SET sent_at = sent_at - 11 WHERE id = :j", j=lost)
    stamp = database.query(lambda c: c.execute(text("SELECT max(sent_at) FROM jobs")).scalar_one()) + wrong_s
    found = jobs.lost(database, "inference", before=stamp, head=head, resend_s=10, priority=5)
    assert [one.id for one in found] == [lost]


def test_given_the_oldest_message_of_a_job_that_was_sent_again_or_rose_then_its_row_does_not_tell(
    database: Database,
) -> None:
    waits, again = queued(database, 2)
    jobs.mark_sent(database, [waits, again])
    stamp = database.query(lambda c: c.execute(text("SELECT max(sent_at) FROM jobs")).scalar_one()) - 60
    execute(database, "UPDATE jobs SET sent_at = sent_at - 60 WHERE id = :j", j=waits)
    for change in ("send_count = 2", "send_count = 1, boost = 1"):
        execute(database, f"UPDATE jobs SET {change} WHERE id = :j", j=again)
        assert jobs.lost(database, "inference", before=stamp, head=again, resend_s=10, priority=5) == []


def test_given_jobs_that_wait_long_when_boosted_then_each_rises_one_step_per_period(database: Database) -> None:
    (job,) = queued(database, priority=8)
    jobs.mark_sent(database, [job])
    assert jobs.boost(database, 600) == []
    execute(database, "UPDATE jobs SET created_at = created_at - 601")
    assert [one.priority for one in jobs.boost(database, 600)] == [9]
    assert jobs.boost(database, 600) == []
    execute(database, "UPDATE jobs SET created_at = created_at - 60000")
    assert jobs.boost(database, 600) == []  # 9 is the highest


def test_given_urgent_jobs_when_messages_are_due_then_they_come_first(database: Database) -> None:
    (late,) = queued(database, priority=1)
    (urgent,) = queued(database, priority=9)
    assert [one.id for one in jobs.to_send(database)] == [urgent, late]


def test_given_a_callback_when_the_job_ends_then_one_webhook_is_due_and_not_to_two_keepers(database: Database) -> None:
    (claim,) = running(database, callback_url="https://lab.example/hook")
    assert outbox.due(database) == []
    jobs.complete(database, [succeeded(claim.id, claim.fence)])
    jobs.complete(database, [succeeded(claim.id, claim.fence)])
    execute(
        database, "UPDATE outbox SET next_at = next_at + 3600"
    )  # the clock was set back: a first call waits for none
    (call,) = outbox.due(database)
    assert (call.job_id, call.state, call.url, call.tries) == (
        claim.id, "succeeded", "https://lab.example/hook", 0,
    )  # fmt: skip
    assert outbox.due(database) == []
    outbox.failed(database, call.id, "503", -1.0)
    (again,) = outbox.due(database)
    assert (again.id, again.tries) == (call.id, 1)
    outbox.delivered(database, call.id)
    execute(database, "UPDATE outbox SET created_at = created_at - 1000")
    assert outbox.due(database) == []


def test_given_a_job_when_it_ends_then_its_stream_tells_the_whole_story_in_order(database: Database) -> None:
    (claim,) = running(database)
    jobs.progress(database, claim.id, claim.fence, fraction=0.5, stage="predict", message="1 of 2")
    jobs.append_event(database, claim.id, claim.fence, "metric", {"loss": 0.25})
    assert reading.ended(database, [claim.id]) == set()
    jobs.complete(database, [succeeded(claim.id, claim.fence)])
    told = reading.events(database, claim.id)
    assert [(one.type, one.data.get("state")) for one in told] == [
        ("state", "queued"), ("state", "running"), ("progress", None), ("metric", None), ("state", "succeeded"),
    ]  # fmt: skip
    assert [one.id for one in told] == sorted(one.id for one in told)
    assert reading.events(database, claim.id, after=told[2].id) == told[3:]
    assert reading.events_since(database, {claim.id: told[3].id}) == {claim.id: told[4:]}
    gone = new_id()
    assert reading.ended(database, [claim.id, gone]) == {claim.id, gone}


def test_given_many_jobs_when_listed_by_pages_then_each_comes_once_newest_first(database: Database) -> None:
    ids = queued(database, 25, labels={"study": "A"}) + queued(database, 5, labels={"study": "B"})
    seen, after = [], None
    while page := reading.listing(database, caller(database), after=after, limit=7):
        seen += page
        after = reading.Cursor(page[-1].created_at, page[-1].id)
    assert sorted(view.id for view in seen) == sorted(ids)
    assert [view.created_at for view in seen] == sorted((view.created_at for view in seen), reverse=True)
    filters = reading.Filters(labels={"study": "B"}, states=[State.QUEUED], kind="diagnosis")
    assert {view.id for view in reading.listing(database, None, filters)} == set(ids[25:])
    assert reading.listing(database, caller(database, "other")) == []


# -- the database forbids the impossible ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'lost'", "state_known"),
        ("state = 'running'", "only_running_has"),
        ("state = 'succeeded', attempt = 0, finished_at = 1", "success_was_attempted"),
        ("state = 'cancelled'", "only_ended_is_finished"),
        ("finished_at = 1", "only_ended_is_finished"),
        ("state = 'failed', finished_at = 1", "only_failed_has_error"),
        ("worker_id = 'w'", "only_running_has_worker"),
        ("lease_until = 1", "only_running_has_lease"),
        ("priority = 10", "priority_0_to_9"),
        ("fence = -2, attempt = -2", "fence_not_negative|counts_not_negative"),
        ("attempt = 3", "attempt_under_fence"),
        ("fence = -1", "attempt_under_fence|fence_not_negative"),
        ("crashes = -1", "counts_not_negative"),
        ("model_name = 'm'", "model_pinned"),
        ("fraction = 1.5", "fraction_0_to_1"),
    ],
)
def test_given_a_queued_row_when_it_is_made_impossible_then_a_named_constraint_refuses(
    database: Database, change: str, constraint: str
) -> None:
    queued(database)
    with pytest.raises(IntegrityError, match=constraint):
        execute(database, f"UPDATE jobs SET {change}")


def test_given_a_result_when_a_second_is_written_then_the_key_refuses(database: Database) -> None:
    (claim,) = running(database)
    jobs.complete(database, [succeeded(claim.id, claim.fence)])
    with pytest.raises(IntegrityError):
        execute(
            database, "INSERT INTO results (job_id, fence, result, created_at) SELECT job_id, 9, '{}', 1 FROM results"
        )


def test_given_every_batch_size_when_claimed_and_completed_then_the_statements_are_as_many(database: Database) -> None:
    from sqlalchemy import event

    counts = {}
    for size in (1, 64):
        ids = queued(database, size)
        said: list[str] = []
        engine = database._engine
        event.listen(engine, "before_cursor_execute", lambda *call, said=said: said.append(call[2]))
        claims = jobs.claim(database, ids, "w", 30, "inference")
        jobs.complete(database, [succeeded(one.id, one.fence) for one in claims])
        counts[size] = len([line for line in said if not line.startswith("PRAGMA")])
    assert counts[1] == counts[64]
    assert counts[64] <= 16
