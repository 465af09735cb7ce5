"""What can go wrong. Each fault is a function that does harm, again and again, until the orders of its phase are in."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil

from tests.torture.scene import Scene, busy, running, stop_outside_a_write, unfinished
from tests.torture.scene import tree as tree_of
from tests.torture.system import LEASE_LONG_S, LEASE_S, kill

POINTS = (
    "after-insert", "after-insert-commit", "after-publish", "after-mark-sent", "after-webhook",
    "after-claim.inference", "after-run.inference", "after-file-write.inference", "before-commit.inference",
    "after-commit.inference", "after-claim.long", "after-run.long", "after-file-write.long", "before-commit.long",
    "after-commit.long",
)  # fmt: skip
"""Where tests/torture/seam lets a process die: the steps of architecture.md's life of a job, in its order."""


Fault = Callable[[Scene], None]


def nothing(scene: Scene) -> None:
    """The fault-free run."""


def kill_workers(scene: Scene) -> None:
    """kill -9 of a worker, parent or child or the whole host of it, every 2 to 5 s."""
    for _ in scene.pauses(2, 5, least=2):
        role = scene.rng.choice(["inference-1", "inference-2", "inference-1", "inference-2", "long"])
        tree = scene.system.roles[role].tree()
        if not tree:
            continue
        whom = scene.rng.choice(["parent", "child", "all"])
        chosen = {"parent": tree[:1], "child": tree[-1:], "all": tree}[whom]
        at = time.time()
        scene.note(f"kill -9 {whom}", at, pids=tuple(kill(chosen)))


def kill_some(scene: Scene) -> None:
    """kill -9 of an inference worker every 6 to 10 s, so that another has time to load its network."""
    for number in scene.pauses(6, 10, least=3):
        tree = scene.system.roles[("inference-1", "inference-2")[number % 2]].tree()
        scene.note("kill -9 child", time.time(), pids=tuple(kill(tree[-1:])))


def flush(scene: Scene) -> None:
    """FLUSHALL every 10 s."""
    for _ in scene.pauses(3, 10, least=1):
        scene.note("FLUSHALL", time.time())
        scene.system.redis.flush()


def restart_redis(scene: Scene) -> None:
    """SIGKILL and restart, twenty times."""
    for _ in scene.pauses(0.5, 1.5, most=20, least=20):
        with scene.lasting("redis SIGKILL and restart"):
            scene.system.redis.kill()
            time.sleep(scene.rng.uniform(0.0, 0.5))
            scene.system.redis.start()


def stop_redis(scene: Scene, seconds: float = 60.0) -> None:
    """SIGSTOP for a minute: connections stay open, and nobody answers."""
    scene.over.wait(2)
    with scene.lasting(f"redis SIGSTOP {seconds:.0f} s"):
        scene.system.redis.pause()
        time.sleep(seconds)
        scene.system.redis.resume()


def stop_redis_shortly(scene: Scene) -> None:
    """SIGSTOP for 15 s."""
    stop_redis(scene, 15.0)


def fill_redis(scene: Scene) -> None:
    """`maxmemory` is reached: Redis refuses every write for a while."""
    for _ in scene.pauses(1, 3, most=3, least=3):
        with scene.lasting("redis maxmemory reached"):
            scene.system.redis.command("CONFIG SET maxmemory 1mb")
            time.sleep(5)
            scene.system.redis.command("CONFIG SET maxmemory 0")


def redis_and_keepers_away(scene: Scene) -> None:
    """Redis is down while jobs are submitted, and up again while no keeper lives."""
    system = scene.system
    with scene.lasting("redis down at submit, keepers dead"):
        system.redis.kill()
        system.hold("keeper-1", "keeper-2")
        scene.over.wait()
        system.redis.start()
        time.sleep(3)
        system.release("keeper-1", "keeper-2")


def five_times(scene: Scene) -> None:
    """Every message five times and out of order; Redis' visibility timeout is 2 s, and some jobs take 20 s."""
    with scene.lasting("every message five times"):
        scene.system.switch("five-times", off=True)
        scene.over.wait()
        time.sleep(3)
        scene.system.switch("five-times", off=False)


def zombies(scene: Scene) -> None:
    """A worker is stopped beyond its lease, another does its jobs, then it wakes up and goes on."""
    for number in scene.pauses(2, 3):
        role = ("inference-1", "long")[number % 2]
        lease = LEASE_LONG_S if role == "long" else LEASE_S
        deadline = time.monotonic() + 15
        while not busy(scene, role) and time.monotonic() < deadline:
            time.sleep(0.1)
        tree = scene.system.roles[role].tree()
        with scene.lasting(f"SIGSTOP {role.partition('-')[0]} beyond its lease"):
            try:
                stop_outside_a_write(scene, tree)
                time.sleep(lease + 3)
            finally:
                kill(tree, signal.SIGCONT)


def crash_points(scene: Scene) -> None:
    """The process dies at each named step in turn; where nobody comes by, that step has another turn later."""
    waiting = list(POINTS)
    for _ in range(5):
        waiting = [point for point in waiting if not _dies_at(scene, point, 8.0)]


def _dies_at(scene: Scene, point: str, patience_s: float) -> bool:
    """Arm a step, and wait for the process that comes by; whether one did."""
    armed, deadline = scene.system.arm(point), time.monotonic() + patience_s
    while armed.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        armed.unlink()
        return False
    except FileNotFoundError:
        scene.note(f"death {point}", time.time())
        return True


def fill_disk(scene: Scene) -> None:
    """Another program fills the disk of the storage to the last byte, for some seconds."""
    ballast = scene.system.home / "files" / "ballast"
    for _ in scene.pauses(1, 2, most=3, least=3):
        with scene.lasting("disk full"):
            with contextlib.suppress(OSError), ballast.open("wb") as stream:
                while True:
                    stream.write(bytes(1 << 16))
                    stream.flush()
            time.sleep(4)
            ballast.unlink()


def database_away(scene: Scene) -> None:
    """PostgreSQL: restarted, its connections cut, stopped for 10 s. SQLite: locked by a long writer."""
    hurt = _hurt_postgres if scene.system.postgres is not None else _hurt_sqlite
    for number in scene.pauses(1, 3, least=4):
        hurt(scene, number)


def _hurt_postgres(scene: Scene, number: int) -> None:
    server = scene.system.postgres
    assert server is not None
    match number % 4:
        case 0:
            with scene.lasting("postgresql restarted as by a power cut"):
                server.restart(immediately=True)
        case 1:
            with scene.lasting("postgresql connections cut"):
                server.cut(scene.system.database_url.rpartition("/")[2])
        case 2:
            with scene.lasting("postgresql restarted"):
                server.restart()
        case 3:
            with scene.lasting("postgresql stopped 10 s"):
                processes = tree_of(server.pid)
                kill(processes, signal.SIGSTOP)
                time.sleep(10)
                kill(processes, signal.SIGCONT)


def _hurt_sqlite(scene: Scene, number: int) -> None:
    seconds = (2.0, 8.0, 12.0)[number % 3]  # above leases, and above what a writer waits (a third of a lease)
    with scene.lasting(f"sqlite locked {seconds:.0f} s"):
        connection = sqlite3.connect(scene.system.home / "medjobs.db", timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()


def long_jobs(scene: Scene) -> None:
    """Long jobs are killed, drained, stopped, cancelled while they are killed, and cut off from the database."""
    for number in _whenever(scene, lambda: busy(scene, "long")):
        _hurt_long(scene, number)


def one_long_job(scene: Scene) -> None:
    """One of these."""
    if busy(scene, "long"):
        _hurt_long(scene, scene.rng.randrange(4))


def _hurt_long(scene: Scene, number: int) -> None:
    tree = scene.system.roles["long"].tree()
    match number % 4:
        case 0:
            scene.note("kill -9 of a training", time.time(), pids=tuple(kill(tree[-1:])))
        case 1:
            scene.note("SIGTERM (drain) of the long worker", time.time())
            kill(tree[:1], signal.SIGTERM)
            time.sleep(4)
        case 2:
            _cancel_and_kill(scene)
        case 3:
            _cut_off(scene, tree)


def _whenever(scene: Scene, ready: Callable[[], bool], least: int = 4) -> Iterator[int]:
    """A number each time that it is so, a second or more apart, until it is over."""
    number = 0
    while not (scene.over.wait(1.0) and (number >= least or not unfinished(scene))):
        if ready():
            yield number
            number += 1


def _cancel_and_kill(scene: Scene) -> None:
    at_work = running(scene, "toy-steps")
    mine = [entry for entry in scene.ledger.of(scene.phase) if entry.ids and entry.ids[0] in at_work]
    if mine:
        canceller = threading.Thread(target=scene.callers.cancel, args=(mine[0],))
        canceller.start()
        time.sleep(scene.rng.uniform(0, 0.1))
        scene.note("cancelled while killed", time.time(), pids=tuple(kill(scene.system.roles["long"].tree()[-1:])))
        canceller.join()


def _cut_off(scene: Scene, tree: list[psutil.Process]) -> None:
    """PostgreSQL refuses the long worker alone; on SQLite nothing lies between, so it is stopped instead."""
    with scene.lasting("long worker cut off from the database beyond its lease"):
        try:
            if scene.system.postgres is None:
                stop_outside_a_write(scene, tree)
            else:
                scene.system.refuse_long(True)
            time.sleep(LEASE_LONG_S + 3)
        finally:
            if scene.system.postgres is None:
                kill(tree, signal.SIGCONT)
            else:
                scene.system.refuse_long(False)


def kill_keepers(scene: Scene) -> None:
    """kill -9 of a keeper every 2 to 5 s."""
    for number in scene.pauses(2, 5):
        tree = scene.system.roles[("keeper-1", "keeper-2")[number % 2]].tree()
        scene.note("kill -9 keeper", time.time(), pids=tuple(kill(tree)))


def kill_api(scene: Scene) -> None:
    """API processes die between the commit and the answer, and at any other moment."""
    points = ("after-insert", "after-insert-commit")
    armed: dict[str, Path] = {}
    for number in scene.pauses(0.3, 1.0):
        for point, path in list(armed.items()):
            if not path.exists():
                scene.note(f"API dies {point}", time.time())
                del armed[point]
        if number % 3 < 2:
            armed.setdefault(points[number % 3], scene.system.arm(points[number % 3]))
        else:
            tree = scene.system.roles["api"].tree()
            scene.note("kill -9 API", time.time(), pids=tuple(kill(tree[-1:])))
    for path in armed.values():
        path.unlink(missing_ok=True)


def clock_steps(scene: Scene) -> None:
    """The clock of one worker's host steps an hour forth and back."""
    for number in scene.pauses(2, 4):
        step = (3600, -3600, 0)[number % 3]
        if step:
            scene.note(f"clock {step:+} s", time.time())
        scene.system.set_clock(step)
    scene.system.set_clock(0)


def everything(scene: Scene) -> None:
    """All of it at random, a pause of some seconds in between."""
    single: list[Fault] = [
        _once(kill_workers), _once(kill_workers), _once(flush), _once(restart_redis), _once(fill_redis),
        _once(kill_api), _once(zombies), _once(database_away), one_long_job, _once(kill_keepers), _one_point,
    ]  # fmt: skip
    for _ in scene.pauses(1, 4):
        scene.rng.choice(single)(scene)


def _one_point(scene: Scene) -> None:
    """A process dies at one of the named steps."""
    _dies_at(scene, scene.rng.choice(POINTS), 5.0)


def _once(fault: Fault) -> Fault:
    """The fault, injected once, in any of its turns."""
    return lambda scene: fault(replace(scene, turn=scene.rng.randrange(12)))
