"""A release takes over from an older one without a pause: both run side by side over the migrations between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, create_engine, text

from db import revisions
from medjobs.stack.ports import free_port
from tests.conftest import absent
from tests.services.postgres import Postgres
from tests.services.redis import RedisServer
from tests.services.workers import FAST, Process
from tests.torture.load import Load

ROOT = Path(__file__).parents[2]

OLD = "a75b6fd"
"""The release before: schema 0003, four releases of kinds."""

SERVICES = ("worker", "keeper", "api")


class Release:
    """One checkout, and its processes in an installation that it shares."""

    def __init__(self, code: Path, folder: Path, shared: dict[str, str]) -> None:
        self.name, self._folder = folder.name, folder
        folder.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDJOBS_", "PYTHON"))}
        named = {f"MEDJOBS_{name}": value for name, value in {**FAST, "INFERENCE_THREADS": "4"}.items()}
        path = os.pathsep.join([str(code), str(code / "tests" / "toy_kind")])
        self._environment = {**kept, **named, **shared, "MEDJOBS_HOME": str(folder), "PYTHONPATH": path}
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.processes: dict[str, Process] = {}

    def run(self, *words: str, module: str = "medjobs") -> subprocess.CompletedProcess[str]:
        """Type a command of this release."""
        command = [sys.executable, "-P", "-m", module, *words]
        return subprocess.run(
            command, env=self._environment, cwd=self._folder, capture_output=True, text=True, timeout=120, check=False
        )

    def start(self) -> None:
        """Keeper, API and an inference worker."""
        commands = {
            "worker": ["medjobs", "worker", "--devices", "cpu"],
            "keeper": ["medjobs", "keeper"],
            "api": ["api", "--bind", f"127.0.0.1:{self._port}", "--access-log", "/dev/null"],
        }
        for name in SERVICES:
            log = self._folder.parent / f"{self.name}-{name}.log"
            self.processes[name] = Process(commands[name], self._environment, self._folder, log)

    def answers(self) -> bool:
        """Whether its API does."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """What still runs of it, the worker of a supervisor included."""
        import psutil

        for process in self.processes.values():
            if process.alive():
                below = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                for one in below:
                    if one.is_running():
                        one.kill()

    def logs(self) -> str:
        """The last lines of each."""
        return "\n".join(f"--- {one.log.name}\n{one.text()[-3000:]}" for one in self.processes.values())


class Installation:
    """One PostgreSQL, Redis and storage, and two releases."""

    def __init__(self, folder: Path, postgres: Postgres, redis: RedisServer) -> None:
        self.database, self.files = postgres.fresh(), folder / "files"
        url = postgres.url(self.database)
        shared = {
            "MEDJOBS_DATABASE_URL": url,
            "MEDJOBS_REDIS_URL": redis.url,
            "MEDJOBS_STORAGE_URL": self.files.as_uri(),
        }
        self.engine: Engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self.old = Release(checkout(OLD, folder / "code"), folder / "old", shared)
        self.new = Release(ROOT, folder / "new", shared)

    def one(self, statement: str, **values: Any) -> Any:
        """The first column of the first row."""
        with self.engine.connect() as connection:
            return connection.execute(text(statement), values).scalar_one()

    def until(self, reached: Callable[[], object], seconds: float) -> None:
        """Wait for it; its failure shows the logs."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not reached in {seconds:.0f} s\n{self.old.logs()}\n{self.new.logs()}"
            time.sleep(0.1)

    def live(self) -> list[str]:
        """Ids of the workers that live, oldest first."""
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT id FROM workers WHERE gone_at IS NULL ORDER BY started_at"))
            return list(found.scalars())

    def ended(self, worker: str, since: float = 0.0) -> int:
        """Jobs that a worker has ended well."""
        ended = (
            "SELECT count(*) FROM attempts WHERE worker_id = :worker AND outcome = 'succeeded' AND ended_at > :since"
        )
        return int(self.one(ended, worker=worker, since=since))

    def now(self) -> float:
        """The database's clock."""
        return float(self.one("SELECT extract(epoch FROM clock_timestamp())"))


def checkout(commit: str, folder: Path) -> Path:
    """The files of a commit of this repository."""
    git = ["git", "-C", str(ROOT)]
    if subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False).returncode:
        absent(f"this clone does not hold the commit {commit}, the release before; fetch its whole history.")
    folder.mkdir()
    packed = subprocess.run([*git, "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "x", "-C", str(folder)], input=packed, check=True)
    return folder


@pytest.fixture
def installation(tmp_path: Path, postgres_server: Postgres, redis_server: RedisServer) -> Iterator[Installation]:
    made = Installation(tmp_path, postgres_server, redis_server)
    yield made
    for release in (made.old, made.new):
        release.kill()
    made.engine.dispose()
    postgres_server.drop(made.database)


@pytest.mark.timeout(900)
def test_old_and_new_side_by_side_over_the_migrations_fail_no_job(installation: Installation, tmp_path: Path) -> None:
    """Given the old release under load, when the schema is upgraded beneath it, the new release is started beside it
    and the old one is stopped, then every job has succeeded once, and no worker crashed."""
    old, new = installation.old, installation.new
    assert old.run("db", "upgrade").returncode == 0
    before = installation.one("SELECT version_num FROM alembic_version")
    created = old.run("token", "create", "tester", "--scope", "submit", "--scope", "read", "--json")
    token = json.loads(created.stdout)["token"]
    old.start()
    installation.until(lambda: old.answers() and len(installation.live()) == 1, 300)
    (older,) = installation.live()
    with Load(tmp_path, installation.engine, old.url, token, sleep_s=0.1) as load:
        installation.until(lambda: installation.ended(older) > 20, 240)
        if before != revisions.known()[-1]:
            refuses_the_old_schema(new)
        upgraded = new.run("db", "upgrade")
        assert upgraded.returncode == 0, upgraded.stderr
        at = installation.now()
        new.start()
        installation.until(lambda: new.answers() and len(installation.live()) == 2, 300)
        newer = installation.live()[-1]
        installation.until(lambda: installation.ended(newer) > 20 and installation.ended(older, since=at) > 20, 240)
        load.go_to(new.url)
        assert {name: old.processes[name].terminate(60) for name in SERVICES} == dict.fromkeys(SERVICES, 0)
        alone = installation.now()
        installation.until(lambda: installation.ended(newer, since=alone) > 20, 240)
        load.end(installation.until, 300)
    counts = f"{installation.ended(older)} jobs by the old release, {installation.ended(newer)} by the new"
    print(f"schema {before} -> {revisions.known()[-1]}: {counts}")
    installation.until(lambda: not load.violations(installation.files, tmp_path / "none"), 30)
    assert load.violations(installation.files, tmp_path / "none") == []
    assert load.count("state <> 'succeeded'") == 0
    assert load.count("crashes > 0") == 0
    assert installation.one("SELECT version_num FROM alembic_version") == revisions.known()[-1]


def refuses_the_old_schema(new: Release) -> None:
    """The other order is not possible: nothing of the new release starts before its migrations, and each says so."""
    for words, module in ((["worker", "--devices", "cpu"], "medjobs"), (["keeper"], "medjobs"), ([], "api")):
        refused = new.run(*words, module=module)
        assert refused.returncode == 1, (words, refused)
        assert "older than this code" in refused.stderr
        assert "medjobs db upgrade" in refused.stderr
