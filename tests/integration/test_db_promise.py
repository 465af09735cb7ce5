"""The promise, tried by Hypothesis: whatever order things happen in, the database agrees with a small model of it.

The model below is written from architecture.md ("States") and not from db/jobs.py. Time passes by moving rows into
the past, so that the code under test holds no switch for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from db import jobs, reading, workers
from db.engine import Database
from db.records import Completion, Release
from jobs.errors import JobError
from jobs.states import FINAL, TRANSITIONS, Outcome, State
from tests.jobs_in_a_database import caller, new_job

TICK = 1e-4
"""Two things never happen at the same moment."""

STEPS_S = [4.4, 8.8, 23.3, 71.0]
"""No sum of them lies in the second below a limit, so the time that the test itself takes decides nothing."""

MAX_ATTEMPTS, MAX_CRASHES, LEASE_S, DEAD_S = 3, 2, 30.0, 20.0


@dataclass
class Model:
    """What is promised about one job."""

    state: State = State.QUEUED
    fence: int = 0
    worker: str | None = None
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    cancel: bool = False
    lease: float = 0.0
    result: int | None = None
    outcomes: list[str] = field(default_factory=list)

    def leave(self, outcome: Outcome, to: State) -> None:
        """The attempt ends; a job that its caller cancelled goes nowhere but there, unless it ended anyway."""
        assert to in TRANSITIONS[self.state]
        self.outcomes.append(outcome.value)
        self.state, self.worker = to, None
        self.fence += 1 if to is State.QUEUED else 0


class Promise(RuleBasedStateMachine):
    """Callers, workers that may be frozen or dead, and a keeper, one step at a time."""

    db: Database  # set by the test, for each database
    known = Bundle("known")
    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        """An empty database, three workers."""
        with self.db.write() as connection:
            for table in ("results", "attempts", "events", "outbox", "jobs", "workers", "watch"):
                connection.execute(text(f"DELETE FROM {table}"))
        self.models: dict[str, Model] = {}
        self.now = 0.0
        self.caller = caller(self.db)
        self.beats = dict.fromkeys(("w1", "w2", "w3"), 0.0)
        for name in self.beats:
            workers.register(self.db, workers.Worker(name, "host", 1, "inference", "cpu"))
        jobs.expire_leases(self.db, worker_dead_s=DEAD_S, max_crashes=MAX_CRASHES)
        self.watched_since, self.watched = 0.0, 0.0
        with self.db.write() as connection:  # the watch began before the workers' first heartbeat
            connection.execute(text("UPDATE watch SET since = since - 1"))
        self.watched_since = -1.0

    # Few jobs, so that one history meets the same job again and again.
    @precondition(lambda self: sum(model.state not in FINAL for model in self.models.values()) < 3)
    @rule(target=known, count=st.integers(1, 2), callback=st.booleans())
    def submit(self, count: int, callback: bool) -> object:
        """A batch is accepted."""
        new = [new_job(self.caller, callback_url="https://h/x" if callback else None) for _ in range(count)]
        done = jobs.insert(self.db, new, max_queued=10**6)
        assert [one.id for one in done] == [one.id for one in new]
        self.models |= {one.id: Model() for one in new}
        return multiple(*(one.id for one in new))

    @rule(target=claims, wanted=st.lists(known, min_size=1, max_size=4), worker=st.sampled_from(["w1", "w2", "w3"]))
    def claim(self, wanted: list[str], worker: str) -> object:
        """A worker hears of jobs, perhaps several times, perhaps long after they ended."""
        expected = {one for one in wanted if self.models[one].state is State.QUEUED}
        got = jobs.claim(self.db, wanted, worker, LEASE_S, "inference")
        assert {one.id for one in got} == expected
        assert len(got) == len(expected)
        for one in got:
            model = self.models[one.id]
            model.state, model.worker, model.lease = State.RUNNING, worker, self.now + LEASE_S
            model.fence, model.attempts = model.fence + 1, model.attempts + 1
            assert (one.fence, one.attempt) == (model.fence, model.attempts)
            assert (one.crashes, one.failures) == (model.crashes, model.failures)
        return multiple(*((one.id, one.fence, worker) for one in got))

    @rule(target=claims, claim=claims, worker=st.sampled_from(["w1", "w2", "w3"]), ok=st.booleans())
    def freeze(self, claim: tuple[str, int, str], worker: str, ok: bool) -> object:
        """A worker is stopped past its lease, another takes the job; then the first wakes and goes on as if nothing
        had been: it renews, hands back, and commits."""
        if not self.ours(claim):
            return multiple()
        self.release(claim, charge=False)
        again = self.claim([claim[0]], worker)
        self.renew([claim])
        self.checkpoint(claim)
        self.release(claim, charge=True)
        self.complete([claim], ok)
        return again

    def ours(self, claim: tuple[str, int, str]) -> bool:
        """Whether the claim is still the current one."""
        model = self.models[claim[0]]
        return model.state is State.RUNNING and model.fence == claim[1]

    @rule(held=st.lists(claims, min_size=1, max_size=4))
    def renew(self, held: list[tuple[str, int, str]]) -> None:
        """A worker renews what it thinks it holds."""
        worker = held[0][2]
        mine = {one: fence for one, fence, holder in held if holder == worker}
        answer = jobs.renew(self.db, worker, mine, LEASE_S)
        kept = {one for one, fence in mine.items() if self.ours((one, fence, worker))}
        assert answer.lost == set(mine) - kept
        assert answer.cancelled == {one for one in kept if self.models[one].cancel}
        for one in kept:
            self.models[one].lease = self.now + LEASE_S

    @rule(done=st.lists(claims, min_size=1, max_size=4, unique_by=lambda claim: claim[0]), ok=st.booleans())
    def complete(self, done: list[tuple[str, int, str]], ok: bool) -> None:
        """Workers commit, current and frozen ones alike, perhaps for the second time."""
        state = State.SUCCEEDED if ok else State.FAILED
        batch = [
            Completion(one, fence, state, {"by": fence} if ok else None, error=None if ok else JobError().as_dict())
            for one, fence, _ in done
        ]
        expected = set()
        for one, fence, _ in done:
            model = self.models[one]
            if self.ours((one, fence, "")):
                model.leave(Outcome(state.value), state)
                model.result = fence if ok else None
                expected.add(one)
            elif model.state is state and model.fence == fence and model.outcomes[-1:] == [state.value]:
                expected.add(one)  # the same again: accepted, and nothing changes
        assert jobs.complete(self.db, batch) == expected

    @rule(claim=claims, charge=st.booleans())
    def release(self, claim: tuple[str, int, str], charge: bool) -> None:
        """A worker hands a job back: a temporary failure, or a drain."""
        one, fence, _ = claim
        outcome = Outcome.RETRIED if charge else Outcome.DRAINED
        accepted = jobs.release(self.db, [Release(one, fence, outcome, charge=charge)], max_attempts=MAX_ATTEMPTS)
        model = self.models[one]
        assert accepted == ({one} if self.ours(claim) else set())
        if not accepted:
            return
        if model.cancel:
            model.leave(Outcome.CANCELLED, State.CANCELLED)
            return
        model.failures += charge
        if charge and model.failures >= MAX_ATTEMPTS:
            model.leave(Outcome.FAILED, State.FAILED)
        else:
            model.leave(outcome, State.QUEUED)

    @rule(one=known)
    def cancel(self, one: str) -> None:
        """A caller cancels."""
        model = self.models[one]
        answer = jobs.request_cancel(self.db, one, self.caller)
        assert answer is not None
        assert answer.accepted == (model.state not in (State.SUCCEEDED, State.FAILED))
        if model.state is State.QUEUED:
            model.state = State.CANCELLED
        elif model.state is State.RUNNING:
            model.cancel = True

    @rule(claim=claims)
    def checkpoint(self, claim: tuple[str, int, str]) -> None:
        """A newer checkpoint forgives crashes and failures; progress and events go the same way."""
        one, fence, _ = claim
        ours = self.ours(claim)
        assert jobs.checkpointed(self.db, one, fence) == ours
        assert jobs.progress(self.db, one, fence, fraction=0.5, stage="train") == ours
        assert jobs.append_event(self.db, one, fence, "metric", {"loss": 1.0}) == ours
        if ours:
            self.models[one].crashes = self.models[one].failures = 0

    @rule(worker=st.sampled_from(["w1", "w2", "w3"]))
    def beat(self, worker: str) -> None:
        """A worker process proves that it lives."""
        assert workers.heartbeat(self.db, worker, [], {}, "busy") == "run"
        self.now += TICK
        self.beats[worker] = self.now

    @rule(seconds=st.sampled_from(STEPS_S))
    def pass_time(self, seconds: float) -> None:
        """The clock goes on: everything that the database remembers lies further back."""
        moved = {
            "jobs": ("lease_until", "run_at", "created_at", "started_at"),
            "workers": ("heartbeat_at", "started_at"),
            "watch": ("since", "seen_at"),
        }
        with self.db.write() as connection:
            for table, columns in moved.items():
                assignments = ", ".join(f"{column} = {column} - :s" for column in columns)
                connection.execute(text(f"UPDATE {table} SET {assignments}"), {"s": seconds})
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        """The keeper takes back what nobody renewed; a crash is charged only where the silence was watched."""
        self.now += TICK
        gap = self.now - self.watched > DEAD_S / 2
        since = self.now if gap else self.watched_since
        expected = {}
        for one, model in self.models.items():
            if model.state is State.RUNNING and model.lease < self.now:
                beat = self.beats[str(model.worker)]
                dead = self.now - beat > DEAD_S and beat >= since
                expected[one] = Outcome.WORKER_LOST if dead else Outcome.LEASE_EXPIRED
        taken = jobs.expire_leases(self.db, worker_dead_s=DEAD_S, max_crashes=MAX_CRASHES)
        assert {one.id: one.outcome for one in taken} == expected
        if gap or self.now - self.watched >= DEAD_S / 8 or expected:
            self.watched_since, self.watched = since, self.now
        for one, outcome in expected.items():
            self._lost(one, outcome)

    def _lost(self, one: str, outcome: Outcome) -> None:
        model = self.models[one]
        model.crashes += outcome is Outcome.WORKER_LOST
        if outcome is Outcome.WORKER_LOST and model.crashes >= MAX_CRASHES:
            model.leave(outcome, State.FAILED)
        elif model.cancel:
            model.leave(outcome, State.CANCELLED)
        else:
            model.leave(outcome, State.QUEUED)

    @rule(worker=st.sampled_from(["w1", "w2", "w3"]), charge=st.booleans())
    def crash(self, worker: str, charge: bool) -> None:
        """A worker's parent saw it end."""
        held = {one for one, model in self.models.items() if model.state is State.RUNNING and model.worker == worker}
        taken = jobs.abandon_worker(self.db, worker, charge=charge, max_crashes=MAX_CRASHES)
        assert {one.id for one in taken} == held
        for one in held:
            self._lost(one, Outcome.WORKER_LOST if charge else Outcome.DRAINED)

    @rule(one=consumes(known))
    def delete(self, one: str) -> None:
        """A caller deletes a record: ended jobs only."""
        model = self.models[one]
        answer = jobs.delete(self.db, one, self.caller)
        assert answer.deleted == (model.state in FINAL)
        if answer.deleted:
            assert reading.get(self.db, one) is None
            assert reading.result(self.db, one) is None
            self.gone = {*getattr(self, "gone", set()), one}
            del self.models[one]
            self.models[one] = Model(state=State.CANCELLED, fence=-1)  # claims of it are answered like an ended job's

    @invariant()
    def nothing_is_lost_and_nothing_doubled(self) -> None:
        """Every accepted job is there, in the state that was promised, with at most the one result."""
        models = {one: model for one, model in getattr(self, "models", {}).items() if model.fence >= 0}
        views = {view.id: view for view in reading.get_many(self.db, list(models))}
        assert set(views) == set(models)
        for one, model in models.items():
            view = views[one]
            assert view.state is model.state
            assert (view.fence, view.attempt) == (model.fence, model.attempts)
            assert (view.failures, view.crashes) == (model.failures, model.crashes)
            assert [attempt.outcome for attempt in view.attempts if attempt.outcome] == model.outcomes
            assert (view.cancel_requested_at is not None) >= model.cancel
        with self.db.read() as connection:
            stored = {row.job_id: row for row in connection.execute(text("SELECT job_id, fence FROM results"))}
            calls = {row.job_id for row in connection.execute(text("SELECT job_id FROM outbox"))}
        assert {one: row.fence for one, row in stored.items()} == {
            one: model.result for one, model in models.items() if model.result is not None
        }
        assert calls == {one for one, view in views.items() if view.callback_url and view.state in FINAL}


@pytest.mark.parametrize("examples", [60])
def test_given_any_history_when_the_database_is_asked_then_the_promise_holds(database: Database, examples: int) -> None:
    class Here(Promise):
        db = database

    profile = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Here, settings=profile)
