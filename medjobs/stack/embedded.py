"""The embedded stack itself: which children there are, how they start, stay up and end."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from jobs.settings import Settings
from medjobs.client import Client, MedjobsError
from medjobs.environment import for_service
from medjobs.failing import SAID, Trouble
from medjobs.stack import ports, redis, warden
from medjobs.stack.child import Child
from medjobs.stack.home import Home, write_secret

LOOPBACK = "127.0.0.1"

READY_S = 180.0
"""Longest start: importing torch on a cold disk takes most of it."""

STEADY_S = 1.5
"""A worker that lived this long has everything imported and is at work."""

DRAIN_S = 9.0
"""Time that a worker gets to hand its jobs back when the stack stops; `warden.GRACE_S` must be longer."""


@dataclass(frozen=True)
class Options:
    """What a caller chooses about a stack."""

    host: str = LOOPBACK
    port: int = 8000
    flower_port: int | None = None
    """None: 5555 or, where that is taken, a free one."""

    inference: tuple[str, ...] = ("cpu",)
    """The `--devices` of each inference supervisor, expanded: ("cuda:0,cuda:1",) keeps a worker on each of two GPUs."""

    long: str = "cpu"
    """Device of the long-job worker."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """What the children inherit."""

    @property
    def workers(self) -> int:
        """How many workers there are when all run: the inference workers and the long one."""
        return 1 + sum(len(devices.split(",")) for devices in self.inference)


class Stack:
    """Redis, API, workers, keeper and Flower on one home, as children of this process."""

    def __init__(self, settings: Settings, options: Options, say: Callable[[str], None] = print) -> None:
        """`say` gets one line for each thing that happens after the start, such as a child that was restarted."""
        self.settings, self.options, self.say = settings, options, say
        self.home = Home(settings.home)
        self.children: dict[str, Child] = {}
        self.stopping = False
        self._lock = -1
        self._warden: subprocess.Popen[str] | None = None
        self.port = self.flower_port = 0

    @property
    def url(self) -> str:
        """The API's address for programs on this machine."""
        everywhere = self.options.host in ("0.0.0.0", "")  # noqa: S104  compared, not bound
        return f"http://{LOOPBACK if everywhere else self.options.host}:{self.port}"

    @property
    def flower_url(self) -> str:
        """Flower's address; it listens on loopback alone."""
        return f"http://{LOOPBACK}:{self.flower_port}"

    def start(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Start everything and return when jobs can be run; raises `Trouble`, with nothing left, where that fails."""
        self.home.prepare()
        self._lock = self.home.lock()
        try:
            self._choose_ports()
            self._plan()
            self._watch_over()
            report("Redis")
            self._start_redis()
            report("database")
            self._prepare()
            for name in [name for name in self.children if name != "redis"]:
                self._start_child(self.children[name])
            self._await_ready(report)
            self.home.url.write_text(self.url + "\n")
        except BaseException:
            self.stop()
            raise

    def _choose_ports(self) -> None:
        self.port = ports.require(self.options.host, self.options.port, "--port")
        chosen = self.options.flower_port
        if chosen is None:
            chosen = 5555 if ports.is_free(LOOPBACK, 5555) else 0
        self.flower_port = ports.require(LOOPBACK, chosen, "--flower-port")

    def _plan(self) -> None:
        """Describe every child; none is started yet."""
        if not self.settings.redis_url:
            self._add("redis", redis.command(redis.executable(), self.home.redis_socket), stage=1)
        bind = f"{self.options.host}:{self.port}"
        self._add("api", _python("api", "--bind", bind))
        for number, devices in enumerate(self.options.inference, 1):
            name = "inference" if number == 1 else f"inference-{number}"
            self._add(name, _python("workers", "--pool", "inference", "--devices", devices))
        self._add("long", _python("workers", "--pool", "long", "--devices", self.options.long))
        self._add("keeper", _python("workers.keeper"))
        if not self.home.flower_password.exists():
            write_secret(self.home.flower_password, secrets.token_urlsafe(18))
        flower = _python("medjobs.stack.flower", "--bind", f"{LOOPBACK}:{self.flower_port}")
        self._add("flower", flower, FLOWER_BASIC_AUTH_FILE=str(self.home.flower_password))

    def _add(self, name: str, argv: list[str], stage: int = 0, **extra: str) -> None:
        log = self.home.logs / f"{name}.log"
        self.children[name] = Child(name, argv, self._environment() | extra, self.home.path, log, stage)

    def _environment(self) -> dict[str, str]:
        drain = {"MEDJOBS_DRAIN_S": str(min(self.settings.drain_s, DRAIN_S))}
        # One address cannot be all children's.
        return {**self.options.environment, **for_service(self.settings), **drain, "MEDJOBS_METRICS_BIND": ""}

    def _watch_over(self) -> None:
        # The warden holds the lock too: after a kill -9 no second stack starts before the first one's children ended.
        with (self.home.logs / "warden.log").open("a") as log:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", warden.__file__],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[self._lock],
                text=True,
                cwd=self.home.path,
            )

    def _tell_warden(self, sign: str, child: Child, group: int) -> None:
        if self._warden is not None and self._warden.stdin is not None and self._warden.poll() is None:
            self._warden.stdin.write(f"{sign} {child.stage} {group}\n")
            self._warden.stdin.flush()

    def _start_child(self, child: Child) -> None:
        child.start()
        self._tell_warden("+", child, child.pid)

    def _start_redis(self) -> None:
        if "redis" not in self.children:
            return
        self.home.redis_socket.unlink(missing_ok=True)
        self._start_child(self.children["redis"])
        self._until(lambda: redis.answers(self.home.redis_socket), 15.0, "Redis")

    def _prepare(self) -> None:
        command, environment = _python("medjobs.stack.prepare"), self._environment()
        done = subprocess.run(command, env=environment, cwd=self.home.path, capture_output=True, text=True, check=False)
        (self.home.logs / "prepare.log").write_text(done.stdout + done.stderr)
        if done.returncode == SAID:
            happened, remedy = done.stderr.strip().splitlines()[-2:]
            raise Trouble(happened, remedy)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            remedy = f"See {self.home.logs / 'prepare.log'} and run `medjobs doctor`."
            raise Trouble(f"The database {self.home.path} could not be prepared: {last}", remedy)

    def _await_ready(self, report: Callable[[str], None]) -> None:
        report("API")
        self._until(lambda: self._get("/readyz") is not None, READY_S, "The API")
        report("workers")
        self._until(lambda: self._steady() >= self.options.workers, READY_S, "A worker")
        report("Flower")
        self._until(lambda: _answers(f"{self.flower_url}/healthcheck"), READY_S, "Flower")

    def _until(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            self.tend()
            failed = [child for child in self.children.values() if child.deaths >= 3]
            if failed or time.monotonic() > deadline:
                child = failed[0] if failed else None
                said = f" Its last line: {child.tail(1)[0]}" if child and child.tail(1) else ""
                happened = f"{f'{child.name} ended {child.deaths} times' if child else f'{what} did not start'}.{said}"
                where = child.log if child else self.home.logs
                raise Trouble(happened, f"See {where} and run `medjobs doctor`.")
            time.sleep(0.1)

    def _get(self, path: str) -> Any:
        """The JSON at `path`, None while there is no good answer."""
        try:
            with Client(self.url, self.home.token.read_text().strip(), timeout=5, retries=0) as client:
                return client.get(path)
        except MedjobsError:
            return None

    def live(self) -> list[dict[str, Any]]:
        """The live workers of this start, as the API lists them, each with `child`: the name of its child here.

        Workers of an earlier start may still be listed for some seconds; their processes are of no group of ours.
        """
        groups = {child.pid: name for name, child in self.children.items() if child.pid}
        answer = self._get("/v1/workers") or {"workers": []}
        found = []
        for worker in answer["workers"]:
            try:
                group = os.getpgid(worker["pid"])
            except ProcessLookupError:
                continue
            if group in groups and worker["state"] != "restarting":  # a place whose process cannot start is no worker
                found.append({**worker, "child": groups[group]})
        return found

    def _steady(self) -> int:
        """How many workers have lived for `STEADY_S`: one that cannot run registers too, just before it dies."""
        now = time.time()
        return sum(now - datetime.fromisoformat(worker["started_at"]).timestamp() > STEADY_S for worker in self.live())

    def tend(self) -> None:
        """Note what died, and start again what is due. To be called a few times a second."""
        for child in self.children.values():
            group = child.pid
            if (why := child.died()) is not None:
                # What a dead leader left in its group (a long job's own process) must not go on beside its successor.
                warden.kill(group)
                self._tell_warden("-", child, group)
                self.say(f"{child.name} ended ({why}); starting it again. Its log: {child.log}")
            if child.restart_at is not None and time.monotonic() >= child.restart_at:
                self._start_child(child)
            child.rotate()

    def stop(self) -> list[str]:
        """End every child within 20 s, Redis last; returns the names of those that had to be killed."""
        self.stopping = True
        names = {child.pid: child.name for child in self.children.values() if child.pid}
        stages = [[c.pid for c in self.children.values() if c.pid and c.stage == stage] for stage in (0, 1)]
        killed = warden.end(stages, self._reap)
        for child in self.children.values():
            child.forget()
        if self._warden is not None and self._warden.stdin is not None:
            for group in names:
                self._warden.stdin.write(f"- 0 {group}\n- 1 {group}\n")
            self._warden.stdin.close()
            try:
                self._warden.wait(sum(warden.GRACE_S))
            except subprocess.TimeoutExpired:
                self._warden.kill()  # all that it looks after is ended
        self.home.url.unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        return [names[group] for group in killed]

    def _reap(self) -> None:
        for child in self.children.values():
            if child.process is not None:
                child.process.poll()


def _answers(url: str) -> bool:
    """Whether an HTTP server there says that it is well; a bound port alone says little."""
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
