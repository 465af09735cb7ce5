"""What hangs is noticed: a load that nobody waits for, an errand of the hands, a child that never begins."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.errors import DatabaseUnavailable
from jobs.settings import Settings
from workers import long
from workers.bench import Activity, Bench, Errand
from workers.hands import Hands
from workers.inference import InferenceWorker
from workers.long import LongWorker
from workers.watchdog import Watchdog


class Noted(Watchdog):
    """A watchdog without a database that notes what it would have left its process for."""

    def __init__(self, settings: Settings, activities: Iterable[Activity]) -> None:
        self.left: list[Activity] = []
        self._settings = settings
        self._line = cast(Any, SimpleNamespace(held={}))
        self._activities = lambda: activities

    def leave(self, activity: Activity) -> None:
        self.left.append(activity)


def attempt(timeout_s: float) -> Any:
    return SimpleNamespace(claim=SimpleNamespace(timeout_s=timeout_s), ended=False, overdue=lambda grace_s=0.0: False)


@pytest.mark.parametrize(
    ("phase", "attempts", "age_s", "leaves"),
    [
        ("load", (), 1.5, True),  # ordered at the start; jobs that came later wait for it all the same
        ("load", (attempt(9),), 1.5, True),
        ("load", (), 0.5, False),
        ("encode", (attempt(9),), 12, True),
        ("encode", (attempt(9),), 8, False),
        ("encode", (), 99, False),
        ("", (), 99, False),
    ],
)
def test_the_watchdog_leaves_what_is_over_its_budget(
    phase: str, attempts: tuple[Any, ...], age_s: float, leaves: bool
) -> None:
    activity = Activity()
    activity.begin(phase, attempts)
    activity.since -= age_s
    watchdog = Noted(Settings(load_s=1.0, timeout_grace_s=1.0), [activity])
    watchdog.look()
    assert watchdog.left == ([activity] if leaves else [])


def test_the_watchdog_sees_whose_errand_a_hand_is_on() -> None:
    """Given a hand that hangs in a fetch or in the storage, then its activity names its jobs."""
    bench, begun, over = Bench(), threading.Event(), threading.Event()
    hands = Hands(1, bench, lambda unit: None)
    job = attempt(9)

    def hang() -> None:
        begun.set()
        over.wait(10)

    bench.run_soon(Errand((job,), hang))
    assert begun.wait(10)
    assert hands.activities[0].attempts == (job,)
    over.set()
    bench.close()


def test_a_drain_goes_on_where_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given messages that were received and not claimed, then they are left to the keeper."""

    def away(*_: Any) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr("db.reading.get_many", away)
    worker = InferenceWorker.__new__(InferenceWorker)
    worker.db = cast(Any, None)
    worker._return_messages(["a job"])


def test_a_child_that_is_gone_already_is_no_error_to_kill(parent: LongWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    request = SimpleNamespace(worker_pid=ended.pid)
    monkeypatch.setattr(long, "celery_state", SimpleNamespace(active_requests=[request]))
    parent._kill_child()


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LongWorker:
    """A long worker's parent that runs a job and has no child."""
    made = LongWorker.__new__(LongWorker)
    made.settings = Settings(silent_s=0.5, database_wait_s=0.2)
    made._alive = tmp_path / "alive"
    made._touched, made._moved_at = 0.0, time.monotonic()
    monkeypatch.setattr(long, "celery_state", SimpleNamespace(active_requests={"a job"}))
    return made


def test_a_child_that_touches_its_file_is_alive_and_one_that_stops_is_silent(parent: LongWorker) -> None:
    for _ in range(8):
        parent._alive.touch()
        assert not parent._silent()
        time.sleep(0.1)
    time.sleep(0.6)
    assert parent._silent()


def test_a_child_that_never_begins_is_silent_too(parent: LongWorker) -> None:
    assert not parent._silent()
    time.sleep(0.6)
    assert parent._silent()


def test_without_a_job_nobody_is_silent(parent: LongWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long, "celery_state", SimpleNamespace(active_requests=set()))
    time.sleep(0.6)
    assert not parent._silent()


def test_a_step_of_the_hosts_clock_makes_no_child_silent(parent: LongWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    parent._alive.touch()
    assert not parent._silent()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    parent._alive.touch()
    assert not parent._silent()
