"""`medjobs alive PART`, as a healthcheck asks it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from db import workers
from db.engine import Database
from jobs.settings import Settings
from medjobs.commands.alive import KEEPER_S, alive
from workers.keeper import Keeper


def ask(*typed: str) -> Result:
    return CliRunner().invoke(alive, typed)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Path:
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDJOBS_DATABASE_URL", sqlite_url)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def register(url: str, host: str) -> None:
    database = Database(url)
    workers.register(database, workers.Worker(id=f"{host}:1", host=host, pid=1, pool="inference", device="cpu"))
    database.close()


def test_a_worker_is_alive_by_a_heartbeat_of_this_host(home: Path, sqlite_url: str) -> None:
    assert ask("worker").exit_code == 1
    register(sqlite_url, "another-host")
    assert ask("worker").exit_code == 1
    register(sqlite_url, socket.gethostname())
    assert ask("worker").exit_code == 0
    assert ask("worker", "--pool", "inference").exit_code == 0
    told = ask("worker", "--pool", "long")
    assert told.exit_code == 1
    assert f"No long worker of {socket.gethostname()}" in told.output


def test_a_place_whose_worker_cannot_start_is_not_alive(home: Path, sqlite_url: str) -> None:
    database, host = Database(sqlite_url), socket.gethostname()
    shown = workers.Worker(id="p", host=host, pid=1, pool="inference", device="cuda:0", state="restarting")
    workers.register(database, shown)
    database.close()
    assert ask("worker", "--pool", "inference").exit_code == 1


def test_a_worker_without_its_database_is_not_alive(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDJOBS_DATABASE_URL", f"sqlite:///{tmp_path}/nowhere/medjobs.db")
    told = ask("worker")
    assert told.exit_code == 1
    assert "database does not answer" in told.output


def test_a_keeper_is_alive_while_it_ends_its_turns(home: Path) -> None:
    assert ask("keeper").exit_code == 1
    keeper = Keeper(Settings.from_environment())
    running = threading.Thread(target=keeper._loop, args=({}, keeper._turned))
    running.start()
    deadline = time.monotonic() + 20
    while not (home / "keeper.turn").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    keeper._stopping.set()
    running.join(20)
    assert ask("keeper").exit_code == 0
    long_ago = time.time() - KEEPER_S - 5
    os.utime(home / "keeper.turn", (long_ago, long_ago))
    assert ask("keeper").exit_code == 1


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, int]]]:
    statuses: dict[str, int] = {}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.get(self.path, 404))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listener = HTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=listener.serve_forever, args=(0.01,))
    serving.start()
    yield f"127.0.0.1:{listener.server_port}", statuses
    listener.shutdown()
    serving.join()
    listener.server_close()


def test_the_api_is_alive_when_it_is_ready(home: Path, server: tuple[str, dict[str, int]]) -> None:
    address, statuses = server
    statuses["/readyz"] = 503
    assert ask("api", "--address", address).exit_code == 1
    statuses["/readyz"] = 200
    assert ask("api", "--address", address).exit_code == 0
    assert ask("api", "--address", "127.0.0.1:1").exit_code == 1


def test_flower_is_alive_when_it_asks_for_its_password_and_not_when_it_lets_anyone_in(
    home: Path, server: tuple[str, dict[str, int]]
) -> None:
    address, statuses = server
    statuses["/"] = 401
    assert ask("flower", "--address", address).exit_code == 0
    statuses["/"] = 200
    assert ask("flower", "--address", address).exit_code == 1
