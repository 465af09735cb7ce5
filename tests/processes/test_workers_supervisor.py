"""How long the supervisor waits before it starts a worker again."""

from __future__ import annotations

import os
import signal
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
from workers.place import EXIT_DEVICE, history
from workers.starting import SUPERVISED
from workers.supervisor import PAUSE_S, Child, Supervisor

ROOT = Path(__file__).parents[2]
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


def dies(watched: Supervisor, db: Database, registered_s: float | None, status: int | None = None) -> Child:
    """Let a worker live until it has been registered so long (None: it never is), and be killed, or end by itself."""
    (child,) = watched._children
    command = ["sleep", "60"] if status is None else ["sh", "-c", f"sleep {registered_s}; exit {status}"]
    child.process, child.worker_id = subprocess.Popen(command), f"w{time.monotonic_ns()}"
    child.started_at = time.monotonic()
    if registered_s is not None:
        workers.register(db, workers.Worker(child.worker_id, "host", child.process.pid, "inference", "cpu"))
        time.sleep(registered_s)
    if status is None:
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


def test_a_worker_whose_gpu_failed_is_tried_ever_less_often_though_it_starts(watched: Supervisor, db: Database) -> None:
    """Given one that lives for as long as others that have settled, then it is the device that has not."""
    pauses = [dies(watched, db, SETTLED_S + 0.1, status=EXIT_DEVICE).pause_s for _ in range(2)]
    assert pauses == [1.0, 2.0]


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


def test_a_place_that_cannot_start_is_shown_with_its_reason_until_it_can(watched: Supervisor, db: Database) -> None:
    """Given processes that die at once, then the live workers show the place as restarting, how often and why; and no
    more once a process has settled."""
    child = dies(watched, db, None)
    for _ in range(2):
        child.due_at = time.monotonic() + 60
        watched._look_after(child)
    (shown,) = workers.live(db, 20)
    assert (shown.state, shown.device, shown.facts["restarts"]) == ("restarting", "cpu", 1)
    assert shown.facts["last_exit"]["reason"].startswith("killed by SIGKILL (9)")
    child.process = subprocess.Popen(["sleep", "60"])
    child.started_at = time.monotonic()
    watched._look_after(child)
    assert [one.state for one in workers.live(db, 20)] == ["restarting"]
    time.sleep(SETTLED_S + 0.05)
    watched._look_after(child)
    assert workers.live(db, 20) == []
    child.process.kill()
    child.process.wait()


def test_the_next_process_is_told_what_became_of_the_last(watched: Supervisor, db: Database) -> None:
    """Given a place whose process was killed twice, when the next starts, then its environment says so."""
    for _ in range(2):
        child = dies(watched, db, None)
    told = history(child.place.environment())
    assert told["restarts"] == 2
    assert told["last_exit"]["reason"].startswith("killed by SIGKILL (9)")


def test_a_place_is_looked_after_while_its_database_is_away(watched: Supervisor, db: Database) -> None:
    child = dies(watched, db, None)
    away = watched._settings.model_copy(update={"database_url": "sqlite:////nowhere/medjobs.db"})
    child.place._settings = away
    child.due_at = time.monotonic() + 60
    watched._look_after(child)
    assert workers.live(db, 20) == []


def test_a_worker_whose_supervisor_died_before_it_was_ready_for_that_ends(sqlite_url: str, tmp_path: Path) -> None:
    """Given a worker whose parent is another process than the one that started it, then it does not begin."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    given = {"MEDJOBS_HOME": str(tmp_path), "MEDJOBS_DATABASE_URL": sqlite_url, SUPERVISED: str(gone.pid)}
    command = [sys.executable, "-m", "workers", "--pool", "inference", "--device", "cpu"]
    ended = subprocess.run(command, env={**os.environ, **given}, cwd=ROOT, timeout=30, check=False)
    assert ended.returncode == -signal.SIGTERM
