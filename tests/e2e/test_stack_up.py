"""`medjobs up` as a user starts it: six lines, jobs that survive, and nothing left behind. With the toy kinds."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from medjobs.client import Client

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toy_kind"
MEDJOBS = [sys.executable, "-P", "-m", "medjobs"]


class Up:
    """One `medjobs up` in a folder, as a terminal would run it."""

    def __init__(self, home: Path, cwd: Path, *options: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDJOBS_")}
        path = os.pathsep.join([str(TOYS), str(ROOT)])
        self.environment = {**kept, "MEDJOBS_HOME": str(home), "PYTHONPATH": path, **environment}
        self.home, self.screen = home, cwd / f"{home.name}.screen"
        command = [*MEDJOBS, "up", "--devices", "cpu", *(options or ("--port", "0"))]
        with self.screen.open("w") as out:
            self.process = subprocess.Popen(command, env=self.environment, cwd=cwd, stdout=out, stderr=out)

    def shown(self) -> list[str]:
        return self.screen.read_text().splitlines()

    def ready(self) -> Up:
        deadline = time.monotonic() + 120
        while len(self.shown()) < 6:
            assert self.process.poll() is None, self.screen.read_text()
            assert time.monotonic() < deadline, self.screen.read_text() + self.logs()
            time.sleep(0.1)
        return self

    def logs(self) -> str:
        return "\n".join(f"--- {p.name}\n{p.read_text()[-2000:]}" for p in sorted((self.home / "logs").glob("*.log")))

    def client(self) -> Client:
        return Client((self.home / "url").read_text().strip(), (self.home / "token").read_text().strip())

    def run(self, *typed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MEDJOBS, *typed], env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=120
        )  # fmt: skip

    def family(self) -> dict[int, str]:
        """Every living process that was started for this home, by pid: they all carry its name in their environment."""
        mark = f"MEDJOBS_HOME={self.home}\0".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Signal it alone; the seconds until it ended."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(40)
        return time.monotonic() - started


@pytest.fixture
def ups(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def start(name: str = "home", *options: str, cwd: Path = tmp_path, **environment: str) -> Up:
        made.append(Up(tmp_path / name, cwd, *options, **environment))
        return made[-1]

    yield start
    for up in made:
        up.stop()
    for up in made:
        assert until(lambda up=up: not up.family(), 25), up.family()


def until(reached: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_up_says_six_lines_runs_a_job_and_remembers_it_the_next_day(ups: Callable[..., Up], tmp_path: Path) -> None:
    # Given a stack
    up = ups().ready()
    lines = up.shown()
    assert [line.split()[0] for line in lines] == ["API", "Docs", "Flower", "Token", "Submit", "Stop"]
    assert lines[0].split()[1] == (up.home / "url").read_text().strip()
    assert (up.home / "token").stat().st_mode & 0o777 == 0o600
    # When a job is submitted from another terminal
    (tmp_path / "input").write_bytes(bytes([1, 2, 3]))
    done = up.run("submit", str(tmp_path / "input"), "--kind", "toy-mean", "--wait", "--json")
    assert done.returncode == 0, done.stderr + up.logs()
    assert json.loads(done.stdout)["items"] == [{"mean": 2.0, "size": 3}]
    # Then Flower shows it, to who knows the password alone
    with up.client() as client:
        (job,) = client.jobs()
    flower = lines[2].split()[1]
    secret = (up.home / "flower.password").read_text().strip()
    assert httpx.get(f"{flower}/api/tasks").status_code == 401
    assert httpx.get(f"{flower}/").status_code in (302, 401)

    def seen() -> bool:
        answer = httpx.get(f"{flower}/api/task/info/{job.id}", auth=("medjobs", secret))
        return answer.status_code == 200 and answer.json()["state"] == "SUCCESS"

    assert until(seen, 15), "Flower never showed the job"
    # And a SIGINT to it alone ends everything within 20 s, its address included
    assert up.stop(signal.SIGINT) < 20
    assert up.process.returncode == 0
    assert up.family() == {}
    assert not (up.home / "url").exists()
    # And the next start still knows the job
    again = ups().ready()
    with again.client() as client:
        assert [known.id for known in client.jobs()] == [job.id]
        assert client.job(job.id).result().items == [{"mean": 2.0, "size": 3}]


def test_a_hostile_folder_does_not_replace_our_packages(ups: Callable[..., Up], tmp_path: Path) -> None:
    # Given a folder with packages of our names, and a home with them too
    for place in (tmp_path / "hostile", tmp_path / "home"):
        for name in ("models", "db", "api", "jobs", "workers", "broker", "storage", "imaging", "medjobs", "celery"):
            (place / name).mkdir(parents=True)
            (place / name / "__init__.py").write_text("import os; os._exit(66)")
    # When the stack is started from there
    up = ups(cwd=tmp_path / "hostile").ready()
    # Then it runs our code
    with up.client() as client:
        job = client.submit("toy-mean", {"data": {"values": [2, 4]}}).wait(30)
        assert job.result().items[0]["mean"] == 3.0


def test_kill_9_of_up_leaves_no_process_and_the_home_is_free_again(ups: Callable[..., Up]) -> None:
    up = ups().ready()
    assert len(up.family()) >= 8
    up.stop(signal.SIGKILL)
    assert until(lambda: not up.family(), 22), up.family()
    ups().ready()


def test_a_child_that_dies_is_started_again_and_said_in_one_line(ups: Callable[..., Up]) -> None:
    up = ups().ready()
    (keeper,) = [pid for pid, command in up.family().items() if "workers.keeper" in command]
    os.kill(keeper, signal.SIGKILL)
    assert until(lambda: len(up.shown()) == 7, 5)
    assert re.search(r"^keeper ended \(killed by signal 9\); starting it again\. .*keeper\.log$", up.shown()[6])
    assert until(lambda: [pid for pid, line in up.family().items() if "workers.keeper" in line and pid != keeper], 5)
    assert up.process.poll() is None


def test_a_second_up_on_one_home_is_refused_and_two_homes_run_side_by_side(ups: Callable[..., Up]) -> None:
    first = ups("one").ready()
    refused = first.run("up", "--port", "0")
    assert refused.returncode == 1
    assert f"pid {first.process.pid}" in refused.stderr
    second = ups("two").ready()
    for up in (first, second):
        with up.client() as client:
            client.submit("toy-mean", {"data": {"values": [1]}}).wait(30)
            assert len(list(client.jobs())) == 1


def test_a_taken_port_is_named_with_its_remedy_and_nothing_is_left(ups: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        up = ups("home", "--port", str(port))
        assert up.process.wait(30) == 1
    shown = up.screen.read_text()
    assert f"Port {port} is taken by pid {os.getpid()}" in shown
    assert "--port" in shown.splitlines()[1]
    assert up.family() == {}


def test_a_home_with_a_long_path_works(ups: Callable[..., Up]) -> None:
    up = ups("a-folder-with-a-name-that-is-far-too-long-for-the-path-of-a-unix-socket-and-blanks in it" * 2).ready()
    with up.client() as client:
        assert client.submit("toy-mean", {"data": {"values": [7]}}).wait(30).result().items[0]["mean"] == 7.0
