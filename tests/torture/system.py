"""The real stack: API, two inference workers, one long worker, two keepers, a Redis, and SQLite or PostgreSQL.

A process that ends is started again half a second later, as `restart: always` would; the torture kills whom it likes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine, create_engine, event, text

from db import schema
from db.callers import create_token
from db.engine import Database
from jobs.settings import Settings
from medjobs.stack.ports import free_port
from tests.services.postgres import Postgres
from tests.services.redis import RedisServer

ROOT = Path(__file__).parents[2]
SEAM = Path(__file__).parent / "seam"
TOYS = ROOT / "tests" / "toy_kind"

LEASE_S = 5.0
LEASE_LONG_S = 8.0

SETTINGS = {
    "LEASE_INFERENCE_S": f"{LEASE_S}",
    "RENEW_INFERENCE_S": "0.5",
    "LEASE_LONG_S": f"{LEASE_LONG_S}",
    "RENEW_LONG_S": "1",
    "CONTROL_S": "0.5",
    "HEARTBEAT_S": "0.5",
    "WORKER_DEAD_S": "3",
    "KEEPER_INTERVAL_S": "0.5",
    "RESEND_S": "3",
    "RETRY_BASE_S": "0.3",
    "DRAIN_S": "5",
    "TIMEOUT_GRACE_S": "2",
    "PUBLISH_PAUSE_S": "1",
    "WARM_MODELS": "false",
    "INFERENCE_THREADS": "16",
    "MAX_CRASHES": "3",
    "WEBHOOK_ALLOW": "127.0.0.0/8",
    "WEBHOOK_TIMEOUT_S": "3",
    "WEBHOOK_RESERVE_S": "8",
}
"""Leases of seconds, so that a fault and its rescue fit into a minute; every ratio is about that of the defaults."""

RESTART_S = 0.5

LONG_ROLE = "long_worker"

CLOCK = "TORTURE_CLOCK"
"""Tells the seam that this process goes by the clock that `set_clock` steps."""


@dataclass
class Role:
    """One process of the stack that is kept alive."""

    name: str
    arguments: Sequence[str]
    extra: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    held: bool = False
    """Down because the torture wants it down."""

    due_at: float = 0.0

    def tree(self) -> list[psutil.Process]:
        """The process and all below it; none where it is down."""
        if self.process is None or self.process.poll() is not None:
            return []
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []


class System:
    """Started by `start`, stopped by `stop`. `settings` are MEDJOBS_* without the prefix."""

    def __init__(self, folder: Path, dialect: str, **settings: str) -> None:
        self.folder, self.dialect = folder, dialect
        self.home, self.seam, self.logs = folder / "home", folder / "seam", folder / "logs"
        for made in (self.home, self.seam / "arm", self.seam / "off", self.logs):
            made.mkdir(parents=True, exist_ok=True)
        self.redis = RedisServer()
        self.postgres = Postgres() if dialect == "postgresql" else None
        self.database_url = (
            f"sqlite:///{self.home / 'medjobs.db'}"
            if self.postgres is None
            else self.postgres.url(self.postgres.fresh())
        )
        if self.postgres is not None:
            self.postgres.add_role(LONG_ROLE)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = self._environment(settings)
        self.settings = Settings.from_environment(self.environment)
        schema.upgrade(self.database_url)
        database = Database(self.database_url)
        self.token = create_token(database, "torture", ["read", "submit"], None)
        database.close()
        self.roles = {role.name: role for role in self._roles()}
        self._stopping = threading.Event()
        self._lock = threading.RLock()
        self._warden = threading.Thread(target=self._look_after, name="warden", daemon=True)

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDJOBS_", "PYTHON"))}
        named = {f"MEDJOBS_{name}": value for name, value in {**SETTINGS, **settings}.items()}
        places = {
            "MEDJOBS_HOME": str(self.home), "MEDJOBS_DATABASE_URL": self.database_url,
            "MEDJOBS_REDIS_URL": self.redis.url, "TORTURE_SEAM": str(self.seam), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        return {**kept, **named, **places, "PYTHONPATH": os.pathsep.join([str(SEAM), str(ROOT), str(TOYS)])}

    def _roles(self) -> list[Role]:
        inference = ["workers", "--pool", "inference", "--devices", "cpu"]
        return [
            Role("api", ["api", "--bind", f"127.0.0.1:{self.port}", "--access-log", "/dev/null"], {}),
            Role("inference-1", inference, {}),
            Role("inference-2", inference, {}),
            Role("long", ["workers", "--pool", "long", "--devices", "cpu"], self._as_long_worker()),
            Role("keeper-1", ["workers.keeper"], {}),
            Role("keeper-2", ["workers.keeper"], {}),
        ]

    def _as_long_worker(self) -> dict[str, str]:
        """The long worker has a user of its own in PostgreSQL, so that it alone can be cut off."""
        if self.postgres is None:
            return {}
        return {"MEDJOBS_DATABASE_URL": self.database_url.replace("//medjobs@", f"//{LONG_ROLE}@")}

    def refuse_long(self, refused: bool) -> None:
        """Cut the long worker off from PostgreSQL, or let it in again."""
        assert self.postgres is not None
        self.postgres.refuse(LONG_ROLE, refused)

    def fake_clock(self, *names: str) -> None:
        """Start these again with a clock that `set_clock` steps; nobody for no names."""
        with self._lock:
            for name, role in self.roles.items():
                before = CLOCK in role.extra
                plain = {key: value for key, value in role.extra.items() if key != CLOCK}
                role.extra = {**plain, CLOCK: "1"} if name in names else plain
                if before or name in names:
                    kill(role.tree())

    def mount(self) -> bool:
        """Put the storage on a disk of 24 MiB; False where we may not."""
        mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "medjobs-torture", str(self.home / "files")]
        return subprocess.run(mount, check=False, capture_output=True).returncode == 0

    def unmount(self) -> None:
        """Take the small disk away again."""
        subprocess.run(["umount", "-l", str(self.home / "files")], check=True, capture_output=True)

    def set_clock(self, offset_s: int) -> None:
        """Step the faked clocks to so many seconds before or after the true time."""
        partial = self.seam / "clock.new"
        partial.write_text(str(offset_s))
        partial.replace(self.seam / "clock")

    def start(self) -> None:
        """Start every process, and wait until the API answers and the workers have said that they live."""
        for role in self.roles.values():
            self._start(role)
        self._warden.start()
        deadline = time.monotonic() + 120
        while not self.answers() or len(self.asked("SELECT id FROM workers WHERE gone_at IS NULL")) < 3:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the stack did not start; see {self.logs}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill all of it."""
        self._stopping.set()
        if self._warden.is_alive():
            self._warden.join(10)
        with self._lock:
            for role in self.roles.values():
                kill(role.tree())
                if role.process is not None:
                    role.process.wait(10)
        kill(self.orphans())
        if os.path.ismount(self.home / "files"):
            self.unmount()
        self.redis.resume()
        self.redis.stop()
        if self.postgres is not None:
            self.postgres.stop()

    def orphans(self) -> list[psutil.Process]:
        """Processes of this stack whose parents were killed: known by their environment, which names our seam."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TORTURE_SEAM") == str(self.seam):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def hold(self, *names: str, number: signal.Signals = signal.SIGKILL) -> tuple[int, ...]:
        """Take processes down and keep them down; the pids that were killed."""
        with self._lock:
            gone: list[int] = []
            for name in names:
                self.roles[name].held = True
                gone += kill(self.roles[name].tree(), number)
            return tuple(gone)

    def release(self, *names: str) -> None:
        """Let them be started again, at once."""
        with self._lock:
            for name in names:
                self.roles[name].held = False
                self.roles[name].due_at = 0.0

    def arm(self, point: str) -> Path:
        """The next process that comes by dies there; the file is gone once it has."""
        path = self.seam / "arm" / point
        path.touch()
        return path

    def switch(self, guard: str, off: bool) -> None:
        """Switch a guard off, or on again."""
        path = self.seam / "off" / guard
        path.touch() if off else path.unlink(missing_ok=True)

    def engine(self) -> Engine:
        """A way to the database that shares nothing with the system's own."""
        url = self.database_url.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        if self.dialect == "sqlite":

            @event.listens_for(engine, "connect")
            def _wait(connection: object, _: object) -> None:
                connection.execute("PRAGMA busy_timeout=30000")  # type: ignore[attr-defined]

        return engine

    def answers(self) -> bool:
        """Whether the API answers."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def asked(self, statement: str, **values: str) -> set[Any]:
        """The first column of what the database answers, by a connection of its own."""
        engine = self.engine()
        try:
            with engine.connect() as connection:
                return set(connection.execute(text(statement), values).scalars())
        finally:
            engine.dispose()

    def _start(self, role: Role) -> None:
        with (self.logs / f"{role.name}.log").open("ab") as log:
            role.process = subprocess.Popen(
                [sys.executable, "-P", "-m", *role.arguments],
                env={**self.environment, **role.extra}, cwd=self.home, stdout=log, stderr=log,
            )  # fmt: skip

    def _look_after(self) -> None:
        while not self._stopping.wait(0.05):
            with self._lock:
                for role in self.roles.values():
                    self._keep(role)

    def _keep(self, role: Role) -> None:
        if role.process is not None and role.process.poll() is not None:
            role.process, role.due_at = None, time.monotonic() + RESTART_S
        if role.process is None and not role.held and time.monotonic() >= role.due_at and not self._stopping.is_set():
            self._start(role)


def kill(processes: Sequence[psutil.Process], number: signal.Signals = signal.SIGKILL) -> list[int]:
    """Send a signal to each that still lives; the pids that got it."""
    sent = []
    for process in processes:
        try:
            process.send_signal(number)
            sent.append(process.pid)
        except psutil.Error:
            continue
    return sent
