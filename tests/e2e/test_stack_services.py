"""The parts of a larger installation, each started by its own command as docker-compose.yml does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from db import workers
from db.engine import Database
from medjobs.stack.ports import free_port
from tests.services.redis import RedisServer

ROOT = Path(__file__).parents[2]

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Start]:
    """Starts `medjobs ...` in a folder with hostile packages; its output goes to `screen`."""
    hostile = tmp_path / "hostile"
    for name in ("workers", "db", "jobs", "models"):
        (hostile / name).mkdir(parents=True)
        (hostile / name / "__init__.py").write_text("import os; os._exit(66)")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDJOBS_", "FLOWER_"))}
    environment = {
        **kept,
        "PYTHONPATH": str(ROOT),
        "MEDJOBS_HOME": str(tmp_path / "home"),
        "MEDJOBS_DATABASE_URL": sqlite_url,
        "MEDJOBS_REDIS_URL": redis_server.url,
    }
    made: list[subprocess.Popen[bytes]] = []

    def begin(*typed: str, **more: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "screen").open("ab") as screen:
            command = [sys.executable, "-P", "-m", "medjobs", *typed]
            made.append(
                subprocess.Popen(command, env={**environment, **more}, cwd=hostile, stdout=screen, stderr=screen)
            )
        return made[-1]

    yield begin
    for process in made:
        if process.poll() is None:
            process.kill()
        process.wait(20)


def until(reached: Callable[[], object], process: subprocess.Popen[bytes], screen: Path) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, screen.read_text()
        assert time.monotonic() < deadline, screen.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("pool", ["inference", "long"])
def test_a_worker_registers_and_leaves_on_sigterm(start: Start, sqlite_url: str, tmp_path: Path, pool: str) -> None:
    database = Database(sqlite_url)
    worker = start("worker", "--pool", pool, "--devices", "cpu")
    until(lambda: "takes jobs" in (tmp_path / "screen").read_text(), worker, tmp_path / "screen")
    assert [found.pool for found in workers.live(database, 20)] == [pool]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert workers.live(database, 20) == []
    database.close()


def test_a_keeper_runs_until_sigterm(start: Start, tmp_path: Path) -> None:
    keeper = start("keeper")
    until(lambda: "watches" in (tmp_path / "screen").read_text(), keeper, tmp_path / "screen")
    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(20) == 0


def test_flower_wants_a_password_and_takes_it_from_a_file(start: Start, tmp_path: Path) -> None:
    refused = start("flower")
    assert refused.wait(20) == 1
    assert "FLOWER_BASIC_AUTH" in (tmp_path / "screen").read_text()
    (tmp_path / "secret").write_text("open-sesame\n")
    port = free_port()
    flower = start("flower", "--bind", f"127.0.0.1:{port}", FLOWER_BASIC_AUTH_FILE=str(tmp_path / "secret"))

    def answers(secret: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api/tasks", auth=("medjobs", secret), timeout=5).status_code
        except httpx.TransportError:
            return 0

    until(lambda: answers("open-sesame") == 200, flower, tmp_path / "screen")
    assert answers("wrong") == 401
    assert "open-sesame" not in (Path("/proc") / str(flower.pid) / "cmdline").read_text()


def test_a_service_says_which_setting_is_wrong(start: Start, tmp_path: Path) -> None:
    assert start("worker", MEDJOBS_DRAIN_S="soon").wait(20) == 2
    assert "MEDJOBS_DRAIN_S" in (tmp_path / "screen").read_text()
