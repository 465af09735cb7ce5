"""The end of a long job's attempt, and of its child, while the database is away; on both databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from db import jobs, reading
from db.engine import Database
from db.records import Claim
from jobs.errors import DatabaseUnavailable
from jobs.running import Finished
from jobs.settings import Settings
from jobs.states import State
from jobs.training import NewVersion
from storage.files import Storage
from tests.jobs_in_a_database import queued
from workers import longtask
from workers.long import LongWorker
from workers.longtask import DEVICE, NODE, QUEUES, WORKER_ID
from workers.registering import Registered
from workers.work import Bound

T = TypeVar("T")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv(DEVICE, "cpu")
    return Settings(home=tmp_path / "home", lease_long_s=1.5, renew_long_s=0.2)


def claimed(database: Database, worker: str = "w1") -> Claim:
    (job,) = queued(database, pool="long")
    (claim,) = jobs.claim(database, [job], worker, 60, "long")
    return claim


class Away:
    """A database that refuses so many calls."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
        self.calls, self._transact = calls, database.transact
        monkeypatch.setattr(database, "transact", self.transact)

    def transact(self, work: Callable[..., T], **how: Any) -> T:
        self.refuse()
        return self._transact(work, **how)

    def refuse(self) -> None:
        self.calls -= 1
        if self.calls >= 0:
            raise DatabaseUnavailable


def finish(bound: Bound, told: Callable[[], object] = lambda: None, version: NewVersion | None = None) -> None:
    finished = Finished([{"total": 1.0}], (), {}, version=version)
    watch: Any = SimpleNamespace(tell=told, work=SimpleNamespace(log=lambda _: None))
    longtask._complete(bound, Storage(bound.settings.storage), watch, None, finished)


def test_given_a_database_away_at_the_end_then_the_finished_result_waits_for_it(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given refusals where the version is registered, the news are written and the result is committed, then all are
    done again, each by itself, and the attempt's result is the job's."""
    claim = claimed(database)
    registering, telling = Away(database, monkeypatch, 0), Away(database, monkeypatch, 0)
    committing = Away(database, monkeypatch, 2)
    registering.calls, telling.calls = 2, 2

    def register(*_: Any) -> Registered:
        registering.refuse()
        return Registered("made", 1, None)

    monkeypatch.setattr(longtask, "register", register)
    finish(Bound(database, settings, claim, "w1"), telling.refuse, version=SimpleNamespace())  # type: ignore[arg-type]
    assert max(registering.calls, telling.calls, committing.calls) < 0
    view = reading.get(database, claim.id)
    assert view is not None
    assert (view.state, [one.outcome for one in view.attempts]) == (State.SUCCEEDED, ["succeeded"])


def test_given_a_database_away_for_longer_than_the_lease_then_the_attempt_gives_up(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(database)
    Away(database, monkeypatch, 10**6)
    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        finish(Bound(database, settings, claim, "w1"))
    assert settings.lease_long_s <= time.monotonic() - begun < settings.lease_long_s + 5
    assert longtask.alive_file(settings, "w1").exists()  # meanwhile the parent saw that it lives


@pytest.mark.parametrize("refusals", [0, 3])
def test_given_a_database_away_when_a_failed_attempt_is_handed_back_then_that_waits_too(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    claim = claimed(database)

    def run(*_: Any) -> None:
        Away(database, monkeypatch, refusals)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(longtask, "_run", run)
    flower: Any = SimpleNamespace(tell=lambda _: None, retried=lambda *_: None)
    with pytest.raises(longtask.Ignore):
        longtask._attempt(Bound(database, settings, claim, "w1"), flower)
    view = reading.get(database, claim.id)
    assert view is not None
    assert (view.state, view.failures, view.crashes) == (State.QUEUED, 1, 0)


@pytest.fixture
def parent(database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LongWorker:
    for name in (WORKER_ID, NODE, DEVICE, QUEUES, "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, "")
    changed = {"database_url": database_url, "redis_url": f"redis+socket://{tmp_path / 'none.sock'}"}
    return LongWorker(settings.model_copy(update=changed), "cpu", "w1")


def test_given_a_dead_child_when_the_next_one_runs_a_job_then_that_job_is_left_alone(
    database: Database, parent: LongWorker
) -> None:
    """Given the news of a death that reach the database late, then they charge the dead child's job and no other."""
    first, second = claimed(database), claimed(database)
    parent._child_died(first.id)
    found = {view.id: view for view in reading.get_many(database, [first.id, second.id])}
    assert (found[first.id].state, found[first.id].crashes) == (State.QUEUED, 1)
    assert (found[second.id].state, found[second.id].crashes) == (State.RUNNING, 0)
    parent.db.close()


def test_given_a_dead_child_when_its_job_runs_here_again_already_then_the_later_attempt_is_left_alone(
    database: Database, parent: LongWorker
) -> None:
    first = claimed(database)
    parent._alive.write_text(f"{first.id} {first.fence}")
    jobs.abandon_worker(database, "w1", charge=False)  # the keeper was faster
    (again,) = jobs.claim(database, [first.id], "w1", 60, "long")
    parent._child_died(first.id)
    view = reading.get(database, first.id)
    assert view is not None
    assert (view.state, view.fence, view.crashes) == (State.RUNNING, again.fence, 0)
    parent._alive.write_text(f"{first.id} {again.fence}")
    parent._child_died(first.id)
    view = reading.get(database, first.id)
    assert view is not None
    assert (view.state, view.crashes) == (State.QUEUED, 1)
    parent.db.close()
