"""The true worker and keeper in subprocesses, with the toy kinds, on a database and a Redis that a test provides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from broker.dispatch import Dispatcher
from db import files, jobs, reading
from db.callers import create_token
from db.engine import Database
from db.records import JobView, NewJob
from jobs.ids import new_id
from jobs.messages import Message
from jobs.settings import Settings
from jobs.states import FINAL, State
from storage.files import Storage
from tests.services.home import words

ROOT = Path(__file__).parent.parent.parent
TOYS = ROOT / "tests" / "toy_kind"

FAST = {
    "LEASE_INFERENCE_S": "3",
    "RENEW_INFERENCE_S": "0.5",
    "LEASE_LONG_S": "4",
    "RENEW_LONG_S": "0.5",
    "CONTROL_S": "0.3",
    "HEARTBEAT_S": "0.5",
    "WORKER_DEAD_S": "2",
    "KEEPER_INTERVAL_S": "0.3",
    "RESEND_S": "2",
    "SWEEP_S": "5",
    "SETTLED_S": "1",
    "RESTART_CAP_S": "4",
    "WEBHOOK_TIMEOUT_S": "2",
    "WEBHOOK_RESERVE_S": "5",
    "RETRY_BASE_S": "0.2",
    "MAX_ATTEMPTS": "5",
    "DRAIN_S": "5",
    "TIMEOUT_GRACE_S": "1",
    "PUBLISH_PAUSE_S": "1",
    "WARM_MODELS": "false",
}
"""Every wait of the settings, shortened so that a test of it takes seconds."""


class Process:
    """One subprocess of the stack with its log."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], home: Path, log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *arguments], env=dict(environment), cwd=home, stdout=out, stderr=out
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)

    def terminate(self, timeout_s: float = 30) -> int:
        """SIGTERM, and its exit status."""
        self._process.terminate()
        return self._process.wait(timeout_s)

    def wait(self, timeout_s: float = 30) -> int:
        return self._process.wait(timeout_s)

    def alive(self) -> bool:
        return self._process.poll() is None

    def text(self) -> str:
        return self.log.read_text(errors="replace")


class Stack:
    """A database, a Redis and a storage with a caller; workers and keepers are started by the test."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, **settings: object) -> None:
        self.folder = folder
        self.environment = self._environment(folder, database_url, redis_url, settings)
        self.settings = Settings.from_environment(self.environment)
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self.db = Database(database_url)
        self.storage = Storage(self.settings.storage)
        self.dispatcher = Dispatcher(self.settings)
        self.processes: list[Process] = []
        from db.callers import authenticate

        caller = authenticate(self.db, create_token(self.db, "tester", ["read", "submit"], None))
        assert caller is not None
        self.caller_id = caller.id

    def _environment(
        self, folder: Path, database_url: str, redis_url: str, settings: Mapping[str, object]
    ) -> dict[str, str]:
        given = {name.upper(): str(value) for name, value in settings.items()}
        named = {f"MEDJOBS_{name}": value for name, value in {**FAST, **given}.items()}
        places = {"MEDJOBS_HOME": str(folder / "home"), "MEDJOBS_DATABASE_URL": database_url,
                  "MEDJOBS_REDIS_URL": redis_url}  # fmt: skip
        path = os.pathsep.join([str(TOYS), str(ROOT)])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDJOBS_")}
        return {**kept, **named, **places, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def worker(self, pool: str = "inference", device: str = "cpu") -> Process:
        """Start a worker of one device in one process."""
        return self._start(["workers", "--pool", pool, "--device", device])

    def supervised(self, pool: str = "inference", devices: str = "cpu") -> Process:
        """Start a supervisor with its worker."""
        return self._start(["workers", "--pool", pool, "--devices", devices])

    def children(self) -> list[psutil.Process]:
        """The processes in which long jobs run."""
        alive = [psutil.Process(process.pid) for process in self.processes if process.alive()]
        below = [child for process in alive for child in process.children(recursive=True)]
        return [child for child in below if "spawn" in " ".join(words(child))]

    def keeper(self) -> Process:
        """Start a keeper."""
        return self._start(["workers.keeper"])

    def _start(self, arguments: list[str]) -> Process:
        log = self.folder / f"{len(self.processes)}-{arguments[0]}.log"
        process = Process(arguments, self.environment, self.settings.home, log)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End every process that was started, and show what the logs say of errors."""
        for process in self.processes:
            if process.alive():
                process.send(signal.SIGCONT)
                process.kill()
        self.db.close()

    def put(self, content: bytes) -> str:
        """Upload a file; its id."""
        stored = self.storage.put([content], 1 << 30)
        files.add(self.db, self.caller_id, stored.digest, stored.size, "application/octet-stream")
        return stored.digest

    def new(self, inputs: Sequence[Any], kind: str = "toy-mean", pool: str = "inference", **more: Any) -> NewJob:
        """A submission that the API has validated."""
        named = [one for one in inputs if isinstance(one, str)]
        digests = list(dict.fromkeys(named + [one["archive"] for one in inputs if "archive" in one]))
        return NewJob(new_id(), self.caller_id, kind, pool, inputs=list(inputs), digests=digests, **more)

    def submit(self, *new: NewJob, send: bool = True) -> list[str]:
        """Insert and send, as the API does."""
        jobs.insert(self.db, new, max_queued=1_000_000)
        if send:
            messages = [Message(job.id, job.kind, job.pool, job.priority, job.queue) for job in new]
            jobs.mark_sent(self.db, self.dispatcher.send(messages))
        return [job.id for job in new]

    def files(self, contents: Iterable[bytes], **more: Any) -> list[str]:
        """Submit one toy-mean job per content."""
        return self.submit(*(self.new([self.put(content)], **more) for content in contents))

    def view(self, job_id: str) -> JobView:
        found = reading.get(self.db, job_id)
        assert found is not None
        return found

    def wait(self, ids: Sequence[str], timeout_s: float = 30.0) -> list[JobView]:
        """Until all have ended."""
        self.until(lambda: all(view.state in FINAL for view in reading.get_many(self.db, ids)), timeout_s)
        return reading.get_many(self.db, ids)

    def wait_running(self, ids: Sequence[str], timeout_s: float = 30.0) -> None:
        """Until one of them runs."""
        self.until(lambda: any(v.state is State.RUNNING for v in reading.get_many(self.db, ids)), timeout_s)

    def result(self, job_id: str) -> dict[str, Any]:
        stored = reading.result(self.db, job_id)
        assert stored is not None
        return stored.result

    def until(self, reached: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait for a condition; its failure shows the logs."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            if time.monotonic() > deadline:
                raise AssertionError(f"not reached in {timeout_s} s\n{self.logs()}")
            time.sleep(0.02)

    def logs(self) -> str:
        """The last lines of every process."""
        return "\n".join(f"--- {p.log.name} (alive: {p.alive()})\n{p.text()[-3000:]}" for p in self.processes)
