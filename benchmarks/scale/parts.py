"""The parts of a real stack, each a process of its own, with the processor time that each has taken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.scale.server import make, serving
from benchmarks.stack import KINDS
from db import callers, schema
from db.engine import Database
from jobs.settings import Settings
from medjobs.client import Client
from tests.services.redis import RedisServer
from tests.services.workers import ROOT, Process


@dataclass
class Parts:
    """A database, a Redis, and the processes that were started on them."""

    folder: Path
    environment: dict[str, str]
    settings: Settings
    db: Database
    redis: RedisServer
    postgres_pid: int
    started: list[Process] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> Process:
        """Start `python -m ARGUMENTS`; its log is `name`.log."""
        process = Process(arguments, self.environment, self.folder, self.folder / f"{name}.log")
        self.started.append(process)
        return process

    def cpu(self, process: Process | int) -> float:
        """Seconds of processor time of a process and all that is or was below it."""
        try:
            root = psutil.Process(process if isinstance(process, int) else process.pid)
            alive = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0.0
        total = 0.0
        for one in alive:
            try:
                total += sum(one.cpu_times()[:4])  # user, system, and those of its children that have ended
            except psutil.NoSuchProcess:
                continue
        return total

    def redis_cpu(self) -> float:
        """Seconds of processor time of Redis."""
        assert self.redis._process is not None
        return self.cpu(self.redis._process.pid)

    @contextmanager
    def api(self, processes: int = 1) -> Iterator[tuple[Client, Process]]:
        """The API as in production; a client with a token of a caller of its own."""
        bound = self.folder / "bound"
        bound.unlink(missing_ok=True)
        process = self.start("api", "api", "--bind", "127.0.0.1:0", "--url-file", str(bound))
        while not bound.exists():
            if not process.alive():
                raise RuntimeError(process.text()[-2000:])
        token = callers.create_token(self.db, "fleet", ["read", "submit"], None)
        with Client(bound.read_text().strip(), token) as client:
            yield client, process
        process.terminate()


@contextmanager
def running(folder: Path, database: str) -> Iterator[Parts]:
    """PostgreSQL (kept in `folder`), Redis and a migrated database; all that is started on them ends with it."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder))
        make(server, database)
        url = server.url(database)
        schema.upgrade(url)
        redis = RedisServer()
        stack.callback(redis.stop)
        home = folder.parent / f"{folder.name}-home"
        home.mkdir(exist_ok=True)
        named = {
            "MEDJOBS_HOME": str(home), "MEDJOBS_DATABASE_URL": url, "MEDJOBS_REDIS_URL": redis.url,
            "PYTHONPATH": os.pathsep.join([str(KINDS), str(ROOT)]),
        }  # fmt: skip
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDJOBS_")}
        environment = {**kept, **named}
        db = Database(url)
        stack.callback(db.close)
        parts = Parts(home, environment, Settings.from_environment(environment), db, redis, server.pid)
        stack.callback(lambda: [process.kill() for process in parts.started if process.alive()])
        yield parts
