"""How long the supervisor waits before it starts a worker again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import workers
from db.engine import Database
from jobs.settings import Settings
from workers import supervisor
from workers.supervisor import PAUSE_S, Child, Supervisor

SETTLED_S = 0.8
CAP_S = 3.0


@pytest.fixture
def db(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def watched(db: Database, tmp_path: Path) -> Supervisor:
    settings = Settings(
        home=tmp_path, database_url=str(db.url), settled_s=SETTLED_S, restart_cap_s=CAP_S, drain_s=1, control_s=0.2
    )
    return Supervisor(settings, "inference", ["cpu"])


def dies(watched: Supervisor, db: Database, registered_s: float | None) -> Child:
    """Let a worker live until it has been registered so long (None: it never is), and be killed."""
    (child,) = watched._children
    child.process, child.worker_id = subprocess.Popen(["sleep", "60"]), f"w{time.monotonic_ns()}"
    child.started_at = time.monotonic()
    if registered_s is not None:
        workers.register(db, workers.Worker(child.worker_id, "host", child.process.pid, "inference", "cpu"))
        time.sleep(registered_s)
    child.process.kill()
    child.process.wait()
    watched._look_after(child)
    assert child.process is None
    assert child.due_at - time.monotonic() <= child.pause_s
    return child


def test_a_worker_that_is_killed_at_work_again_and_again_is_missed_for_half_a_second(
    watched: Supervisor, db: Database
) -> None:
    """Given that it had settled each time, then the pause before its next start never grows."""
    assert [dies(watched, db, SETTLED_S + 0.05).pause_s for _ in range(3)] == [PAUSE_S] * 3


@pytest.mark.parametrize("registered_s", [None, 0.0])
def test_a_worker_that_cannot_start_is_tried_ever_less_often_and_forgiven_once_it_can(
    watched: Supervisor, db: Database, registered_s: float | None
) -> None:
    """Given one that dies before or just after it registers, then the pause doubles up to its cap."""
    assert [dies(watched, db, registered_s).pause_s for _ in range(4)] == [1.0, 2.0, CAP_S, CAP_S]
    assert dies(watched, db, SETTLED_S + 0.05).pause_s == PAUSE_S


def test_a_worker_whose_database_is_away_counts_as_one_that_cannot_start(watched: Supervisor, db: Database) -> None:
    watched._settings = watched._settings.model_copy(update={"database_url": "sqlite:////nowhere/medjobs.db"})
    assert dies(watched, db, SETTLED_S + 0.05).pause_s == 2 * PAUSE_S


def test_a_child_that_does_not_hear_sigterm_is_killed_once_its_drain_is_over(
    watched: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_S", 0.5)
    (child,) = watched._children
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    child.process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert child.process.stdout is not None
    child.process.stdout.readline()
    began = time.monotonic()
    watched._stop()
    assert child.process.poll() == -9
    assert 1.5 <= time.monotonic() - began < 5
    child.process.stdout.close()
