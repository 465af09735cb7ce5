"""An installation on several hosts: PostgreSQL, Redis, API and keepers on one, `medjobs worker` on the others.

The hosts are namespaces (network.py); the storage is a folder that all of them see, as a mounted one would be.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, create_engine, text

from db import schema
from db.callers import create_token
from db.engine import Database
from tests.services.network import SUBNET, Host, Network
from tests.services.postgres import Postgres
from tests.services.redis import RedisServer
from tests.services.workers import FAST, ROOT, TOYS

SEAM = ROOT / "tests" / "torture" / "seam"


class Installation:
    """Made and used inside of the control host: `with network["control"].inside(), Installation(...) as site:`."""

    def __init__(self, folder: Path, network: Network, control: str, **settings: str) -> None:
        """`settings` are MEDJOBS_* without the prefix, of every process."""
        self.folder, self.network, self.control = folder, network, network[control]
        self.files, self.seam = folder / "files", folder / "seam"
        for made in (self.files, self.seam / "arm", self.seam / "off", folder / "logs"):
            made.mkdir(parents=True)
        self._settings = settings
        self._started: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Installation:
        try:
            self._begin()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self) -> None:
        self._stack.callback(self._stop)
        address, password = self.control.address, secrets.token_hex(8)
        postgres = Postgres(address=address)
        self._stack.callback(postgres.stop)
        postgres.admit(f"{SUBNET}.0/24", password)
        redis = RedisServer("--bind", address, "127.0.0.1")
        self._stack.callback(redis.stop)
        assert redis.command(f"CONFIG SET requirepass {password}") == b"+OK"
        name = postgres.fresh()
        self.database_url = f"postgresql+psycopg://medjobs:{password}@{address}:{postgres.port}/{name}"
        self.redis_url = f"redis://:{password}@{address}:{redis.port}/0"
        schema.upgrade(self.database_url)
        database = Database(self.database_url)
        self.token = create_token(database, "tester", ["read", "submit"], None)
        self.admin = create_token(database, "operator", ["admin"], None)
        database.close()
        engine_url = postgres.url(name)
        self.engine: Engine = create_engine(engine_url, isolation_level="AUTOCOMMIT")
        self._stack.callback(self.engine.dispose)
        self.url = f"http://{address}:8000"
        for service in (["api", "--bind", f"{address}:8000", "--access-log", "/dev/null"], *[["workers.keeper"]] * 2):
            self._start(self.control, [sys.executable, "-P", "-m", *service], self.variables(self.control))
        self.until(self._answers, 300)

    def variables(self, host: Host) -> dict[str, str]:
        """The environment of a host: the three variables that join it, and what shortens the waits of this test."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDJOBS_", "PYTHON"))}
        named = {f"MEDJOBS_{name}": value for name, value in {**FAST, **self._settings}.items()}
        home = self.folder / host.name
        home.mkdir(exist_ok=True)
        return {
            **kept, **named, "MEDJOBS_HOME": str(home), "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(SEAM), str(ROOT), str(TOYS)]), "TORTURE_SEAM": str(self.seam),
            "MEDJOBS_DATABASE_URL": self.database_url,
            "MEDJOBS_REDIS_URL": self.redis_url,
            "MEDJOBS_STORAGE_URL": self.files.as_uri(),
        }  # fmt: skip

    def join(self, host: Host, pool: str = "inference", **other: str) -> subprocess.Popen[bytes]:
        """`medjobs worker` on a host; `other` variables than those that join it."""
        command = [sys.executable, "-P", "-m", "medjobs", "worker", "--pool", pool, "--devices", "cpu"]
        return self._start(host, command, {**self.variables(host), **other}, pool)

    def medjobs(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the operator, typed on the control host."""
        environment = {**self.variables(self.control), "MEDJOBS_URL": self.url, "MEDJOBS_TOKEN": self.admin}
        command = self.control.command(sys.executable, "-P", "-m", "medjobs", *words)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def _start(
        self, host: Host, command: Sequence[str], environment: dict[str, str], name: str = "control"
    ) -> subprocess.Popen[bytes]:
        with self.log(host, name).open("ab") as log:
            process = subprocess.Popen(host.command(*command), env=environment, cwd="/", stdout=log, stderr=log)
        self._started.append(process)
        return process

    def log(self, host: Host, name: str = "control") -> Path:
        """The log of what was started on a host under that name."""
        return self.folder / "logs" / f"{host.name}-{name}.log"

    def _stop(self) -> None:
        import psutil

        trees = []
        for process in self._started:
            try:
                root = psutil.Process(process.pid)
                trees += [root, *root.children(recursive=True)]
            except psutil.Error:
                continue
        for one in trees:
            try:
                one.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        for process in self._started:
            process.wait(20)

    def asked(self, statement: str, **values: Any) -> list[Any]:
        """Rows, by a connection that shares nothing with the system's own."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement), values).all())

    def one(self, statement: str, **values: Any) -> Any:
        """The first column of the first row."""
        return self.asked(statement, **values)[0][0]

    def live(self) -> list[Any]:
        """Host and pool of each worker that has joined and not left."""
        return [
            tuple(row) for row in self.asked("SELECT host, pool FROM workers WHERE gone_at IS NULL ORDER BY host, pool")
        ]

    def until(self, reached: Callable[[], object], seconds: float) -> None:
        """Wait for it; its failure shows the ends of the logs."""
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                raise AssertionError(f"not reached in {seconds:.0f} s\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        """The last lines of every process."""
        files = sorted((self.folder / "logs").iterdir())
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in files)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
